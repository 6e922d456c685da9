#include "supervisor/audit/denial_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/unit/audit/support.h"

namespace secbox::audit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

ReporterOptions options() {
  return {.plugin = "custom-embedder",
          .version = "1.2.0",
          .session = "8f3a",
          .manifest_path = "plugin.json",
          .colour = false};
}

class DenialMessage : public testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("NO_COLOR");
    ::unsetenv("CLICOLOR_FORCE");
  }
  void TearDown() override { SetUp(); }
};

TEST_F(DenialMessage, SaysWhatWhyAndHow) {
  DenialReporter reporter(options());
  EXPECT_EQ(
      reporter.report(denied_open(), 17),
      "secbox: DENIED custom-embedder 1.2.0 (pid 4121 python3.11) file:read /home/ana/.aws/credentials\n"
      "        why: no grant matches   rule SBX-D101  event 8f3a-17\n"
      "        fix: add \"file:read:/home/ana/.aws/credentials\" to permissions.required in plugin.json, or "
      "run "
      "again with --allow 'file:read:/home/ana/.aws/credentials'\n");
}
TEST_F(DenialMessage, PointsAtTheNearestGrant) {
  ReporterOptions with = options();
  int asked = 0;
  std::string about;
  with.nearest_grant = [&](const Record&, std::string_view path, std::string_view) -> std::optional<RuleRef> {
    ++asked;
    about = path;
    if (path == "/none") return std::nullopt;
    return RuleRef{.id = "m1",
                   .layer = "manifest",
                   .file = path == "/flag" ? "--allow" : "secbox.yaml",
                   .line = path == "/flag" ? 0 : 12,
                   .text = "file:read:${HOST:documents}/**"};
  };
  with.most_shown = 4;
  DenialReporter reporter(with);
  EXPECT_THAT(reporter.report(denied_open(), 17),
              HasSubstr("why: no grant matches; nearest is file:read:${HOST:documents}/** (secbox.yaml:12)   "
                        "rule SBX-D101  event 8f3a-17\n"));
  EXPECT_EQ(about, "/home/ana/.aws/credentials");
  EXPECT_THAT(reporter.report(denied_open(), 18), IsEmpty());
  EXPECT_EQ(asked, 1) << "for what is shown only";
  EXPECT_THAT(reporter.report(denied_open("/none"), 19), HasSubstr("why: no grant matches   rule"));
  EXPECT_THAT(reporter.report(denied_open("/flag"), 20), HasSubstr("/** (--allow)   rule"));
  Record ruled = denied_open("/ruled");
  ruled.rule = RuleRef{.id = "m4", .layer = "manifest", .file = "m", .line = 1, .text = "file:read:/ruled"};
  EXPECT_THAT(reporter.report(ruled, 21), Not(HasSubstr("nearest")));
  (void)reporter.report(denied_open("/a"), 22);
  EXPECT_EQ(asked, 3) << "enough were shown";
}
TEST_F(DenialMessage, NamesBothSpellings) {
  Record record = denied_open("/srv/link");
  record.resolved_target = "/etc/shadow";
  DenialReporter reporter(options());
  const std::string text = reporter.report(record, 1);
  EXPECT_THAT(text, HasSubstr("file:read /srv/link -> /etc/shadow\n"));
  EXPECT_THAT(text, HasSubstr("add \"file:read:/srv/link\" and \"file:read:/etc/shadow\" to"));
  EXPECT_THAT(text, HasSubstr("--allow 'file:read:/srv/link' --allow 'file:read:/etc/shadow'"));
}

TEST_F(DenialMessage, ADenyRuleIsNamedWithItsPlace) {
  Record record = denied_open();
  record.reason = "denied by a rule";
  record.rule = RuleRef{
      .id = "m4", .layer = "manifest", .file = "plugin.json", .line = 12, .text = "file:read:**/.aws/**"};
  DenialReporter reporter(options());
  const std::string text = reporter.report(record, 1);
  EXPECT_THAT(text,
              HasSubstr("why: denied by a rule: file:read:**/.aws/** (plugin.json:12)   rule SBX-D102"));
  EXPECT_THAT(text, HasSubstr("fix: a grant does not override a deny; change the rule in plugin.json:12\n"));
  EXPECT_THAT(text, Not(HasSubstr("--allow")));
}
TEST_F(DenialMessage, ProtectedStateHasNoFix) {
  Record record = denied_open();
  record.rule =
      RuleRef{.id = "protected:supervisor", .layer = "protected", .file = {}, .line = 0, .text = {}};
  EXPECT_EQ(denial_code(record), "SBX-D103");
  EXPECT_THAT(grants_for(record), IsEmpty());
  EXPECT_THAT(DenialReporter(options()).report(record, 1), HasSubstr("fix: none; no grant reaches this\n"));
}
TEST_F(DenialMessage, AnOptionalGrantCanBeMoved) {
  Record record = denied_open();
  record.reason = "optional, and nobody has consented";
  record.rule = RuleRef{
      .id = "m5", .layer = "manifest", .file = "plugin.json", .line = 7, .text = "file:read:/home/**"};
  EXPECT_EQ(denial_code(record), "SBX-D104");
  EXPECT_THAT(DenialReporter(options()).report(record, 1),
              HasSubstr("fix: move the grant from permissions.optional to permissions.required in "
                        "plugin.json, or run again "
                        "with --allow '"));
}
TEST_F(DenialMessage, ARefusedCallIsNamed) {
  Record record;
  record.verdict = Verdict::Deny;
  record.op = "mount";
  record.syscall = "mount";
  record.pid = 7;
  record.reason = "changes what every path means";
  record.rule = RuleRef{.id = "refused:syscall", .layer = "protected", .file = {}, .line = 0, .text = {}};
  const std::string text = DenialReporter(options()).report(record, 1);
  EXPECT_THAT(text, HasSubstr("(pid 7) mount\n"));
  EXPECT_THAT(text, HasSubstr("SBX-D105"));
  EXPECT_THAT(text, HasSubstr("fix: none; no permission covers this system call\n"));
}

