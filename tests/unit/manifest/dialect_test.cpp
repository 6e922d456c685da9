// Other hosts' manifests: what they are taken for, what their words grant, and what is said of the rest.
#include "manifest/dialect.h"

#include "manifest/grammar.h"
#include "manifest/vocabulary.h"
#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

Loaded load(const std::string& file, std::string_view text, const TranslateOptions& options = {}) {
  return load_manifest_text(text, format_of(file, text), file, options);
}

std::vector<std::string> uses(const std::vector<Entry>& entries) {
  std::vector<std::string> out;
  for (const Entry& entry : entries) out.push_back(entry.use);
  return out;
}

const Diagnostic* first(const Loaded& loaded, std::string_view code) {
  const auto found = std::ranges::find(loaded.diagnostics.all, code, &Diagnostic::code);
  return found == loaded.diagnostics.all.end() ? nullptr : &*found;
}

using Texts = std::vector<std::string>;

TEST(VocabularyFiles, AreShippedAndHoldPermissionsOfOurs) {
  ASSERT_EQ(vocabulary_files().size(), 6U);
  for (const VocabularyFile& file : vocabulary_files()) {
    const auto parsed = Vocabulary::parse(file.text, std::string(file.name));
    ASSERT_TRUE(parsed.has_value()) << parsed.error();
    EXPECT_NE(vocabulary(file.name), nullptr);
    Diagnostics diagnostics;
    const auto root = parse_document(Format::Json, file.text, "", diagnostics);
    for (const auto& [word, node] : root->members) {
      std::string used = word;
      if (const std::size_t at = used.find("${ARG}"); at != std::string::npos) used.replace(at, 6, "x");
      const auto meaning = parsed->find(used);
      ASSERT_TRUE(meaning.has_value()) << word;
      EXPECT_FALSE(meaning->text.empty()) << word;
      for (const auto* grants : {&meaning->grants, &meaning->deny}) {
        for (const Node& grant : *grants) {
          const std::string use = grant.kind == Node::Kind::String ? grant.text : grant.find("use")->text;
          const auto read = parse_grant(use);
          ASSERT_TRUE(read.has_value()) << use;
          EXPECT_TRUE(read_scope(*read, stand_in_variables()).has_value()) << use;
        }
      }
    }
  }
}

TEST(VocabularyFiles, AllWordsOfOneGoTogether) {
  for (const VocabularyFile& file : vocabulary_files()) {
    Diagnostics diagnostics;
    const auto root = parse_document(Format::Json, file.text, "", diagnostics);
    std::string text = "name: a\npermissions:\n";
    for (const auto& [word, node] : root->members) {
      std::string used = word;
      if (const std::size_t at = used.find("${ARG}"); at != std::string::npos)
        used.replace(at, 6, word.starts_with("env") ? "A_*" : "data.example");
      text += "  - \"" + used + "\"\n";
    }
    const Loaded loaded = load("plugin.yaml", text, {.vocabulary = std::string(file.name), .server = {}});
    ASSERT_TRUE(loaded.manifest.has_value()) << file.name;
    FakeLinks links;
    CompileOptions options;
    options.links = &links;
    options.variables = run_variables();
    for (const char* place : {"workspace", "config", "models"})
      options.variables.host.emplace_back(place, std::string("/srv/") + place);
    options.variables.host.emplace_back("api_hosts", "api.example.com");
    const Compiled compiled = compile_manifest(*loaded.manifest, options, loaded.diagnostics);
    EXPECT_NE(compiled.ruleset, nullptr) << file.name << ": " << compiled.codes();
  }
}

TEST(VocabularyFiles, SayWhatIsWrongWithOne) {
  for (const char* text :
       {"[]", "{", R"({"w": 1})", R"({"w": {"risk": "huge"}})", R"({"w": {"grants": "x", "risk": "low"}})",
        R"({"w": {}})", R"({"w": {"risk": "low", "grant": []}})"})
    EXPECT_FALSE(Vocabulary::parse(text, "v").has_value()) << text;
}

TEST(VocabularyFiles, TheLongerOfTwoWordsThatFitCounts) {
  const Vocabulary& words = *vocabulary("project-ai");
  EXPECT_EQ(words.find("file_access:data/")->grants[0].text,
            "file:read|write|create|delete:${PLUGIN_DIR}/data/");
  EXPECT_EQ(words.find("file_access:/srv/x")->grants[0].text, "file:read|write|create|delete:/srv/x");
  EXPECT_FALSE(words.find("file_access:").has_value());
  EXPECT_EQ(words.nearest("file_acess:data/"), "file_access:data/");
  EXPECT_EQ(words.nearest("netwrok"), "network");
  EXPECT_EQ(words.nearest("nothing like it"), "");
}

