// secbox preset: what the built-in presets grant.
#include "manifest/preset.h"

#include <cstdio>
#include <string>

#include "supervisor/audit/json_text.h"
#include "tools/secbox/diagnostics.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

namespace {
constexpr const char* kHelp =
    "usage: secbox preset list | secbox preset show NAME [--json]\n"
    "\n"
    "Presets are grants that a manifest gets by name (\"presets\": [\"base\"] where it says nothing).\n";
}  // namespace

int verb_preset(const Args& args) {
  bool json = false;
  Args words;
  for (const std::string& arg : args) {
    if (arg == "-h" || arg == "--help") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (arg == "--json") {
      json = true;
    } else {
      words.push_back(arg);
    }
  }
  if (words.size() == 1 && words[0] == "list") {
    for (const std::string_view name : manifest::kPresetNames)
      std::printf("%.*s\n", static_cast<int>(name.size()), name.data());
    return 0;
  }
  if (words.size() != 2 || words[0] != "show") {
    std::fputs(kHelp, stderr);
    return kExitInvalid;
  }
  const auto grants = manifest::preset(words[1]);
  if (grants.empty()) {
    std::fprintf(stderr, "secbox preset: there is no preset '%s'\nhint: secbox preset list\n",
                 printable_text(words[1]).c_str());
    return kExitInvalid;
  }
  std::string out;
  if (json) {
    for (const auto& grant : grants) {
      out += out.empty() ? "[" : ",";
      out +=
          "{\"use\":" + audit::json_string(grant.use) + ",\"reason\":" + audit::json_string(grant.why) + "}";
    }
    out += "]\n";
  } else {
    std::string_view last;
    for (const auto& grant : grants) {
      if (grant.why != last && !grant.why.empty()) out += "# " + std::string(grant.why) + "\n";
      last = grant.why;
      out += std::string(grant.use) + "\n";
    }
  }
  std::fputs(out.c_str(), stdout);
  return 0;
}

}  // namespace secbox::cli
