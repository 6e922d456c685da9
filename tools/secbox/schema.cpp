// secbox schema: prints a published JSON Schema.
#include "manifest/schema.h"

#include <cstdio>

#include "tools/secbox/diagnostics.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

int verb_schema(const Args& args) {
  const bool help = args.size() == 1 && (args[0] == "-h" || args[0] == "--help");
  if (args.size() != 1 || help) {
    std::fputs("usage: secbox schema manifest\n\nPrints the JSON Schema (2020-12).\n",
               help ? stdout : stderr);
    return help ? 0 : kExitInvalid;
  }
  const std::string_view text = manifest::schema(args[0]);
  if (text.empty()) {
    std::fprintf(stderr, "secbox schema: there is no schema '%s'\nhint: known: manifest\n",
                 printable_text(args[0]).c_str());
    return kExitInvalid;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace secbox::cli
