// Rules by module: what a manifest says, in every dialect, and what it compiles to.
#include <string>

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

using checker::Verb;

struct Modules {
  Diagnostics diagnostics;
  std::optional<checker::ModuleRules> rules;  // none after an error

  [[nodiscard]] std::string codes() const {
    std::string out;
    for (const Diagnostic& d : diagnostics.all) out += (out.empty() ? "" : " ") + d.code;
    return out;
  }
  // The id of the rule that denies it, or "".
  [[nodiscard]] std::string denies(std::string_view module, const checker::AccessView& access) const {
    const auto decision = rules->denies(module, access);
    return decision ? decision->rule()->id : "";
  }
  [[nodiscard]] std::string denies(std::string_view module, checker::VerbSet verbs,
                                   std::string_view path) const {
    return denies(module, {.verbs = verbs, .as_written = path, .resolved = path, .endpoint = {}});
  }
  [[nodiscard]] std::string denies_connect(std::string_view module, const std::string& address,
                                           int port) const {
    return denies(
        module,
        {.verbs = Verb::NetConnect, .as_written = {}, .resolved = {}, .endpoint = endpoint(address, port)});
  }
};

Modules modules_of(std::string_view text, Format format = Format::Json,
                   std::map<std::string, std::string> links = {}) {
  Modules result;
  Loaded loaded = load_manifest_text(text, format, "m");
  result.diagnostics = std::move(loaded.diagnostics);
  if (!loaded.manifest) return result;
  FakeLinks reader(std::move(links));
  CompileOptions options;
  options.variables = run_variables();
  options.links = &reader;
  const auto rules = compile(*loaded.manifest, options, result.diagnostics);
  auto modules = compile_modules(*loaded.manifest, options, rules, result.diagnostics);
  if (result.diagnostics.has_errors()) return result;
  auto made = checker::ModuleRules::make(std::move(modules));
  EXPECT_TRUE(made.has_value()) << "what compiles without an error can be made: "
                                << (made ? "" : made.error().text());
  if (made) result.rules = std::move(*made);
  return result;
}

std::string with_modules(const std::string& modules, const std::string& permissions = "") {
  return bare(permissions, ",\"modules\":" + modules);
}
std::string denying(const std::string& grant) {
  return with_modules(R"([{"match":"libfoo.so","deny":[")" + grant + "\"]}]");
}

// ---- the three dialects ----

struct Dialect {
  const char* name;
  Format format;
  const char* text;
  int line;  // of the second denial
};
class ModulesIn : public testing::TestWithParam<Dialect> {};

TEST_P(ModulesIn, MeanTheSame) {
  const Dialect& dialect = GetParam();
  const Modules m = modules_of(dialect.text, dialect.format);
  ASSERT_TRUE(m.rules) << m.codes();
  EXPECT_EQ(m.codes(), "");
  EXPECT_EQ(m.denies("/usr/lib/libfoo.so.1", Verb::FileRead, "/etc/passwd"), "modules[0].deny[0]");
  EXPECT_EQ(m.denies_connect("/usr/lib/libfoo.so.1", "10.0.0.1", 443), "modules[0].deny[1]");
  EXPECT_EQ(m.denies("/usr/lib/libbar.so.1", Verb::FileRead, "/etc/passwd"), "");
  EXPECT_EQ(m.denies("/opt/plugin/native/x.node", Verb::ExecRun, "/home/ana/bin/x"), "modules[1].deny[0]");
  ASSERT_EQ(m.rules->rules().size(), 2U);
  EXPECT_EQ(m.rules->rules()[0].text, "*/libfoo.so*");
  const checker::Rule& rule = m.rules->rules()[0].deny[1];
  EXPECT_EQ(rule.source.file, "m");
  EXPECT_EQ(rule.source.line, dialect.line);
  EXPECT_EQ(rule.source.pointer, "/modules/0/deny/1");
  EXPECT_EQ(rule.source.text, "net:connect:*:*");
  EXPECT_EQ(rule.reason, "parses images");
  EXPECT_EQ(m.rules->rules()[1].deny[0].reason, "its own");
}

