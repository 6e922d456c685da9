// Whatever a manifest holds: it is read or diagnosed, never both right and wrong, and what it compiles to is
// a ruleset. The first byte picks the format.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "manifest/compile.h"
#include "manifest/load.h"
#include "supervisor/checker/decide.h"

namespace {

using namespace secbox;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

class NoLinks final : public manifest::LinkReader {
 public:
  std::optional<std::string> read_link(const std::string& path) override {
    if (path == "/link") return "/target";
    if (path == "/loop") return "loop";
    return std::nullopt;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr manifest::Format kFormats[] = {manifest::Format::Json, manifest::Format::Yaml,
                                           manifest::Format::Toml};
  const manifest::Format format = kFormats[data[0] % 3];
  const std::string text(data + 1, data + size);
  manifest::Loaded loaded = manifest::load_manifest_text(text, format, "fuzz");
  require(loaded.manifest.has_value() != loaded.diagnostics.has_errors(), "a manifest, or errors");
  if (!loaded.manifest) return 0;

  NoLinks links;
  manifest::CompileOptions options;
  options.variables = {
      .home = "/home/[a]*", .cwd = "/c", .tmp = "/tmp/t", .plugin_dir = "/p", .plugin_data = "", .host = {}};
  options.links = &links;
  manifest::Diagnostics diagnostics;
  std::vector<checker::Rule> rules = manifest::compile(*loaded.manifest, options, diagnostics);
  if (diagnostics.has_errors()) return 0;
  const auto ruleset = checker::Ruleset::make(std::move(rules));
  require(ruleset.has_value(), "what compiles without an error is a ruleset");

  // Spellings that no grant may ever cover.
  for (const char* path : {"", "relative", "/a/../b", "/.."}) {
    const auto decision = checker::decide(
        *ruleset, {.verbs = checker::Verb::FileRead, .as_written = path, .resolved = path, .endpoint = {}});
    require(!decision.allowed(), "only absolute, folded paths are granted");
  }
  return 0;
}
