// What fuzzing and reading with an attacker's eye have found in manifests.
#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

Manifest with_grant(const std::string& grant) {
  Manifest manifest;
  manifest.presets.clear();
  Entry entry;
  entry.use = grant;
  manifest.required.push_back(entry);
  return manifest;
}

// toml++ 3.3 runs into __builtin_unreachable() for these; only the sanitizers see it.
TEST(HostileToml, CharactersOutsideAsciiAreNoWhiteSpace) {
  for (const char* text : {"i\u00e9.M \"", "i\u3001.M \"", "i\ufedf.M \"", "i\u3000= 1"}) {
    const Loaded loaded = load_manifest_text(text, Format::Toml, "m.toml");
    EXPECT_FALSE(loaded.manifest) << text;
    EXPECT_TRUE(loaded.diagnostics.has_errors()) << text;
  }
}
TEST(HostileToml, CharactersOutsideAsciiMayStandInStrings) {
  const Loaded loaded = load_manifest_text("id = \"caf\u00e9 \u3053\"", Format::Toml, "m.toml");
  ASSERT_TRUE(loaded.manifest);
  EXPECT_EQ(loaded.manifest->id, "caf\u00e9 \u3053");
}

TEST(HostileGrant, OpenBracketIsAnErrorWithItsPlace) {
  Diagnostics diagnostics;
  (void)compile(with_grant("file:read:/srv/[a/b]"), {}, diagnostics);
  ASSERT_TRUE(diagnostics.has_errors());
  EXPECT_EQ(diagnostics.all.front().code, "SBX-V129");
}

// A directory may be called "*": a link to it must not grant its siblings.
TEST(HostileLink, WildcardsInItsTargetMeanThemselves) {
  FakeLinks links(std::map<std::string, std::string>{{"/srv/data", "/home/*"}});
  CompileOptions options;
  options.links = &links;
  Diagnostics diagnostics;
  const auto ruleset =
      checker::Ruleset::make(compile(with_grant("file:read:/srv/data/**"), options, diagnostics));
  ASSERT_TRUE(ruleset.has_value());
  const auto allowed = [&](std::string_view resolved) {
    return checker::decide(*ruleset, {.verbs = checker::Verb::FileRead,
                                      .as_written = "/srv/data/x",
                                      .resolved = resolved,
                                      .endpoint = {}})
        .allowed();
  };
  EXPECT_TRUE(allowed("/home/*/x"));
  EXPECT_FALSE(allowed("/home/ana/x"));
}

}  // namespace
}  // namespace secbox::manifest