INSTANTIATE_TEST_SUITE_P(Dialects, ModulesIn,
                         testing::Values(Dialect{"Json", Format::Json, R"({"id":"x","modules":[
  {"match": "*/libfoo.so*", "deny": ["file:read:/etc/**",
    "net:connect:*:*"], "reason": "parses images"},
  {"match": "${PLUGIN_DIR}/native/*", "deny": [{"use": "exec:run:${HOME}/**", "reason": "its own"}], "reason": "r"}]})",
                                                 3},
                                         Dialect{"Yaml", Format::Yaml, R"(id: x
modules:
  - match: "*/libfoo.so*"
    deny:
      - file:read:/etc/**
      - net:connect:*:*
    reason: parses images
  - match: ${PLUGIN_DIR}/native/*
    deny:
      - use: exec:run:${HOME}/**
        reason: its own
    reason: r
)",
                                                 6},
                                         Dialect{"Toml", Format::Toml, R"(id = "x"
[[modules]]
match = "*/libfoo.so*"
deny = ["file:read:/etc/**",
        "net:connect:*:*"]
reason = "parses images"
[[modules]]
match = "${PLUGIN_DIR}/native/*"
deny = [{ use = "exec:run:${HOME}/**", reason = "its own" }]
reason = "r"
)",
                                                 5}),
                         [](const auto& row) { return row.param.name; });

// ---- what is wrong ----

struct Wrong {
  const char* modules;
  const char* code;
  const char* pointer;
  const char* hint;  // a part of it
};
void PrintTo(const Wrong& row, std::ostream* out) { *out << row.modules; }
class ModulesRefused : public testing::TestWithParam<Wrong> {};