struct GrantRow {
  const char* name;
  const char* permission;
  TargetRef target;
  std::vector<std::string> grants;
};
class GrantsFor : public testing::TestWithParam<GrantRow> {};

TEST_P(GrantsFor, AreSpelledAsTheManifestSpellsThem) {
  Record record;
  record.verdict = Verdict::Deny;
  record.permission = GetParam().permission;
  record.target = GetParam().target;
  EXPECT_EQ(grants_for(record), GetParam().grants);
}

TargetRef path_target(std::string_view path, std::string_view path2 = {}) {
  TargetRef target;
  target.path = path;
  target.path2 = path2;
  return target;
}
TargetRef net_target(std::string_view ip, int port, std::string_view transport, std::string_view host = {}) {
  TargetRef target;
  target.ip = ip;
  target.port = port;
  target.transport = transport;
  target.host = host;
  return target;
}
TargetRef abstract_target(std::string_view name) {
  TargetRef target;
  target.abstract_name = name;
  return target;
}
TargetRef name_target(std::string_view name, pid_t pid = 0) {
  TargetRef target;
  target.name = name;
  target.pid = pid;
  return target;
}

INSTANTIATE_TEST_SUITE_P(
    DenialMessage, GrantsFor,
    testing::Values(
        GrantRow{"Path", "file:read", path_target("/a b"), {"file:read:/a b"}},
        GrantRow{"Wildcards", "file:read", path_target("/a*[x]?"), {"file:read:/a[*][[]x][?]"}},
        GrantRow{"Variables", "file:read", path_target("/${HOME}"), {"file:read:/[$][{]HOME[}]"}},
        GrantRow{"RenameSource", "file:delete", path_target("/a", "/b"), {"file:delete:/a"}},
        GrantRow{"RenameTarget", "file:create", path_target("/a", "/b"), {"file:create:/b"}},
        GrantRow{"Tcp", "net:connect", net_target("1.2.3.4", 443, "tcp"), {"net:connect:1.2.3.4:443"}},
        GrantRow{"Udp", "net:connect", net_target("1.2.3.4", 53, "udp"), {"net:connect:udp/1.2.3.4:53"}},
        GrantRow{
            "V6", "net:connect", net_target("2001:db8::1", 443, "tcp"), {"net:connect:[2001:db8::1]:443"}},
        GrantRow{"Host",
                 "net:connect",
                 net_target("1.2.3.4", 443, "tcp", "api.example.com"),
                 {"net:connect:api.example.com:443"}},
        GrantRow{"Bind", "net:bind", net_target("0.0.0.0", 8080, "tcp"), {"net:bind:0.0.0.0:8080"}},
        GrantRow{"SocketPath", "ipc:unix", path_target("/run/x.sock"), {"ipc:unix:/run/x.sock"}},
        GrantRow{"AbstractSocket", "ipc:unix", abstract_target("bus"), {"ipc:unix:@bus"}},
        GrantRow{"Variable", "env:read", name_target("TOKEN"), {"env:read:TOKEN"}},
        GrantRow{"Process", "signal:send", name_target("", 42), {"signal:send:42"}},
        GrantRow{"Newline", "file:read", path_target("/a\nb"), {}},
        GrantRow{"InvalidUtf8", "file:read", path_target("/a\xff"), {}},
        GrantRow{"RightToLeft", "file:read", path_target("/a\xe2\x80\xae"), {}},
        GrantRow{"NoPermission", "", path_target("/a"), {}}, GrantRow{"NoTarget", "file:read", {}, {}}),
    [](const auto& row) { return row.param.name; });

