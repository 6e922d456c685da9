// What a manifest grants, asked as the broker asks. Each allow has its deny twin.
#include "manifest/compile.h"

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

using checker::Layer;
using checker::Verb;
using checker::VerbSet;

constexpr VerbSet kChanges = Verb::FileWrite | Verb::FileCreate | Verb::FileDelete;

bool reads_variable(const Compiled& c, std::string_view name) { return c.allowed(Verb::EnvRead, name); }

// ---- grants ----

TEST(CompileFiles, GrantsWhatIsSaidAndNothingElse) {
  const Compiled c = compile_text(
      required(R"("file:read:/srv/data/**","file:write|create:/srv/out/*.log","file:list:/srv")"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/srv/data/a/b"));
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/srv/data"));
  EXPECT_TRUE(c.allowed(Verb::FileList, "/srv/data")) << "reading a directory is listing it";
  EXPECT_FALSE(c.allowed(Verb::FileWrite, "/srv/data/a"));
  EXPECT_FALSE(c.allowed(Verb::FileLoad, "/srv/data/a"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/database"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/data/a", "/etc/shadow")) << "a link out of it";
  EXPECT_TRUE(c.allowed(Verb::FileWrite, "/srv/out/a.log"));
  EXPECT_FALSE(c.allowed(Verb::FileWrite, "/srv/out/x/a.log"));
  EXPECT_FALSE(c.allowed(Verb::FileDelete, "/srv/out/a.log"));
  EXPECT_TRUE(c.allowed(Verb::FileList, "/srv"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv"));
}

TEST(CompileFiles, VariablesStandForPlaces) {
  const Compiled c = compile_text(required(
      R"("file:read:${PLUGIN_DIR}/**","file:rw:${PLUGIN_DATA}/","file:read:{${HOME},${CWD}}/x","file:read:${HOST:documents}/**")"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/opt/plugin/main.py"));
  EXPECT_TRUE(c.allowed(Verb::FileCreate, "/home/ana/.local/share/secbox/x/kv"));
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/home/ana/x"));
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/project/x"));
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/home/ana/Documents/a"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/home/ana/y"));
}

TEST(CompileFiles, AVariableWithoutValueIsAnErrorThatNamesIt) {
  CompileOptions options;
  options.variables = run_variables();
  options.variables.plugin_data.clear();
  const Compiled c = compile_text(required(R"("file:read:${PLUGIN_DATA}/**")"), {}, options);
  ASSERT_EQ(c.codes(), "SBX-V123");
  EXPECT_NE(c.diagnostics.all[0].message.find("${PLUGIN_DATA}"), std::string::npos);
  EXPECT_EQ(c.diagnostics.all[0].line, 1);
  EXPECT_GT(c.diagnostics.all[0].column, 1);
}

TEST(CompileFiles, AHostsVariableHasAStandInOnlyWhereThatWasAskedFor) {
  const std::string text = required(R"("file:read:${HOST:models}/**","net:connect:${HOST:api}")");
  EXPECT_EQ(compile_text(text).codes(), "SBX-V122 SBX-V122");
  EXPECT_FALSE(compile_text(text).ruleset);
  CompileOptions options;
  options.variables = run_variables();
  options.variables.unknown_host = UnknownHostValue::StandIn;
  const Compiled checked = compile_text(text, {}, options);
  EXPECT_TRUE(checked.ruleset) << checked.codes();
  EXPECT_EQ(checked.count("SBX-V122"), 2) << "as warnings";
}

TEST(CompileExcept, TakesOutWhatItMatches) {
  const Compiled c =
      compile_text(required(R"({"use":"file:read:/srv/**","except":["**/.env*","file:read:/srv/keys/**"]})"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/srv/a"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/a/.env"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/keys/k"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/link", "/srv/keys/k"));
}

TEST(CompileExcept, OfOneVerbLeavesTheOthers) {
  const Compiled c = compile_text(
      required(R"({"use":"file:read|write|create:/srv/**","except":["file:write:/srv/ro/**"]})"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/srv/ro/a"));
  EXPECT_TRUE(c.allowed(Verb::FileCreate, "/srv/ro/a"));
  EXPECT_FALSE(c.allowed(Verb::FileWrite, "/srv/ro/a"));
  EXPECT_TRUE(c.allowed(Verb::FileWrite, "/srv/a"));
  ASSERT_EQ(c.rules.size(), 2U);
  EXPECT_EQ(c.rules[0].id, "m1");
  EXPECT_EQ(c.rules[1].id, "m1.2");
}

// Otherwise "may be read" would lift the denial of writing, too.
TEST(CompileExcept, OfADenialLetsGoOfNoMoreThanItSays) {
  const Compiled c = compile_text(bare(
      R"("required":["file:read|write:/srv/**"],"deny":[{"use":"file:read|write:/srv/**","except":["file:read:/srv/pub/**"]}])"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/srv/pub/a"));
  EXPECT_FALSE(c.allowed(Verb::FileWrite, "/srv/pub/a"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/a"));
}

TEST(CompileExcept, OfANetworkGrantCountsForEveryProtocol) {
  const Compiled c = compile_text(required(
      R"({"use":"net:connect:udp/*","except":["net:connect:@metadata"]},{"use":"net:connect:*","except":["@private"]})"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.connects(endpoint("8.8.8.8", 53, checker::Transport::Udp)));
  EXPECT_FALSE(c.connects(endpoint("169.254.169.254", 53, checker::Transport::Udp)));
  EXPECT_TRUE(c.connects(endpoint("8.8.8.8", 443)));
  EXPECT_FALSE(c.connects(endpoint("10.0.0.1", 443)));
}
TEST(CompileExcept, OfANetworkDenialIsOfTheProtocolThatItNames) {
  const Compiled c = compile_text(bare(
      R"("required":["net:connect:*"],"deny":[{"use":"net:connect:*","except":["net:connect:udp/10.0.0.1"]}])"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_FALSE(c.connects(endpoint("10.0.0.1", 53))) << "the exception was of udp";
}

TEST(CompileDeny, WinsOverEveryGrant) {
  CompileOptions options;
  options.variables = run_variables();
  options.allow = {"file:read:/srv/.env"};
  const Compiled c = compile_text(
      bare(
          R"("required":["file:read:/srv/**","net:connect:*"],"deny":["file:read:**/.env*","net:connect:@private"])"),
      {}, options);
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/srv/a"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/.env"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/ok", "/srv/.env.local"));
  EXPECT_TRUE(c.connects(endpoint("8.8.8.8", 443)));
  EXPECT_FALSE(c.connects(endpoint("192.168.0.1", 443)));
}