TEST_P(ModulesRefused, WithCodePlaceAndHint) {
  const Modules m = modules_of("{\"id\":\"x\",\n \"modules\":" + std::string(GetParam().modules) + "}");
  ASSERT_EQ(m.codes(), GetParam().code) << m.diagnostics.all.back().message;
  EXPECT_FALSE(m.rules);
  const Diagnostic& d = m.diagnostics.all.front();
  EXPECT_EQ(d.pointer, GetParam().pointer);
  EXPECT_NE(d.hint.find(GetParam().hint), std::string::npos) << d.hint;
  EXPECT_EQ(d.line, 2);
  EXPECT_GE(d.column, 1);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ModulesRefused,
    testing::Values(
        Wrong{R"({"match":"a"})", "SBX-V105", "/modules", ""},
        Wrong{R"(["a"])", "SBX-V105", "/modules/0", ""},
        Wrong{R"([{"match":"a","deny":[],"allow":[]}])", "SBX-V106 SBX-V206", "/modules/0/allow",
              "never widen"},
        Wrong{R"([{"match":"a","deny":["file:read:/x"],"permissions":{}}])", "SBX-V106",
              "/modules/0/permissions", "never widen"},
        Wrong{R"([{"match":"a","deny":["file:read:/x"],"optional":[]}])", "SBX-V106", "/modules/0/optional",
              "never widen"},
        Wrong{R"([{"mathc":"a","deny":["file:read:/x"]}])", "SBX-V106 SBX-V107", "/modules/0/mathc",
              "did you mean \"match\""},
        Wrong{R"([{"match":"a","deny":["file:read:/x"],"dney":[]}])", "SBX-V106", "/modules/0/dney",
              "did you mean \"deny\""},
        Wrong{R"([{"match":"a"}])", "SBX-V107", "/modules/0", "deny"},
        Wrong{R"([{"deny":["file:read:/x"]}])", "SBX-V107", "/modules/0", "match"},
        Wrong{R"([{"match":["a"],"deny":["file:read:/x"]}])", "SBX-V105", "/modules/0/match", ""},
        Wrong{R"([{"match":"a","deny":"file:read:/x"}])", "SBX-V105", "/modules/0/deny", ""},
        Wrong{R"([{"match":"a","deny":["file:raed:/x"]}])", "SBX-V112", "/modules/0/deny/0", "read"},
        Wrong{R"([{"match":"a","deny":["file:read:x"]}])", "SBX-V126", "/modules/0/deny/0", ""},
        Wrong{R"([{"match":"a","deny":["env:read:HOME"]}])", "SBX-V142", "/modules/0/deny/0", "env.deny"},
        Wrong{R"([{"match":"a","deny":["net:connect:api.example.com"]}])", "SBX-V141", "/modules/0/deny/0",
              "10.0.0.0/8"},
        Wrong{R"([{"match":"a","deny":[{"use":"net:connect:*","except":["api.example.com"]}]}])", "SBX-V141",
              "/modules/0/deny/0", "@private"},
        Wrong{R"([{"match":"a","deny":["file:read:/x"],"reason":"a\u202eb"}])", "SBX-V110",
              "/modules/0/reason", ""},
        // what matches no module
        Wrong{R"([{"match":"","deny":["file:read:/x"]}])", "SBX-V140", "/modules/0/match", "*/libfoo.so*"},
        Wrong{R"([{"match":"/","deny":["file:read:/x"]}])", "SBX-V140", "/modules/0/match", ""},
        Wrong{R"([{"match":"lib/libfoo.so","deny":["file:read:/x"]}])", "SBX-V140", "/modules/0/match",
              "*/lib/libfoo.so"},
        Wrong{R"([{"match":"/usr/lib/","deny":["file:read:/x"]}])", "SBX-V140", "/modules/0/match",
              "/usr/lib/**"},
        Wrong{R"([{"match":"/usr/../a.so","deny":["file:read:/x"]}])", "SBX-V127", "/modules/0/match", ""},
        Wrong{R"([{"match":"a[b.so","deny":["file:read:/x"]}])", "SBX-V129", "/modules/0/match", "[[]"},
        Wrong{R"([{"match":"${HOMES}/a.so","deny":["file:read:/x"]}])", "SBX-V121", "/modules/0/match",
              "${HOME}"},
        Wrong{R"([{"match":"a{b","deny":["file:read:/x"]}])", "SBX-V124", "/modules/0/match", ""},
        Wrong{R"([{"match":"a\u0007","deny":["file:read:/x"]}])", "SBX-V110", "/modules/0/match", ""}));

// ---- what is odd ----

TEST(ModulesLint, DenyingNothingIsAWarning) {
  const Modules m = modules_of(with_modules(R"([{"match":"a.so","deny":[]}])"));
  EXPECT_EQ(m.codes(), "SBX-V206");
  EXPECT_EQ(m.diagnostics.all[0].severity, Severity::Warning);
  EXPECT_TRUE(m.rules);
}

struct Twice {
  const char* plugin;  // denied to the plugin
  const char* module;  // denied to the module
  bool reported;
};
void PrintTo(const Twice& row, std::ostream* out) { *out << row.plugin << " " << row.module; }
class ModulesDeniedTwice : public testing::TestWithParam<Twice> {};

TEST_P(ModulesDeniedTwice, IsAWarningWhereItIsSure) {
  const Twice& row = GetParam();
  const Modules m =
      modules_of(with_modules(R"([{"match":"a.so","deny":[")" + std::string(row.module) + "\"]}]",
                              R"("required":["exec:run:/opt/t"],"deny":[)" + std::string(row.plugin) + "]"));
  ASSERT_TRUE(m.rules) << m.codes();
  EXPECT_EQ(m.codes(), row.reported ? "SBX-V207" : "");
  if (row.reported) {
    EXPECT_EQ(m.diagnostics.all[0].pointer, "/modules/0/deny/0");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, ModulesDeniedTwice,
    testing::Values(Twice{R"("file:read:/etc/**")", "file:read:/etc/passwd", true},
                    Twice{R"("file:read|write:/etc/**")", "file:read:/etc/x/**", true},
                    Twice{R"("file:read:/etc/**")", "file:read|write:/etc/x/**", false},
                    Twice{R"("file:read:/etc/x")", "file:read:/etc/**", false},
                    Twice{R"({"use":"file:read:/etc/**","except":["/etc/hosts"]})", "file:read:/etc/x",
                          false},
                    Twice{R"("net:connect:10.0.0.0/8")", "net:connect:10.1.0.0/16:443", true},
                    Twice{R"("net:connect:10.0.0.0/8:443")", "net:connect:10.1.0.0/16", false},
                    Twice{R"("net:connect:10.0.0.0/8")", "net:connect:11.1.0.0/16:443", false},
                    Twice{R"("net:connect:10.0.0.0/8")", "net:connect:udp/10.0.0.0/8", false},
                    Twice{R"("net:connect:*")", "net:connect:10.0.0.0/8", true},
                    // implied by exec:run:/opt/t, and written by nobody
                    Twice{"", "file:write:/opt/t", false}));

// ---- what it compiles to ----

TEST(ModulesCompile, BracesAndVariablesOfAMatch) {
  const Modules m = modules_of(
      with_modules(R"([{"match":"${PLUGIN_DIR}/{a,b}.so","deny":["file:read:{${HOME},/srv}/**"]}])"));
  ASSERT_TRUE(m.rules) << m.codes();
  EXPECT_EQ(m.denies("/opt/plugin/b.so", Verb::FileRead, "/home/ana/x"), "modules[0].deny[0]");
  EXPECT_EQ(m.denies("/opt/plugin/a.so", Verb::FileRead, "/srv/x"), "modules[0].deny[0]");
  EXPECT_EQ(m.denies("/opt/plugin/c.so", Verb::FileRead, "/srv/x"), "");
}

// The mapped file has one name, the one behind all links.
TEST(ModulesCompile, LinksOfAMatchAreFollowed) {
  auto links = merged_usr();
  links["/opt/plugin/cur"] = "/srv/v2";
  const Modules m = modules_of(
      with_modules(
          R"([{"match":"/lib/x/libfoo.so*","deny":["file:read:/x"]},{"match":"/opt/plugin/cur/*.so","deny":["file:read:/x"]}])"),
      Format::Json, links);
  ASSERT_TRUE(m.rules) << m.codes();
  EXPECT_EQ(m.denies("/usr/lib/x/libfoo.so.2", Verb::FileRead, "/x"), "modules[0].deny[0]");
  EXPECT_EQ(m.denies("/srv/v2/a.so", Verb::FileRead, "/x"), "modules[1].deny[0]");
  EXPECT_EQ(m.denies("/opt/plugin/cur/a.so", Verb::FileRead, "/x"), "modules[1].deny[0]");
  EXPECT_EQ(m.denies("/usr/lib/y/libfoo.so.2", Verb::FileRead, "/x"), "");
}

TEST(ModulesCompile, LinksOfADenialAreFollowed) {
  const Modules m = modules_of(denying("file:read:/bin/x"), Format::Json, merged_usr());
  ASSERT_TRUE(m.rules) << m.codes();
  EXPECT_EQ(m.denies("/libfoo.so", Verb::FileRead, "/usr/bin/x"), "modules[0].deny[0]");
}

TEST(ModulesCompile, AnExceptionThroughALinkOfThePluginsIsNotFollowed) {
  const Modules m = modules_of(
      with_modules(
          R"([{"match":"libfoo.so","deny":[{"use":"file:read:/**","except":["/srv/out/link/**"]}]}])",
          R"("required":["file:write|create|delete:/srv/out/**"])"),
      Format::Json, {{"/srv/out/link", "/etc"}});
  ASSERT_TRUE(m.rules) << m.codes();
  EXPECT_EQ(m.codes(), "SBX-V203");
  EXPECT_EQ(m.denies("/libfoo.so", Verb::FileRead, "/etc/passwd"), "modules[0].deny[0]");
}

TEST(ModulesCompile, AnExceptionOfOneVerbMakesASecondRule) {
  const Modules m = modules_of(with_modules(
      R"([{"match":"libfoo.so","deny":[{"use":"file:read|write:/srv/**","except":["file:read:/srv/pub/**"]}]}])"));
  ASSERT_TRUE(m.rules) << m.codes();
  EXPECT_EQ(m.denies("/libfoo.so", Verb::FileRead, "/srv/pub/x"), "");
  EXPECT_EQ(m.denies("/libfoo.so", Verb::FileWrite, "/srv/pub/x"), "modules[0].deny[0].2");
  EXPECT_EQ(m.denies("/libfoo.so", Verb::FileRead, "/srv/x"), "modules[0].deny[0]");
}

TEST(ModulesCompile, NothingOfItReachesTheRulesOfThePlugin) {
  const Compiled with = compile_text(with_modules(R"([{"match":"a.so","deny":["file:read:/srv/**"]}])",
                                                  R"("required":["file:read:/srv/**"])"));
  const Compiled without = compile_text(bare(R"("required":["file:read:/srv/**"])"));
  ASSERT_TRUE(with.ruleset) << with.codes();
  EXPECT_EQ(with.ruleset->canonical_text(), without.ruleset->canonical_text());
  EXPECT_TRUE(with.allowed(Verb::FileRead, "/srv/x"));
}

TEST(ModulesCompile, WhatAHostNamesStaysUnknownWhereItIsOnlyChecked) {
  Loaded loaded = load_manifest_text(
      with_modules(R"([{"match":"${HOST:models}/*","deny":["file:read:${HOST:other}/**"]}])"), Format::Json,
      "m");
  ASSERT_TRUE(loaded.manifest);
  CompileOptions options;
  options.variables = run_variables();
  Diagnostics run;
  (void)compile_modules(*loaded.manifest, options, {}, run);
  EXPECT_TRUE(run.has_errors());
  options.variables.unknown_host = UnknownHostValue::StandIn;
  Diagnostics checked;
  (void)compile_modules(*loaded.manifest, options, {}, checked);
  EXPECT_FALSE(checked.has_errors());
  EXPECT_EQ(checked.all.size(), 2U) << "as warnings";
}

}  // namespace
}  // namespace secbox::manifest
