// The model: every key, and every problem at its place.
#include "manifest/load.h"

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

TEST(Load, ReadsEveryKey) {
  const Loaded loaded = load_manifest_text(R"({
    // the example of the documents
    "$schema": "urn:secbox:schema:manifest:1",
    "id": "com.acme.embedder", "name": "embedder", "version": "1.2.0", "type": "tool", "description": "d",
    "entry_point": ["python3", "main.py"], "protocol": "jsonrpc-stdio", "presets": ["base"],
    "permissions": {
      "required": ["file:read:${PLUGIN_DIR}/**",
                   {"use": "net:connect:api.example.com:443", "except": ["net:connect:@metadata", "10.0.0.0/8"],
                    "reason": "look-ups", "x-note": 1}],
      "optional": ["exec:run:/usr/bin/git"],
      "deny": [{"use": "file:read:**/.env*", "except": ["**/.env.example"]}]},
    "env": {"allow": ["LANG", "LC_*"], "deny": ["*_TOKEN"]},
    "registers": {"tools": ["embed"], "channels": [], "commands": ["a.b"], "services": [], "hooks": ["on_document"]},
    "limits": {"memory": "500MB", "memory_warn": "70%", "on_memory": "warn", "cpu": 50, "cpu_time": "10s",
               "file_size": "1GiB", "pids": 64, "open_files": 256},
    "timeouts": {"init": "500ms", "hook": "2m", "run": "1h", "heartbeat": 10},
    "x-anything": {"goes": [1]}})",
                                           Format::Json, "m.json");
  ASSERT_TRUE(loaded.manifest) << loaded.diagnostics.all.front().message;
  ASSERT_EQ(loaded.diagnostics.all.size(), 2U);  // hook and heartbeat
  EXPECT_EQ(loaded.diagnostics.all.front().code, "SBX-V193");
  const Manifest& m = *loaded.manifest;
  EXPECT_EQ(m.id, "com.acme.embedder");
  EXPECT_EQ(m.name, "embedder");
  EXPECT_EQ(m.version, "1.2.0");
  EXPECT_EQ(m.type, "tool");
  EXPECT_EQ(m.description, "d");
  EXPECT_EQ(m.protocol, "jsonrpc-stdio");
  EXPECT_EQ(m.entry_point, (std::vector<std::string>{"python3", "main.py"}));
  EXPECT_EQ(m.presets, std::vector<std::string>{"base"});
  ASSERT_EQ(m.required.size(), 2U);
  EXPECT_EQ(m.required[0].source.line, 7);
  EXPECT_EQ(m.required[0].source.pointer, "/permissions/required/0");
  EXPECT_EQ(m.required[1].source.line, 8);
  EXPECT_EQ(m.required[1].reason, "look-ups");
  ASSERT_EQ(m.required[1].except.size(), 2U);
  EXPECT_EQ(m.required[1].except[0].use, "net:connect:@metadata");
  EXPECT_EQ(m.required[1].except[1].use, "net:connect:10.0.0.0/8") << "completed";
  ASSERT_EQ(m.optional.size(), 1U);
  ASSERT_EQ(m.deny.size(), 1U);
  EXPECT_EQ(m.deny[0].except[0].use, "file:read:**/.env.example");
  ASSERT_EQ(m.env_allow.size(), 2U);
  ASSERT_EQ(m.env_deny.size(), 1U);
  EXPECT_EQ(m.limits.memory_bytes, 500'000'000U);
  EXPECT_EQ(m.limits.memory_warn_percent, 70U);
  EXPECT_EQ(m.limits.on_memory, OnLimit::Warn);
  EXPECT_EQ(m.limits.cpu_percent, 50U);
  EXPECT_EQ(m.limits.cpu_time_ms, 10'000U);
  EXPECT_EQ(m.limits.file_size_bytes, 1U << 30);
  EXPECT_EQ(m.limits.pids, 64U);
  EXPECT_EQ(m.limits.open_files, 256U);
  EXPECT_EQ(m.timeouts.init_ms, 500U);
  EXPECT_EQ(m.timeouts.hook_ms, 120'000U);
  EXPECT_EQ(m.timeouts.run_ms, 3'600'000U);
  EXPECT_EQ(m.timeouts.heartbeat_ms, 10'000U);
}

TEST(Load, OmittedLimitsAreTheDefaultsAndNullIsNone) {
  const Loaded omitted = load_manifest_text(R"({"id":"x"})", Format::Json, "m");
  ASSERT_TRUE(omitted.manifest);
  EXPECT_EQ(omitted.manifest->limits.memory_bytes, 500'000'000U);
  EXPECT_EQ(omitted.manifest->limits.cpu_percent, 80U);
  EXPECT_EQ(omitted.manifest->limits.file_size_bytes, 100'000'000U);
  EXPECT_EQ(omitted.manifest->presets, std::vector<std::string>{"base"});
  const Loaded none = load_manifest_text(R"({"id":"x","limits":null,"presets":[]})", Format::Json, "m");
  ASSERT_TRUE(none.manifest);
  EXPECT_FALSE(none.manifest->limits.memory_bytes);
  EXPECT_FALSE(none.manifest->limits.pids);
  EXPECT_TRUE(none.manifest->presets.empty());
  const Loaded one = load_manifest_text(R"({"id":"x","limits":{"memory":null}})", Format::Json, "m");
  ASSERT_TRUE(one.manifest);
  EXPECT_FALSE(one.manifest->limits.memory_bytes);
  EXPECT_EQ(one.manifest->limits.cpu_percent, 80U);
}

struct Problem {
  const char* text;
  const char* code;
  const char* pointer;
  const char* hint;  // a part of it
};
void PrintTo(const Problem& problem, std::ostream* out) { *out << problem.text; }
class LoadRefused : public testing::TestWithParam<Problem> {};
TEST_P(LoadRefused, WithCodePointerAndHint) {
  const Loaded loaded = load_manifest_text(GetParam().text, Format::Json, "m.json");
  EXPECT_FALSE(loaded.manifest);
  ASSERT_EQ(loaded.diagnostics.all.size(), 1U) << loaded.diagnostics.all.back().message;
  const Diagnostic& d = loaded.diagnostics.all.front();
  EXPECT_EQ(d.code, GetParam().code) << d.message;
  EXPECT_EQ(d.pointer, GetParam().pointer);
  EXPECT_NE(d.hint.find(GetParam().hint), std::string::npos) << d.hint;
  EXPECT_EQ(d.line, 1);
  EXPECT_GE(d.column, 1);
}
INSTANTIATE_TEST_SUITE_P(
    Table, LoadRefused,
    testing::Values(
        Problem{"[]", "SBX-V104", "", "schema"}, Problem{"{}", "SBX-V107", "", "\"id\""},
        Problem{R"({"id":5})", "SBX-V105", "/id", ""}, Problem{R"({"id":""})", "SBX-V107", "/id", ""},
        Problem{R"({"id":"x","name":""})", "SBX-V107", "/name", ""},
        Problem{R"({"id":"x","protocol":"bogus"})", "SBX-V119", "/protocol", "jsonrpc-stdio"},
        Problem{R"({"id":"x","protocol":"jsonrpc-stdoi"})", "SBX-V119", "/protocol",
                "did you mean \"jsonrpc-stdio\""},
        Problem{R"({"id":"x","entry_point":""})", "SBX-V107", "/entry_point", "main.py"},
        Problem{R"({"id":"x","entry_point":[]})", "SBX-V107", "/entry_point", "main.py"},
        Problem{R"({"id":"x","entry_point":["","a"]})", "SBX-V107", "/entry_point", "main.py"},
        Problem{R"({"id":"x","env":{"allow":["A B"]}})", "SBX-V115", "/env/allow/0", ""},
        Problem{R"({"id":"x","permisions":{}})", "SBX-V106", "/permisions", "permissions"},
        Problem{R"({"id":"x","nmae":"y"})", "SBX-V106", "/nmae", "did you mean \"name\""},
        Problem{R"({"id":"x","qqqqq":1})", "SBX-V106", "/qqqqq", "known here"},
        Problem{R"({"id":"x","a/b~c":1})", "SBX-V106", "/a~1b~0c", ""},
        Problem{R"({"id":"x","$schema":"urn:other"})", "SBX-V109", "/$schema",
                "urn:secbox:schema:manifest:1"},
        Problem{R"({"id":"x","permissions":[]})", "SBX-V105", "/permissions", ""},
        Problem{R"({"id":"x","permissions":{"require":[]}})", "SBX-V106", "/permissions/require", "required"},
        Problem{R"({"id":"x","permissions":{"required":{}}})", "SBX-V105", "/permissions/required", ""},
        Problem{R"({"id":"x","permissions":{"required":[1]}})", "SBX-V105", "/permissions/required/0",
                "file:read"},
        Problem{R"({"id":"x","permissions":{"required":[{"reason":"y"}]}})", "SBX-V107",
                "/permissions/required/0", "use"},
        Problem{R"({"id":"x","permissions":{"required":[{"use":"env:read:A","exept":[]}]}})", "SBX-V106",
                "/permissions/required/0/exept", "except"},
        Problem{R"({"id":"x","permissions":{"required":[{"use":"file:read:/x","except":"/y"}]}})", "SBX-V105",
                "/permissions/required/0/except", ""},
        Problem{
            R"({"id":"x","permissions":{"required":[{"use":"file:read:/x/**","except":["net:connect:*"]}]}})",
            "SBX-V117", "/permissions/required/0/except/0", ""},
        Problem{
            R"({"id":"x","permissions":{"required":[{"use":"file:read:/x/**","except":["file:load:/x/y"]}]}})",
            "SBX-V117", "/permissions/required/0/except/0", "leave class and verbs out"},
        Problem{R"({"id":"x","permissions":{"required":[{"use":"env:read:A*","except":["env:raed:AB"]}]}})",
                "SBX-V112", "/permissions/required/0/except/0", "read"},
        Problem{R"({"id":"x","permissions":{"required":[{"use":"file:read:/x/**","except":["y"]}]}})",
                "SBX-V126", "/permissions/required/0/except/0", "**/"},
        Problem{R"({"id":"x","permissions":{"deny":["file:read:x"]}})", "SBX-V126", "/permissions/deny/0",
                "${HOME}"},
        Problem{R"({"id":"x","permissions":{"optional":["net:connect:@privat"]}})", "SBX-V135",
                "/permissions/optional/0", "@private"},
        Problem{R"({"id":"x","permissions":{"required":["file:read:${HOMES}/x"]}})", "SBX-V121",
                "/permissions/required/0", "${HOME}"},
        Problem{R"({"id":"x","env":{"allow":["A=B"]}})", "SBX-V115", "/env/allow/0", ""},
        Problem{R"({"id":"x","env":{"allow":[""]}})", "SBX-V115", "/env/allow/0", ""},
        Problem{R"({"id":"x","env":{"allow":"A"}})", "SBX-V105", "/env/allow", ""},
        Problem{R"({"id":"x","env":{"alow":[]}})", "SBX-V106", "/env/alow", "allow"},
        Problem{R"({"id":"x","presets":["bse"]})", "SBX-V108", "/presets/0", "base"},
        Problem{R"({"id":"x","presets":["base",5]})", "SBX-V105", "/presets/1", ""},
        Problem{R"({"id":"x","entry_point":[1]})", "SBX-V105", "/entry_point/0", ""},
        Problem{R"({"id":"x","registers":[]})", "SBX-V105", "/registers", ""},
        Problem{R"({"id":"x","registers":{"tool":[]}})", "SBX-V106", "/registers/tool", "tools"},
        Problem{R"({"id":"x","limits":"none"})", "SBX-V105", "/limits", ""},
        Problem{R"({"id":"x","limits":{"memory":"5XB"}})", "SBX-V116", "/limits/memory", "500MB"},
        Problem{R"({"id":"x","limits":{"memory":-5}})", "SBX-V116", "/limits/memory", ""},
        Problem{R"({"id":"x","limits":{"memory":"99999999999GB"}})", "SBX-V116", "/limits/memory", ""},
        Problem{R"({"id":"x","limits":{"pids":4294967360}})", "SBX-V116", "/limits/pids", "64"},
        Problem{R"({"id":"x","limits":{"cpu":true}})", "SBX-V116", "/limits/cpu", "80%"},
        Problem{R"({"id":"x","limits":{"on_memory":"explode"}})", "SBX-V116", "/limits/on_memory",
                "terminate"},
        Problem{R"({"id":"x","limits":{"mem":1}})", "SBX-V106", "/limits/mem", ""},
        Problem{R"({"id":"x","timeouts":null})", "SBX-V105", "/timeouts", ""},
        Problem{R"({"id":"x","timeouts":{"run":"1 day"}})", "SBX-V116", "/timeouts/run", "300s"},
        // What reads like something that it is not.
        Problem{R"({"id":"x\u0007"})", "SBX-V110", "/id", ""},
        Problem{R"({"id":"x\u202ey"})", "SBX-V110", "/id", ""},
        Problem{R"({"name":"x\u061cy"})", "SBX-V110", "/name", ""},
        Problem{R"({"name":"x\u200by"})", "SBX-V110", "/name", ""},
        Problem{R"({"name":"x\ufeff"})", "SBX-V110", "/name", ""},
        Problem{R"({"name":"x\u0085"})", "SBX-V110", "/name", ""},
        Problem{R"({"name":"x\udb40\udc41"})", "SBX-V110", "/name", ""},
        Problem{R"({"id":"x","permissions":{"required":[{"use":"file:read:/x","reason":"a\u2066b"}]}})",
                "SBX-V110", "/permissions/required/0/reason", ""},
        Problem{R"({"id":"x","permissions":{"required":["file:read:/x\u202ey"]}})", "SBX-V110",
                "/permissions/required/0", "match the character with ?"},
        Problem{R"({"id":"x","permissions":{"deny":[{"use":"file:read:/x","except":["/x/\u009b"]}]}})",
                "SBX-V110", "/permissions/deny/0/except/0", ""},
        Problem{R"({"id":"x","entry_point":"a\u001b[2J"})", "SBX-V110", "/entry_point", "file of its own"},
        Problem{R"({"id":"x","entry_point":["a","b\u202e"]})", "SBX-V110", "/entry_point/1", ""},
        Problem{R"({"id":"x","registers":{"commands":["a\u0007"]}})", "SBX-V110", "/registers/commands/0",
                ""},
        Problem{R"({"id":"x","permissions":{"required":["file:read:/x\u0000"]}})", "SBX-V110",
                "/permissions/required/0", ""}));

TEST(Load, OrdinaryTextIsNotDeceptive) {
  EXPECT_TRUE(
      load_manifest_text(R"({"id":"x","name":"Übersetzer 翻訳 🙂 – “q”"})", Format::Json, "m").manifest);
}

TEST(Load, ReportsAllProblemsAtOnce) {
  const Loaded loaded = load_manifest_text(
      "id: x\nnmae: y\npermissions:\n  required:\n    - file:raed:/x\n    - file:read:x\n    - "
      "net:connect:@metdata\n"
      "    - use: file:read:/x\n      except: [y]\nlimits:\n  memory: lots\n",
      Format::Yaml, "m.yaml");
  std::string found;
  for (const Diagnostic& d : loaded.diagnostics.all) found += d.code + "@" + std::to_string(d.line) + " ";
  EXPECT_EQ(found, "SBX-V106@2 SBX-V112@5 SBX-V126@6 SBX-V135@7 SBX-V126@9 SBX-V116@11 ");
}

TEST(Load, AFloodOfProblemsIsCutOff) {
  std::string text = "{\"id\":\"x\"";
  for (int i = 0; i < 5000; ++i) text += ",\"k" + std::to_string(i) + "\":1";
  const Loaded loaded = load_manifest_text(text + "}", Format::Json, "m");
  EXPECT_FALSE(loaded.manifest);
  EXPECT_LE(loaded.diagnostics.all.size(), 200U);
  EXPECT_NE(loaded.diagnostics.all.back().message.find("too many"), std::string::npos);
}

TEST(Load, WordsThatAreNotEnforcedAreKeptWithAWarning) {
  for (const char* word : {"rpc:call:store", "reg:tool:embed", "sys:clock"}) {
    const Loaded loaded = load_manifest_text(required("\"" + std::string(word) + "\""), Format::Json, "m");
    ASSERT_TRUE(loaded.manifest) << word;
    EXPECT_EQ(loaded.manifest->required.front().use, word);
    ASSERT_EQ(loaded.diagnostics.all.size(), 1U);
    EXPECT_EQ(loaded.diagnostics.all.front().code, "SBX-V190");
    EXPECT_EQ(loaded.diagnostics.all.front().severity, Severity::Warning);
  }
}

TEST(Load, TimesThatAreNotKeptAreWarnedOf) {
  const auto warnings = [](const char* more) {
    const Loaded loaded =
        load_manifest_text(std::string("{\"id\":\"x\"") + more + "}", Format::Json, "m.json");
    EXPECT_TRUE(loaded.manifest) << more;
    std::string found;
    for (const Diagnostic& d : loaded.diagnostics.all) found += d.code + "@" + d.pointer + " ";
    return found;
  };
  EXPECT_EQ(warnings(R"(,"timeouts":{"run":"1s","hook":"1s"})"), "SBX-V193@/timeouts/hook ");
  EXPECT_EQ(warnings(R"(,"timeouts":{"heartbeat":"1s"})"), "SBX-V193@/timeouts/heartbeat ");
  for (const char* none : {"", R"(,"limits":{"memory":"500MB"},"timeouts":{"init":"1s","run":"1s"})",
                           R"(,"timeouts":{"hook":null})"})
    EXPECT_EQ(warnings(none), "");
}

TEST(Load, ResolvingIsAWordThatGrantsNothingYet) {
  const Compiled c = compile_text(required(R"("net:resolve:a.example","net:connect|resolve:10.0.0.1")"));
  ASSERT_TRUE(c.ruleset);
  EXPECT_EQ(c.codes(), "SBX-V190 SBX-V190");
  ASSERT_EQ(c.rules.size(), 1U);
  EXPECT_TRUE(c.connects(endpoint("10.0.0.1", 1)));
}

// One manifest in three spellings is one ruleset.
TEST(Formats, GiveEqualRulesets) {
  constexpr std::string_view kJson = R"({"id": "x", "version": "1.0", "presets": ["base"],
    "permissions": {"required": ["file:read:${PLUGIN_DIR}/**", "net:connect:10.0.0.0/8:80,443",
        {"use": "file:rw:/srv/data/", "except": ["**/.env*"], "reason": "a: \"b\" #c"}],
      "optional": ["exec:run:/usr/bin/git"], "deny": ["file:read:**/.git/**"]},
    "env": {"allow": ["LC_*"], "deny": ["A"]}, "limits": null})";
  constexpr std::string_view kYaml = R"(
id: x
version: "1.0"
presets: [base]
permissions:
  required:
    - file:read:${PLUGIN_DIR}/**
    - "net:connect:10.0.0.0/8:80,443"
    - use: file:rw:/srv/data/
      except: ["**/.env*"]
      reason: 'a: "b" #c'
  optional: [exec:run:/usr/bin/git]
  deny:
    - file:read:**/.git/**
env:
  allow: [LC_*]
  deny: [A]
limits: ~
)";
  constexpr std::string_view kToml = R"(
id = "x"
version = "1.0"
presets = ["base"]
[permissions]
required = [ "file:read:${PLUGIN_DIR}/**", 'net:connect:10.0.0.0/8:80,443',
  {use = "file:rw:/srv/data/", except = ["**/.env*"], reason = 'a: "b" #c'} ]
optional = ["exec:run:/usr/bin/git"]
deny = ["file:read:**/.git/**"]
[env]
allow = ["LC_*"]
deny = ["A"]
)";
  const Compiled json = compile_text(kJson, merged_usr());
  const Compiled yaml = compile_text(kYaml, merged_usr(), {}, Format::Yaml);
  const Compiled toml = compile_text(kToml, merged_usr(), {}, Format::Toml);
  ASSERT_TRUE(json.ruleset && yaml.ruleset && toml.ruleset) << json.codes() << yaml.codes() << toml.codes();
  EXPECT_EQ(json.ruleset->canonical_text(), yaml.ruleset->canonical_text());
  EXPECT_EQ(json.ruleset->canonical_text(), toml.ruleset->canonical_text());
  for (std::size_t i = 0; i < json.rules.size(); ++i) {
    EXPECT_EQ(json.rules[i].id, yaml.rules[i].id);
    EXPECT_EQ(json.rules[i].reason, yaml.rules[i].reason);
    EXPECT_EQ(json.rules[i].reason, toml.rules[i].reason);
    EXPECT_EQ(json.rules[i].source.pointer, toml.rules[i].source.pointer);
  }
}

TEST(NearestWord, CountsChangesAndExchanges) {
  const std::vector<std::string_view> known{"name", "required", "deny"};
  EXPECT_EQ(nearest_word("nmae", known), "name");
  EXPECT_EQ(nearest_word("nam", known), "name");
  EXPECT_EQ(nearest_word("requried", known), "required");
  EXPECT_EQ(nearest_word("xyz", known), "");
  EXPECT_EQ(nearest_word("", known), "");
  EXPECT_EQ(nearest_word(std::string(100'000, 'a'), known), "");
}

}  // namespace
}  // namespace secbox::manifest