TEST(CompileOptional, NeedsConsent) {
  const Compiled c = compile_text(bare(R"("optional":["file:read:/srv/**"])"));
  ASSERT_TRUE(c.ruleset);
  const auto decision =
      c.decide({.verbs = Verb::FileRead, .as_written = "/srv/a", .resolved = "/srv/a", .endpoint = {}});
  EXPECT_FALSE(decision.allowed());
  EXPECT_EQ(decision.reason(), checker::Reason::NeedsConsent);
}

TEST(CompileUnix, PathsAbstractNamesAndAll) {
  const Compiled c = compile_text(required(R"("ipc:unix:/run/db/*.sock","ipc:unix:@dbus-*")"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::UnixSocket, "/run/db/a.sock"));
  EXPECT_FALSE(c.allowed(Verb::UnixSocket, "/run/other.sock"));
  EXPECT_TRUE(c.allowed(Verb::UnixSocket, "@dbus-1"));
  EXPECT_FALSE(c.allowed(Verb::UnixSocket, "@other"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/run/db/a.sock"));
  const Compiled all = compile_text(required(R"("ipc:unix:*")"));
  EXPECT_TRUE(all.allowed(Verb::UnixSocket, "/run/other.sock"));
  EXPECT_TRUE(all.allowed(Verb::UnixSocket, "@other"));
}

TEST(CompileSignal, AllOrOneProcess) {
  const Compiled all = compile_text(required(R"("signal:send:*")"));
  EXPECT_TRUE(all.allowed(Verb::SignalSend, "4121"));
  const Compiled one = compile_text(required(R"("signal:send:4121")"));
  EXPECT_TRUE(one.allowed(Verb::SignalSend, "4121"));
  EXPECT_FALSE(one.allowed(Verb::SignalSend, "1"));
}

// ---- environment ----

TEST(CompileEnvironment, AllowAndDenyAreGrantsOfNames) {
  const Compiled c = compile_text(bare("", R"(,"env":{"allow":["LANG","LC_*","MY_*"],"deny":["MY_SHELL"]})"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(reads_variable(c, "LANG"));
  EXPECT_TRUE(reads_variable(c, "LC_ALL"));
  EXPECT_TRUE(reads_variable(c, "MY_HOST"));
  EXPECT_FALSE(reads_variable(c, "MY_SHELL"));
  EXPECT_FALSE(reads_variable(c, "LANGUAGE"));
  EXPECT_FALSE(reads_variable(c, "PATH"));
}

class Secrets : public testing::TestWithParam<const char*> {};
TEST_P(Secrets, PassByTheirFullNameOrWithEverythingOnly) {
  const std::string name = GetParam();
  const std::string wide = name.substr(0, 1) + "*";
  EXPECT_FALSE(reads_variable(compile_text(bare("", R"(,"env":{"allow":[")" + wide + R"("]})")), name));
  EXPECT_FALSE(reads_variable(compile_text(required("\"env:read:?*\"")), name));
  EXPECT_FALSE(reads_variable(compile_text(R"({"id":"x"})"), name)) << "the base preset";
  EXPECT_TRUE(reads_variable(compile_text(bare("", R"(,"env":{"allow":[")" + name + R"("]})")), name));
  EXPECT_TRUE(reads_variable(compile_text(required("\"env:read:*\"")), name));
}
INSTANTIATE_TEST_SUITE_P(Table, Secrets,
                         testing::Values("MY_TOKEN", "GITHUB_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_PROFILE",
                                         "DB_PASSWORD", "OPENAI_API_KEY", "CLIENT_SECRET", "SSH_AUTH_SOCK",
                                         "GPG_AGENT_INFO", "GOOGLE_APPLICATION_CREDENTIALS", "KUBECONFIG",
                                         "NPM_PAT", "SENTRY_DSN", "MYSQL_PWD", "RESTIC_PASSPHRASE",
                                         "DB_PASSWD", "OCI_SK", "NPM_AUTHTOKEN", "npm_config__authToken",
                                         "MY_APIKEY", "REDISCLI_AUTH", "github_token", "Db_Password",
                                         "aws_secret", "https_PrivateKey"));

// What only looks alike: a wildcard is for these.
TEST(CompileEnvironment, OrdinaryNamesAreNoSecrets) {
  const Compiled c = compile_text(required(R"("env:read:?*")"));
  for (const char* name :
       {"PWD", "OLDPWD", "PATH", "HOME", "PATTERN", "KEYBOARD", "DESK", "AUTHOR", "HTTP_PROXY"})
    EXPECT_TRUE(reads_variable(c, name)) << name;
}

TEST(CompileEnvironment, AWildcardOverSecretsAloneIsWarnedAbout) {
  EXPECT_EQ(compile_text(bare("", R"(,"env":{"allow":["AWS_*"]})")).codes(), "SBX-V192");
  EXPECT_EQ(compile_text(bare("", R"(,"env":{"allow":["*_TOKEN"]})")).codes(), "SBX-V192");
  EXPECT_EQ(compile_text(bare("", R"(,"env":{"deny":["*_TOKEN"]})")).codes(), "");
  EXPECT_EQ(compile_text(bare("", R"(,"env":{"allow":["A*"]})")).codes(), "");
}

// ---- programs ----

TEST(CompileExec, WhatMayRunMayNotBeChanged) {
  const Compiled c = compile_text(required(R"("exec:run:/opt/bin/tool","file:read:/opt/**")"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::ExecRun, "/opt/bin/tool"));
  EXPECT_FALSE(c.allowed(Verb::ExecRun, "/opt/bin/other"));
  const auto decision = c.decide(
      {.verbs = Verb::FileWrite, .as_written = "/opt/bin/tool", .resolved = "/opt/bin/tool", .endpoint = {}});
  ASSERT_NE(decision.rule(), nullptr);
  EXPECT_EQ(decision.rule()->id, "implied1");
  EXPECT_EQ(decision.rule()->layer, Layer::Implied);
}

// A name at any depth is as good a name as a path: "/srv/git" would be written and run.
TEST(CompileExec, ProgramsAtAnyDepthAreSealed) {
  const Compiled c = compile_text(required(R"("exec:run:**/git","file:rw:/srv/**")"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::ExecRun, "/usr/bin/git"));
  for (const Verb verb : {Verb::FileWrite, Verb::FileCreate, Verb::FileDelete}) {
    EXPECT_FALSE(c.allowed(verb, "/srv/git"));
    EXPECT_TRUE(c.allowed(verb, "/srv/other"));
  }
}

TEST(CompileExec, TheLinksByWhichAProgramIsCalledAreSealed) {
  const Compiled c =
      compile_text(R"({"id":"x","presets":[],"permissions":{"required":["exec:run:/bin/sh","file:*:/**"]}})",
                   {{"/bin", "usr/bin"}, {"/usr/bin/sh", "dash"}});
  ASSERT_TRUE(c.ruleset) << c.codes();
  for (const char* name : {"/bin/sh", "/usr/bin/sh", "/usr/bin/dash", "/bin/dash", "/bin"})
    EXPECT_FALSE(c.allowed(kChanges, name)) << name;
  EXPECT_TRUE(c.allowed(kChanges, "/usr/bin/other"));
  EXPECT_TRUE(c.allowed(Verb::ExecRun, "/bin/sh", "/usr/bin/dash"));
  EXPECT_TRUE(c.allowed(Verb::ExecRun, "/usr/bin/sh", "/usr/bin/dash"));
}

TEST(CompileExec, AnExceptionIsNeitherRunNorSealed) {
  const Compiled c = compile_text(
      required(R"({"use":"exec:run:/opt/bin/*","except":["/opt/bin/data"]},"file:write:/opt/bin/data")"));
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_FALSE(c.allowed(Verb::ExecRun, "/opt/bin/data"));
  EXPECT_TRUE(c.allowed(Verb::FileWrite, "/opt/bin/data"));
}

TEST(CompileExec, AnOptionalProgramIsNotSealed) {
  const Compiled c = compile_text(bare(R"("optional":["exec:run:/opt/tool"])"));
  EXPECT_EQ(c.rules.size(), 1U);
}

// ---- everything ----

TEST(CompileEverything, GrantsAll) {
  const Compiled c =
      compile_text(R"({"id":"x","limits":null,"permissions":{"required":["file:*:/**","net:connect:*",
      "net:connect:udp/*","net:bind:*","net:bind:udp/*","exec:run:/**","env:read:*","ipc:unix:*","signal:send:*"]}})",
                   merged_usr());
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_EQ(c.codes(), "SBX-V202");
  EXPECT_TRUE(c.allowed(checker::kFileVerbs, "/any/thing"));
  EXPECT_TRUE(c.allowed(checker::kFileVerbs, "/"));
  EXPECT_TRUE(c.allowed(checker::kFileVerbs, "/usr/bin/sh"));
  EXPECT_TRUE(c.allowed(Verb::ExecRun, "/any/thing"));
  EXPECT_TRUE(reads_variable(c, "AWS_SECRET_ACCESS_KEY"));
  EXPECT_TRUE(c.allowed(Verb::UnixSocket, "@any"));
  EXPECT_TRUE(c.allowed(Verb::UnixSocket, "/any/socket"));
  EXPECT_TRUE(c.allowed(Verb::SignalSend, "1"));
  for (const auto transport : {checker::Transport::Tcp, checker::Transport::Udp}) {
    EXPECT_TRUE(c.connects(endpoint("1.2.3.4", 5, transport)));
    EXPECT_TRUE(c.binds(endpoint("::", 0, transport)));
  }
}
TEST(CompileEverything, NothingGrantsNothing) {
  const Compiled c = compile_text(R"({"id":"x","presets":[]})");
  ASSERT_TRUE(c.ruleset);
  EXPECT_TRUE(c.rules.empty());
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/usr/lib/libc.so.6"));
  EXPECT_FALSE(reads_variable(c, "PATH"));
}

// ---- flags and ids ----

TEST(CompileFlags, AreALayerOfTheirOwn) {
  CompileOptions options;
  options.variables = run_variables();
  options.allow = {"file:read:/srv/a"};
  options.deny = {"file:read:/srv/b"};
  const Compiled c = compile_text(required(R"("file:read:/srv/b","env:read:A")"), {}, options);
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/srv/a"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/srv/b"));
  std::vector<std::string> ids;
  for (const auto& rule : c.rules) ids.push_back(rule.id);
  EXPECT_EQ(ids, (std::vector<std::string>{"m1", "m2", "flag1", "flag2"}));
  EXPECT_EQ(c.rules[2].layer, Layer::Flag);
  EXPECT_EQ(c.rules[2].source.file, "--allow");
  EXPECT_EQ(c.rules[3].source.file, "--deny");
  EXPECT_EQ(c.rules[0].source.file, "m.json");
}
TEST(CompileFlags, AreDiagnosedAsManifestsAre) {
  CompileOptions options;
  options.variables = run_variables();
  options.allow = {"file:raed:/x", "file:read:x", "rpc:call:x"};
  options.deny = {"net:connect:@metdata"};
  const Compiled c = compile_text(bare(""), {}, options);
  EXPECT_EQ(c.codes(), "SBX-V112 SBX-V126 SBX-V190 SBX-V135");
  EXPECT_FALSE(c.ruleset);
}

// ---- links ----

TEST(CompileLinks, AGrantMeansTheObjectByEitherName) {
  const Compiled c = compile_text(
      required(R"("file:read:/etc/localtime","file:read:/x/link/**","ipc:unix:/var/run/db.sock")"),
      {{"/etc/localtime", "/usr/share/zoneinfo/UTC"},
       {"/x/link", "../y"},
       {"/y", "z"},
       {"/var/run", "/run"}});
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/etc/localtime", "/usr/share/zoneinfo/UTC"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/etc/localtime", "/etc/shadow"));
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/x/link/a", "/z/a"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/x/link/a", "/w/a"));
  EXPECT_TRUE(c.allowed(Verb::UnixSocket, "/var/run/db.sock", "/run/db.sock"));
}

TEST(CompileLinks, MergedUsrIsOnePlaceWithTwoNames) {
  const Compiled c = compile_text(
      required(R"("exec:run:/bin/cat","exec:run:/usr/sbin/x","file:read:/usr/lib/a/**","file:read:/lib/b")"),
      merged_usr());
  ASSERT_TRUE(c.ruleset) << c.codes();
  for (const char* written : {"/bin/cat", "/usr/bin/cat"})
    EXPECT_TRUE(c.allowed(Verb::ExecRun, written, "/usr/bin/cat"));
  for (const char* written : {"/sbin/x", "/usr/sbin/x"})
    EXPECT_TRUE(c.allowed(Verb::ExecRun, written, "/usr/sbin/x"));
  for (const char* written : {"/lib/a/y", "/usr/lib/a/y"})
    EXPECT_TRUE(c.allowed(Verb::FileRead, written, "/usr/lib/a/y"));
  for (const char* written : {"/lib/b", "/usr/lib/b"})
    EXPECT_TRUE(c.allowed(Verb::FileRead, written, "/usr/lib/b"));
  EXPECT_FALSE(c.allowed(Verb::ExecRun, "/bin/cat", "/usr/sbin/cat"));
  // Where they are directories of their own, they are two places.
  const Compiled split = compile_text(required(R"("exec:run:/bin/cat")"));
  EXPECT_FALSE(split.allowed(Verb::ExecRun, "/usr/bin/cat"));
}

TEST(CompileLinks, DenialsFollowEveryLink) {
  const Compiled c = compile_text(
      bare(R"("required":["file:rw:/srv/**","file:read:/real/**"],"deny":["file:read:/srv/link/**"])"),
      {{"/srv/link", "/real"}});
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/real/a"));
}

struct Plant {
  const char* name;
  const char* permissions;
  std::map<std::string, std::string> links;
};
void PrintTo(const Plant& plant, std::ostream* out) { *out << plant.name; }
// Each time a link leads to /secret/**, and the plugin could have made it.
class Planted : public testing::TestWithParam<Plant> {};
TEST_P(Planted, IsNotFollowedAndWarnedAbout) {
  const Compiled c = compile_text(bare(GetParam().permissions), GetParam().links);
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_GE(c.count("SBX-V203"), 1) << c.codes();
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/secret/a"));
}
INSTANTIATE_TEST_SUITE_P(
    Table, Planted,
    testing::Values(Plant{"in a writable tree",
                          R"("required":["file:create:/data/**","file:read:/data/l/**"])",
                          {{"/data/l", "/secret"}}},
                    Plant{"optional counts",
                          R"("required":["file:read:/data/l/**"],"optional":["file:create:/data/**"])",
                          {{"/data/l", "/secret"}}},
                    Plant{"one hop of several",
                          R"("required":["file:delete:/data/*","file:read:/a/l/**"])",
                          {{"/a/l", "/data/l"}, {"/data/l", "/secret"}}},
                    // The writable place has another name than the one that the link lies at.
                    Plant{"by another name",
                          R"("required":["file:create:/other/**","file:read:/data/l/**"])",
                          {{"/other", "/data"}, {"/data/l", "/secret"}}},
                    // A directory with the link in it can be put together elsewhere and renamed to /data.
                    Plant{"renamed into place",
                          R"("required":["file:create|delete:/data","file:read:/data/l/**"])",
                          {{"/data/l", "/secret"}}},
                    Plant{"everything is writable",
                          R"("required":["file:write|create|delete:/**","file:read:/data/l/**"])",
                          {{"/data/l", "/secret"}}},
                    // What an exception of a denial lets pass.
                    Plant{"exception",
                          R"("required":["file:read:/secret/**","file:create:/data/**"],
                 "deny":[{"use":"file:read:/secret/**","except":["/data/l/**"]}])",
                          {{"/data/l", "/secret"}}}));

TEST(CompileLinks, ThoseOutsideWritablePlacesAreFollowed) {
  const Compiled c =
      compile_text(required(R"("file:create:/data/**","file:read:/etc/l")"), {{"/etc/l", "/secret/a"}});
  EXPECT_EQ(c.codes(), "");
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/etc/l", "/secret/a"));
}

// The author of a plugin makes the links in its directory; the operator reads "${PLUGIN_DIR}/data".
TEST(CompileLinks, ThoseOutOfThePluginsDirectoryAreNotFollowed) {
  for (const char* grant : {"file:read:${PLUGIN_DIR}/l", "file:read:${PLUGIN_DIR}/l/**",
                            "file:read:/opt/plugin/l/**", "file:read:/x/l", "file:read:/opt/plugin/near/**",
                            "file:read:${PLUGIN_DATA}/l/**", "file:read:${TMP}/l/**"}) {
    const Compiled c = compile_text(required("\"" + std::string(grant) + "\""),
                                    {{"/opt/plugin/l", "/secret"},
                                     {"/opt/plugin/near", "l"},
                                     {"/x", "/opt/plugin"},
                                     {"/home/ana/.local/share/secbox/x/l", "../../../../../../secret"},
                                     {"/tmp/run/l", "/secret"}});
    ASSERT_TRUE(c.ruleset) << c.codes();
    EXPECT_EQ(c.codes(), "SBX-V204") << grant;
    EXPECT_FALSE(c.allowed(Verb::FileRead, "/secret")) << grant;
    EXPECT_NE(c.diagnostics.all.front().hint.find("file:read:/secret"), std::string::npos)
        << c.diagnostics.all.front().hint;
  }
}
TEST(CompileLinks, ThoseWithinThePluginsDirectoryAndToItAreFollowed) {
  // The directory itself is a link of the operator's, as for "current" versions.
  const Compiled c = compile_text(
      required(R"("file:read:${PLUGIN_DIR}/data/**","exec:run:/etc/tool","file:read:${PLUGIN_DIR}/out")"),
      {{"/opt/plugin", "plugin-1.2"},
       {"/opt/plugin-1.2/data", "data-1"},
       {"/etc/tool", "/opt/plugin/run"},
       {"/opt/plugin-1.2/out", "/secret"}});
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_EQ(c.codes(), "SBX-V204") << "of the last one alone";
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/opt/plugin/data/a", "/opt/plugin-1.2/data-1/a"));
  EXPECT_TRUE(c.allowed(Verb::ExecRun, "/etc/tool", "/opt/plugin-1.2/run"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/opt/plugin/out", "/secret"));
}
TEST(CompileLinks, PresetsAndDenialsFollowThoseOfAPluginsDirectory) {
  CompileOptions options;
  options.variables = run_variables();
  options.variables.plugin_dir = "/etc";
  const Compiled c = compile_text(
      R"({"id":"x","permissions":{"required":["file:read:/secret/**"],"deny":["file:read:/etc/l/**"]}})",
      {{"/etc/localtime", "/zone/UTC"}, {"/etc/l", "/secret/l"}}, options);
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_EQ(c.codes(), "");
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/etc/localtime", "/zone/UTC"));
  EXPECT_FALSE(c.allowed(Verb::FileRead, "/secret/l/a"));
}

// Else "/proc/self" would be the supervisor.
TEST(CompileLinks, OwnProcessIsNeverResolved) {
  const Compiled c =
      compile_text(required(R"("file:read:/etc/mtab","file:read:/proc/self/fd/**","file:read:/dev/stdin")"),
                   {{"/etc/mtab", "../proc/self/mounts"},
                    {"/proc/self", "1234"},
                    {"/proc/self/fd", "x"},
                    {"/dev/stdin", "/proc/self/fd/0"},
                    {"/proc/self/fd/0", "/secret"}});
  ASSERT_TRUE(c.ruleset) << c.codes();
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/etc/mtab", "/proc/self/mounts"));
  EXPECT_TRUE(c.allowed(Verb::FileRead, "/dev/stdin", "/proc/self/fd/0"));
  for (const auto& rule : c.rules) {
    for (const auto& pattern : rule.paths) {
      EXPECT_EQ(pattern.find("1234"), std::string::npos) << pattern;
      EXPECT_EQ(pattern.find("secret"), std::string::npos) << pattern;
    }
  }
}

TEST(CompileLinks, LoopsAndLongChainsEnd) {
  std::map<std::string, std::string> links{
      {"/loop", "loop"}, {"/a", "/b"}, {"/b", "/a"}, {"/grow", "/grow/x"}};
  for (int i = 0; i < 100; ++i) links["/c" + std::to_string(i)] = "/c" + std::to_string(i + 1);
  links["/long"] = std::string(4090, 'l');
  const Compiled c = compile_text(
      required(
          R"("file:read:/loop/**","file:read:/a","file:read:/grow","file:read:/c0","file:read:/long/xxxxxxxxxxxx")"),
      links);
  EXPECT_TRUE(c.ruleset) << c.codes();
}

TEST(CompileLinks, AreReadOnceForEachDirectory) {
  std::string grants;
  for (int i = 0; i < 1000; ++i)
    grants += (i == 0 ? "" : ",") + ("\"file:read:/srv/a/b/c/f" + std::to_string(i) + "\"");
  FakeLinks links;
  CompileOptions options;
  options.links = &links;
  options.variables = run_variables();
  ASSERT_TRUE(compile_text(required(grants), {}, options).ruleset);
  EXPECT_LE(links.reads, 1000 + 4 + 6);
}

}  // namespace
}  // namespace secbox::manifest