TEST_F(DenialMessage, HostileTextReachesNoTerminal) {
  Record record = denied_open("/tmp/\x1b]0;owned\x07\nsecbox: DENIED nothing\xc2\x9b\x31m\xe2\x80\xae\xff");
  record.comm = "\x1b[2J";
  record.reason = "\x1b[31m";
  ReporterOptions hostile = options();
  hostile.plugin = "\x1b[1m";
  DenialReporter reporter(hostile);
  const std::string text =
      reporter.report(record, 1) + reporter.report(denied_open("/b\n"), 2) + reporter.footer();
  for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  EXPECT_THAT(text, Not(HasSubstr("\nsecbox: DENIED nothing")));
  EXPECT_THAT(text, Not(HasSubstr("\xc2\x9b")));
  EXPECT_THAT(text, Not(HasSubstr("\xe2\x80\xae")));
  EXPECT_THAT(text, Not(HasSubstr("\xff")));
  EXPECT_THAT(
      text, HasSubstr("/tmp/\\x1b]0;owned\\x07\\x0asecbox: DENIED nothing\\xc2\\x9b1m\\xe2\\x80\\xae\\xff"));
  EXPECT_THAT(text, HasSubstr("fix: grant a directory above it: the name cannot be written down safely\n"));
}
TEST_F(DenialMessage, LongNamesAreCut) {
  const std::string text = DenialReporter(options()).report(denied_open("/" + std::string(4000, 'x')), 1);
  EXPECT_LT(text.size(), 1200U);
  EXPECT_THAT(text, HasSubstr("xxx..."));
}
TEST_F(DenialMessage, AQuoteDoesNotEndTheShellWord) {
  const std::string text = DenialReporter(options()).report(denied_open("/a'; rm -rf /; '\""), 1);
  EXPECT_THAT(text, HasSubstr("--allow 'file:read:/a'\\''; rm -rf /; '\\''\"'\n"));
  EXPECT_THAT(text, HasSubstr("add \"file:read:/a'; rm -rf /; '\\\"\" to"));
}

TEST_F(DenialMessage, TheSameDenialIsShownOnce) {
  DenialReporter reporter(options());
  EXPECT_FALSE(reporter.report(denied_open("/a"), 1).empty());
  EXPECT_TRUE(reporter.report(denied_open("/a"), 2).empty());
  Record write = denied_open("/a");
  write.permission = "file:write";
  EXPECT_FALSE(reporter.report(write, 3).empty());
  EXPECT_FALSE(reporter.report(denied_open("/b"), 4).empty());
}
TEST_F(DenialMessage, AfterTenItSaysSoOnce) {
  DenialReporter reporter(options());
  std::string text;
  for (int i = 0; i < 20000; ++i)
    text += reporter.report(denied_open("/" + std::to_string(i)), static_cast<std::uint64_t>(i));
  std::size_t shown = 0;
  for (std::size_t at = text.find("DENIED"); at != std::string::npos; at = text.find("DENIED", at + 1))
    ++shown;
  EXPECT_EQ(shown, 10U);
  EXPECT_TRUE(text.ends_with("secbox: more denials are counted but not shown; the audit log has them all\n"));
  EXPECT_EQ(std::ranges::count(text, '\n'), 31);
  EXPECT_THAT(reporter.footer(), HasSubstr("secbox: 20000 calls denied, at least 1024 kinds; most often:\n"));
}

TEST_F(DenialMessage, TheFooterHasTheMostFrequentAndOneCommand) {
  DenialReporter reporter(options());
  EXPECT_EQ(reporter.footer(), "");
  (void)reporter.report(denied_open("/once"), 1);
  EXPECT_EQ(reporter.footer(), "");
  (void)reporter.report(denied_open("/also"), 2);
  for (int i = 0; i < 3; ++i) (void)reporter.report(denied_open("/thrice"), 3);
  Record refused;
  refused.op = "mount";
  refused.rule = RuleRef{.id = "refused:syscall", .layer = "protected", .file = {}, .line = 0, .text = {}};
  for (int i = 0; i < 2; ++i) (void)reporter.report(refused, 6);
  EXPECT_EQ(reporter.footer(),
            "secbox: 7 calls denied, 4 kinds; most often:\n"
            "        3x  file:read /thrice\n"
            "        2x  mount\n"
            "        1x  file:read /once\n"
            "        fix: secbox run -m 'plugin.json' --allow 'file:read:/thrice' --allow 'file:read:/once' "
            "-- COMMAND\n");
}
TEST_F(DenialMessage, WithoutAManifestThereIsStillTheFlag) {
  ReporterOptions bare = options();
  bare.manifest_path.clear();
  bare.version.clear();
  const std::string text = DenialReporter(bare).report(denied_open("/a"), 1);
  EXPECT_THAT(text, HasSubstr("secbox: DENIED custom-embedder (pid"));
  EXPECT_THAT(text, HasSubstr("fix: run again with --allow 'file:read:/a'\n"));
}

TEST_F(DenialMessage, ColourIsForTerminalsThatWantIt) {
  ReporterOptions terminal = options();
  terminal.colour = true;
  EXPECT_THAT(DenialReporter(terminal).report(denied_open(), 1), HasSubstr("\x1b[1;31mDENIED\x1b[0m"));
  EXPECT_THAT(DenialReporter(options()).report(denied_open(), 1), Not(HasSubstr("\x1b")));
  ::setenv("CLICOLOR_FORCE", "1", 1);
  EXPECT_THAT(DenialReporter(options()).report(denied_open(), 1), HasSubstr("\x1b"));
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_THAT(DenialReporter(terminal).report(denied_open(), 1), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace secbox::audit