TEST(Dialects, ANativeManifestStaysOneWhateverItsName) {
  for (const char* file : {"plugin.json", "plugin.yaml"}) {
    const Loaded loaded = load(file, R"({"id": "x", "permissions": {"required": ["file:read:/srv/**"]}})");
    EXPECT_EQ(loaded.dialect, Dialect::Native);
    ASSERT_TRUE(loaded.manifest.has_value());
  }
  EXPECT_EQ(load("package.json", R"({"$schema": "urn:secbox:schema:manifest:1", "id": "x"})").dialect,
            Dialect::Native);
}

TEST(PluginYaml, WordsTimesAndType) {
  const Loaded loaded = load("/p/plugin.yaml",
                             "name: notes\nversion: 1.2\ntype: workflow\nentry_point: notes.plugin:Notes\n"
                             "permissions:\n  - file:read\n  - hook:register\ntimeout_seconds: 40\n");
  ASSERT_TRUE(loaded.manifest.has_value());
  EXPECT_EQ(loaded.dialect, Dialect::PluginYaml);
  const Manifest& manifest = *loaded.manifest;
  EXPECT_EQ(manifest.name + manifest.version, "notes1.2");
  EXPECT_EQ(uses(manifest.required),
            (Texts{"file:read:${PLUGIN_DIR}/**",
                   "file:read:{${PLUGIN_DIR},${PLUGIN_DATA},${HOST:workspace}}/**", "reg:hook:*"}));
  EXPECT_EQ(manifest.required[1].source.line, 6) << "the word's";
  EXPECT_EQ(manifest.required[1].reason, "read the workspace");
  EXPECT_EQ(manifest.timeouts.run_ms, 40000U);
  EXPECT_EQ(manifest.timeouts.init_ms, 30000U) << "the default";
  EXPECT_TRUE(manifest.entry_point.empty());
  EXPECT_NE(first(loaded, "SBX-V194"), nullptr) << "a class is no command";
  EXPECT_TRUE(loaded.enabled);
}

TEST(PluginYaml, TheTimeOfAnAgentIsItsStartAndTimeoutsGoBefore) {
  EXPECT_EQ(load("plugin.yaml", "name: a\ntype: agent\ntimeout_seconds: 7\n").manifest->timeouts.init_ms,
            7000U);
  EXPECT_EQ(load("plugin.yaml", "name: a\ntype: agent\ntimeout_seconds: 7\ntimeouts: {init: 9s}\n")
                .manifest->timeouts.init_ms,
            9000U);
}

TEST(PluginYaml, AnUnknownWordIsAnErrorWithItsLine) {
  const Loaded loaded =
      load("plugin.yaml", "name: a\npermissions:\n  - file:read\n  - network:reqest\n  - what\n");
  ASSERT_FALSE(loaded.manifest.has_value());
  const Diagnostic* problem = first(loaded, "SBX-V150");
  ASSERT_NE(problem, nullptr);
  EXPECT_EQ(problem->message, "Invalid permission: network:reqest");
  EXPECT_EQ(problem->hint, "did you mean \"network:request\"?");
  EXPECT_EQ(problem->line, 4);
  EXPECT_EQ(loaded.diagnostics.all.back().message, "Invalid permission: what") << "all at once";
}

TEST(PluginYaml, EntryPoints) {
  for (const char* good : {"a.b:C", "a.b.C", "_x:Y1"})
    EXPECT_TRUE(load("plugin.yaml", std::string("permissions: []\nname: a\nentry_point: ") + good)
                    .manifest.has_value())
        << good;
  for (const char* bad :
       {"\"\"", "nothing", "a..b", "\"a:\"", "a:b.c", "1a:b", "../x.py", "/x.py", "\"a b:C\""}) {
    const Loaded loaded = load("plugin.yaml", std::string("permissions: []\nname: a\nentry_point: ") + bad);
    ASSERT_NE(first(loaded, "SBX-V151"), nullptr) << bad;
    EXPECT_TRUE(first(loaded, "SBX-V151")->message.starts_with("Invalid entry point format: ")) << bad;
  }
}

TEST(PluginYaml, Disabled) {
  EXPECT_FALSE(load("plugin.yaml", "name: a\nenabled: false\n").enabled);
  EXPECT_FALSE(load("plugin.yaml", "name: a\nenabled: maybe\n").manifest.has_value());
}

TEST(PluginYaml, AThousandPermissionsAreEnough) {
  std::string text = "name: a\npermissions:\n";
  for (int i = 0; i < 1001; ++i) text += "  - file:read\n";
  EXPECT_NE(first(load("plugin.yaml", text), "SBX-V104"), nullptr);
}

TEST(PluginYaml, AFloodOfProblemsIsCutOffAndStaysAnError) {
  std::string text = "name: a\n";
  for (int i = 0; i < 300; ++i) text += "k" + std::to_string(i) + ": 1\n";
  text += "permissions: [what]\n";
  const Loaded loaded = load("plugin.yaml", text);
  EXPECT_FALSE(loaded.manifest.has_value());
  EXPECT_LE(loaded.diagnostics.all.size(), 210U);
}

TEST(PluginToml, RequiredOptionalAndWhatIsDenied) {
  const Loaded loaded = load(
      "/opt/rag/plugin.toml",
      "[permissions]\nrequired = [\"read:documents\", \"network:none\"]\noptional = [\"network:api\"]\n");
  ASSERT_TRUE(loaded.manifest.has_value());
  EXPECT_EQ(loaded.manifest->name, "rag") << "its directory's, where it has none";
  EXPECT_EQ(uses(loaded.manifest->required),
            (Texts{"file:read:${PLUGIN_DIR}/**", "file:read:${HOST:documents}/**"}));
  EXPECT_EQ(uses(loaded.manifest->optional), (Texts{"net:connect:${HOST:api_hosts}"}));
  EXPECT_EQ(uses(loaded.manifest->deny), (Texts{"net:connect:*", "net:connect:udp/*"}));
}

TEST(NexusPlugin, ListsCapabilitiesAndWhatIsLeftOut) {
  const Loaded loaded =
      load("nexus.plugin.json",
           R"({"id":"example.echo","name":"Echo","version":"1.0.0","tools":["echo"],"channels":["telegram"],
          "commands":["plugins.install"],"services":[],"hooks":["message.received"],
          "capabilities":{"required":["tool:echo","channel:telegram"],"optional":["cli:plugins.*"]},
          "configSchema":{"type":"object"}})");
  ASSERT_TRUE(loaded.manifest.has_value());
  EXPECT_EQ(
      uses(loaded.manifest->required),
      (Texts{"file:read:${PLUGIN_DIR}/**", "reg:tool:echo", "reg:channel:telegram", "reg:cli:plugins.install",
             "reg:service:*", "reg:hook:message.received", "reg:tool:echo", "reg:channel:telegram"}));
  EXPECT_EQ(uses(loaded.manifest->optional), (Texts{"reg:cli:plugins.*"}));
  EXPECT_NE(loaded.native.find("registers"), nullptr);
  EXPECT_NE(first(loaded, "SBX-V194"), nullptr) << "configSchema";
  EXPECT_EQ(load("clawdbot.plugin.json", R"({"id":"x"})").dialect, Dialect::Nexus);
  EXPECT_NE(
      first(load("nexus.plugin.json", R"({"id":"x","capabilities":{"required":["tol:x"]}})"), "SBX-V150"),
      nullptr);
}

TEST(GqlPlugin, PermissionsOfThePackage) {
  const Loaded loaded =
      load("package.json", R"({"name":"acme","version":"1.2.0","main":"x.js","gql":{"permissions":
    ["readHeaders","writeFiles","env:GQL_*","network:api.example.com"]}})");
  ASSERT_TRUE(loaded.manifest.has_value());
  EXPECT_EQ(uses(loaded.manifest->required),
            (Texts{"file:read:${PLUGIN_DIR}/**", "rpc:call:request.headers", "file:write|create:${CWD}/**",
                   "env:read:GQL_*", "net:connect:api.example.com"}));
  EXPECT_NE(first(load("package.json", R"({"name":"acme"})"), "SBX-V107"), nullptr);
}

TEST(ProjectAiPlugin, CapabilitiesAndScript) {
  const Loaded loaded = load("plugin.json", R"({"name":"notes","id":"notes","version":"0.1.0",
    "capabilities":["file_access:data/","sensors"],"entry_point":"plugin_main.py"})");
  ASSERT_TRUE(loaded.manifest.has_value());
  EXPECT_EQ(uses(loaded.manifest->required),
            (Texts{"file:read:${PLUGIN_DIR}/**", "file:read|write|create|delete:${PLUGIN_DIR}/data/"}));
  EXPECT_EQ(loaded.manifest->entry_point, (Texts{"python3", "${PLUGIN_DIR}/plugin_main.py"}));
  EXPECT_NE(first(loaded, "SBX-V194"), nullptr) << "sensors";
  // What would lead out of its directory is no permission.
  EXPECT_NE(first(load("plugin.json", R"({"name":"n","capabilities":["file_access:../x"]})"), "SBX-V127"),
            nullptr);
}

TEST(McpServers, TheBundleAndTheEntry) {
  const Loaded bundle =
      load("manifest.json", R"({"manifest_version":"0.3","name":"fs","version":"1","server":{"type":"node",
    "entry_point":"server/index.js","mcp_config":{"command":"node","args":["${__dirname}/server/index.js","${user_config.dir}"],
    "env":{"A":"b"}}}})");
  ASSERT_TRUE(bundle.manifest.has_value());
  EXPECT_EQ(bundle.dialect, Dialect::Mcpb);
  EXPECT_EQ(bundle.manifest->entry_point,
            (Texts{"node", "${PLUGIN_DIR}/server/index.js", "${user_config.dir}"}));
  EXPECT_EQ(std::ranges::count(bundle.diagnostics.all, "SBX-V194", &Diagnostic::code), 2);

  const std::string two =
      R"({"mcpServers":{"fs":{"command":"npx","args":["-y","x"]},"web":{"url":"https://x"}}})";
  EXPECT_NE(first(load(".mcp.json", two), "SBX-V152"), nullptr);
  EXPECT_NE(first(load(".mcp.json", two, {.vocabulary = {}, .server = "sf"}), "SBX-V152"), nullptr);
  EXPECT_NE(first(load(".mcp.json", two, {.vocabulary = {}, .server = "web"}), "SBX-V107"), nullptr);
  const Loaded entry = load(".mcp.json", two, {.vocabulary = {}, .server = "fs"});
  ASSERT_TRUE(entry.manifest.has_value());
  EXPECT_EQ(entry.manifest->name, "fs");
  EXPECT_EQ(entry.manifest->entry_point, (Texts{"npx", "-y", "x"}));
  EXPECT_TRUE(entry.manifest->required.empty()) << "the file's directory is not the server's";
}

TEST(McpServers, LongWordsAndManyNamesTakeNoLonger) {
  std::string word;
  for (int i = 0; i < 300'000; ++i) word += "${__dirname}";
  const Loaded bundle =
      load("manifest.json",
           R"({"manifest_version":"1","name":"n","server":{"mcp_config":{"command":")" + word + R"("}}})");
  ASSERT_TRUE(bundle.manifest.has_value());
  EXPECT_EQ(bundle.manifest->entry_point[0].size(), 300'000U * 13);

  std::string servers = R"({"mcpServers":{)";
  for (int i = 0; i < 50'000; ++i) servers += "\"server" + std::to_string(i) + "\":{},";
  servers += R"("last":{}}})";
  const Loaded many = load(".mcp.json", servers, {.vocabulary = {}, .server = "server100000"});
  ASSERT_NE(first(many, "SBX-V152"), nullptr);
  EXPECT_LT(first(many, "SBX-V152")->hint.size(), 2000U);
}

TEST(Dialects, AnotherVocabulary) {
  const Loaded loaded = load("plugin.yaml", "name: a\npermissions: [mcp.ac.filesystem.read]\n",
                             {.vocabulary = "mcp.ac", .server = {}});
  ASSERT_TRUE(loaded.manifest.has_value());
  EXPECT_EQ(loaded.manifest->required.size(), 2U);
}

TEST(Dialects, OfTheWrongFormThroughout) {
  for (const char* file :
       {"plugin.yaml", "plugin.toml", "nexus.plugin.json", "package.json", "plugin.json"}) {
    const Loaded loaded = load_manifest_text(R"({"name":"n","permissions":"x","capabilities":"x","gql":1})",
                                             Format::Json, file);
    EXPECT_FALSE(loaded.manifest.has_value()) << file;
    EXPECT_NE(first(loaded, "SBX-V105"), nullptr) << file;
  }
}

}  // namespace
}  // namespace secbox::manifest
