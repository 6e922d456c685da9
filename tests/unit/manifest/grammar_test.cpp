// The permission grammar, piece by piece.
#include "manifest/grammar.h"

#include <string>
#include <vector>

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

using checker::Verb;
using checker::VerbSet;

struct GoodGrant {
  const char* text;
  GrantClass kind;
  VerbSet verbs;
  const char* scope;
};
void PrintTo(const GoodGrant& row, std::ostream* out) { *out << row.text; }
class GrantRead : public testing::TestWithParam<GoodGrant> {};
TEST_P(GrantRead, SplitsIntoClassVerbsAndScope) {
  const auto grant = parse_grant(GetParam().text);
  ASSERT_TRUE(grant.has_value()) << grant.error().message;
  EXPECT_EQ(grant->kind, GetParam().kind);
  EXPECT_EQ(grant->verbs.bits(), GetParam().verbs.bits());
  EXPECT_EQ(grant->scope, GetParam().scope);
}
INSTANTIATE_TEST_SUITE_P(
    Table, GrantRead,
    testing::Values(GoodGrant{"file:read:/x", GrantClass::File, Verb::FileRead, "/x"},
                    GoodGrant{"file:list:/x", GrantClass::File, Verb::FileList, "/x"},
                    GoodGrant{"file:write:/x", GrantClass::File, Verb::FileWrite, "/x"},
                    GoodGrant{"file:create:/x", GrantClass::File, Verb::FileCreate, "/x"},
                    GoodGrant{"file:delete:/x", GrantClass::File, Verb::FileDelete, "/x"},
                    GoodGrant{"file:load:/x", GrantClass::File, Verb::FileLoad, "/x"},
                    GoodGrant{"file:read|load:/x", GrantClass::File, Verb::FileRead | Verb::FileLoad, "/x"},
                    GoodGrant{"file:rw:/x", GrantClass::File,
                              Verb::FileRead | Verb::FileWrite | Verb::FileCreate | Verb::FileDelete, "/x"},
                    GoodGrant{"file:rw|list:/x", GrantClass::File,
                              Verb::FileRead | Verb::FileWrite | Verb::FileCreate | Verb::FileDelete |
                                  Verb::FileList,
                              "/x"},
                    GoodGrant{"file:*:/x", GrantClass::File, checker::kFileVerbs, "/x"},
                    GoodGrant{"file:read:/a:b", GrantClass::File, Verb::FileRead, "/a:b"},
                    GoodGrant{"net:connect:a:443", GrantClass::Net, Verb::NetConnect, "a:443"},
                    GoodGrant{"net:bind:*", GrantClass::Net, Verb::NetBind, "*"},
                    GoodGrant{"net:connect|bind:*", GrantClass::Net, Verb::NetConnect | Verb::NetBind, "*"},
                    GoodGrant{"exec:run:/x", GrantClass::Exec, Verb::ExecRun, "/x"},
                    GoodGrant{"exec:run:/usr/bin/python3.[0-9]", GrantClass::Exec, Verb::ExecRun,
                              "/usr/bin/python3.[0-9]"},
                    GoodGrant{"exec:run:/opt/we?ird[*]", GrantClass::Exec, Verb::ExecRun, "/opt/we?ird[*]"},
                    GoodGrant{"env:read:LC_*", GrantClass::Env, Verb::EnvRead, "LC_*"},
                    GoodGrant{"ipc:unix:@name", GrantClass::Unix, Verb::UnixSocket, "@name"},
                    GoodGrant{"signal:send:*", GrantClass::Signal, Verb::SignalSend, "*"},
                    GoodGrant{"rpc:call:x", GrantClass::Later, {}, "call:x"},
                    GoodGrant{"reg:tool:*", GrantClass::Later, {}, "tool:*"},
                    GoodGrant{"sys:clock:x", GrantClass::Later, {}, "clock:x"}));

struct BadGrant {
  const char* text;
  const char* code;
  const char* hint;  // a part of it
};
void PrintTo(const BadGrant& row, std::ostream* out) { *out << row.text; }
class GrantRefused : public testing::TestWithParam<BadGrant> {};
TEST_P(GrantRefused, SaysWhatIsWrong) {
  const auto grant = parse_grant(GetParam().text);
  ASSERT_FALSE(grant.has_value());
  EXPECT_EQ(grant.error().code, GetParam().code);
  EXPECT_NE(grant.error().hint.find(GetParam().hint), std::string::npos) << grant.error().hint;
}
INSTANTIATE_TEST_SUITE_P(
    Table, GrantRefused,
    testing::Values(
        BadGrant{"", "SBX-V111", "class:verb:scope"}, BadGrant{"file", "SBX-V111", "class:verb:scope"},
        BadGrant{"fiel:read:/x", "SBX-V111", "did you mean \"file\""},
        BadGrant{"clipboard:read:x", "SBX-V111", "class:verb:scope"},
        BadGrant{"/srv/data", "SBX-V111", "class:verb:scope"},
        BadGrant{"file:raed:/x", "SBX-V112", "did you mean \"read\""},
        BadGrant{"file:frobnicate:/x", "SBX-V112", "file knows: read"},
        BadGrant{"file:read||write:/x", "SBX-V112", ""}, BadGrant{"file:|read:/x", "SBX-V112", ""},
        BadGrant{"file:READ:/x", "SBX-V112", ""}, BadGrant{"exec:read:/x", "SBX-V112", "run"},
        BadGrant{"file::/x", "SBX-V112", ""}, BadGrant{"file:read", "SBX-V113", "file:read:/srv"},
        BadGrant{"file:read:", "SBX-V113", "file:read:/srv"},
        BadGrant{"net:connect", "SBX-V113", "api.example.com"}, BadGrant{"file:read:/x\n", "SBX-V110", ""},
        BadGrant{"file:read:/\x1b[31m", "SBX-V110", ""},
        // Arguments: never taken for a class of characters.
        BadGrant{"exec:run:/usr/bin/git[status|diff **]", "SBX-V114", "wrapper"},
        BadGrant{"exec:run:/usr/bin/git[status]", "SBX-V114", "{a,b}"},
        BadGrant{"exec:run:/usr/bin/git[push]", "SBX-V114", ""},
        BadGrant{"exec:run:/usr/bin/git[add ./src/*]", "SBX-V114", ""},
        BadGrant{"exec:run:/usr/bin/git[**]", "SBX-V114", ""},
        BadGrant{"exec:run:/usr/bin/git[-- *]", "SBX-V114", ""}));

struct Pattern {
  const char* scope;
  std::vector<std::string> patterns;
};
void PrintTo(const Pattern& row, std::ostream* out) { *out << row.scope; }
class PathScope : public testing::TestWithParam<Pattern> {};
TEST_P(PathScope, BecomesPatterns) {
  const auto patterns = path_patterns(GetParam().scope);
  ASSERT_TRUE(patterns.has_value()) << patterns.error().message;
  EXPECT_EQ(*patterns, GetParam().patterns);
}
INSTANTIATE_TEST_SUITE_P(Table, PathScope,
                         testing::Values(Pattern{"/x", {"/x"}}, Pattern{"/x/", {"/x/**"}},
                                         Pattern{"/x/**", {"/x/**"}}, Pattern{"/x//y/./z", {"/x/y/z"}},
                                         Pattern{"**", {"/**"}}, Pattern{"/", {"/**"}},
                                         Pattern{"**/.env*", {"**/.env*"}},
                                         Pattern{"/x/*.[ch]", {"/x/*.[ch]"}},
                                         Pattern{"/{a,b}/c", {"/a/c", "/b/c"}},
                                         Pattern{"{/a,/b/{c,d}}/e", {"/a/e", "/b/c/e", "/b/d/e"}},
                                         Pattern{"/a{,.bak}", {"/a", "/a.bak"}},
                                         Pattern{"/[{]x[}]", {"/[{]x[}]"}}, Pattern{"/[]{]/x", {"/[]{]/x"}}));

struct BadPattern {
  const char* scope;
  const char* code;
};
void PrintTo(const BadPattern& row, std::ostream* out) { *out << row.scope; }
class PathScopeRefused : public testing::TestWithParam<BadPattern> {};
TEST_P(PathScopeRefused, WithItsCode) {
  const auto patterns = path_patterns(GetParam().scope);
  ASSERT_FALSE(patterns.has_value());
  EXPECT_EQ(patterns.error().code, GetParam().code);
  EXPECT_NE(patterns.error().hint, "");
}
INSTANTIATE_TEST_SUITE_P(
    Table, PathScopeRefused,
    testing::Values(BadPattern{"x", "SBX-V126"}, BadPattern{"./x", "SBX-V126"}, BadPattern{"~/x", "SBX-V126"},
                    BadPattern{"*/x", "SBX-V126"}, BadPattern{"{/a,b}", "SBX-V126"},
                    BadPattern{"/x/../y", "SBX-V127"}, BadPattern{"/x/..", "SBX-V127"},
                    BadPattern{"/x/a**", "SBX-V128"}, BadPattern{"/x/***", "SBX-V128"},
                    BadPattern{"/x/[ab", "SBX-V129"}, BadPattern{"/x/[a/b]", "SBX-V129"},
                    BadPattern{"/x/{a", "SBX-V124"}, BadPattern{"/x/a}", "SBX-V124"},
                    BadPattern{"/{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}", "SBX-V125"}));

TEST(VariableValues, AreNamesAndNotPatterns) {
  Variables variables = run_variables();
  variables.home = "/home/[a]*{b,c}";
  std::vector<std::string> stand_ins;
  const auto text = expand_variables("{${HOME},/y}/x", variables, Quoting::Pattern, stand_ins);
  ASSERT_TRUE(text.has_value());
  const auto patterns = path_patterns(*text);
  ASSERT_TRUE(patterns.has_value()) << patterns.error().message;
  ASSERT_EQ(patterns->size(), 2U);
  EXPECT_TRUE(checker::glob_match(patterns->front(), "/home/[a]*{b,c}/x"));
  EXPECT_FALSE(checker::glob_match(patterns->front(), "/home/aZb/x"));
  EXPECT_EQ(patterns->back(), "/y/x");
}

struct BadVariable {
  const char* text;
  const char* code;
  const char* named;
};
void PrintTo(const BadVariable& row, std::ostream* out) { *out << row.text; }
class VariableRefused : public testing::TestWithParam<BadVariable> {};
TEST_P(VariableRefused, AndNamed) {
  Variables variables = run_variables();
  variables.plugin_data.clear();
  std::vector<std::string> stand_ins;
  const auto text = expand_variables(GetParam().text, variables, Quoting::Pattern, stand_ins);
  ASSERT_FALSE(text.has_value());
  EXPECT_EQ(text.error().code, GetParam().code);
  EXPECT_NE((text.error().message + text.error().hint).find(GetParam().named), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(Table, VariableRefused,
                         testing::Values(BadVariable{"${HOME", "SBX-V120", "close"},
                                         BadVariable{"${PLUGINDIR}/x", "SBX-V121", "PLUGIN_DIR"},
                                         BadVariable{"${USER}", "SBX-V121", "USER"},
                                         BadVariable{"${HOST:models}", "SBX-V122", "HOST:models"},
                                         BadVariable{"${PLUGIN_DATA}/x", "SBX-V123", "PLUGIN_DATA"}));

// ---- network ----

struct Reach {
  const char* scope;
  std::vector<checker::Endpoint> covered, not_covered;
};
void PrintTo(const Reach& row, std::ostream* out) { *out << row.scope; }
class NetScope : public testing::TestWithParam<Reach> {};
TEST_P(NetScope, CoversThisAndNotThat) {
  const Compiled all = compile_text(required("\"net:connect:" + std::string(GetParam().scope) + "\""));
  ASSERT_TRUE(all.ruleset) << all.codes();
  for (const auto& one : GetParam().covered) {
    EXPECT_TRUE(all.connects(one)) << GetParam().scope << " port " << one.port;
    EXPECT_FALSE(all.binds(one)) << "connecting is not binding";
  }
  for (const auto& one : GetParam().not_covered)
    EXPECT_FALSE(all.connects(one)) << GetParam().scope << " port " << one.port;
}
checker::Endpoint udp(const std::string& address, int port) {
  return endpoint(address, port, checker::Transport::Udp);
}
INSTANTIATE_TEST_SUITE_P(
    Table, NetScope,
    testing::Values(
        Reach{"*", {endpoint("1.2.3.4", 1), endpoint("2001:db8::1", 65535)}, {udp("1.2.3.4", 1)}},
        Reach{"tcp/*", {endpoint("1.2.3.4", 1)}, {udp("1.2.3.4", 1)}},
        Reach{"udp/*", {udp("1.2.3.4", 53)}, {endpoint("1.2.3.4", 53)}},
        Reach{"*:80,443", {endpoint("1.2.3.4", 80), endpoint("1.2.3.4", 443)}, {endpoint("1.2.3.4", 81)}},
        Reach{"*:8000-8002",
              {endpoint("1.2.3.4", 8001)},
              {endpoint("1.2.3.4", 8003), endpoint("1.2.3.4", 7999)}},
        Reach{"*:*", {endpoint("1.2.3.4", 7)}, {}},
        Reach{
            "10.0.0.1", {endpoint("10.0.0.1", 1), endpoint("::ffff:10.0.0.1", 1)}, {endpoint("10.0.0.2", 1)}},
        Reach{"10.0.0.1:443", {endpoint("10.0.0.1", 443)}, {endpoint("10.0.0.1", 80)}},
        Reach{"10.0.0.0/8", {endpoint("10.255.1.1", 1)}, {endpoint("11.0.0.1", 1), endpoint("::a00:1", 1)}},
        Reach{"0.0.0.0/0", {endpoint("8.8.8.8", 1)}, {endpoint("2001:db8::1", 1)}},
        Reach{"[::1]:443", {endpoint("::1", 443)}, {endpoint("::1", 80), endpoint("127.0.0.1", 443)}},
        Reach{"[::1]", {endpoint("::1", 80)}, {endpoint("::2", 80)}},
        Reach{"[fd00::]/8:22", {endpoint("fd12::1", 22)}, {endpoint("fd12::1", 23), endpoint("fe80::1", 22)}},
        Reach{"fc00::/7", {endpoint("fd12::1", 22)}, {endpoint("fe80::1", 22)}},
        // All of IPv6 is none of IPv4: an IPv4-mapped address is judged as IPv4.
        Reach{"[::]/0",
              {endpoint("2001:db8::1", 1), endpoint("::1", 1), endpoint("::", 1), endpoint("ffff::1", 1)},
              {endpoint("8.8.8.8", 1), endpoint("127.0.0.1", 1)}},
        Reach{"::/64",
              {endpoint("::1", 1), endpoint("::fffe:0:1", 1)},
              {endpoint("8.8.8.8", 1), endpoint("1::", 1)}},
        Reach{"@loopback",
              {endpoint("127.0.0.1", 1), endpoint("127.9.9.9", 1), endpoint("::1", 1)},
              {endpoint("128.0.0.1", 1), endpoint("10.0.0.1", 1)}},
        Reach{"@private",
              {endpoint("10.1.1.1", 1), endpoint("172.31.0.1", 1), endpoint("192.168.1.1", 1),
               endpoint("100.64.0.1", 1), endpoint("169.254.1.1", 1), endpoint("fd00::1", 1),
               endpoint("fe80::1", 1)},
              {endpoint("172.32.0.1", 1), endpoint("100.128.0.1", 1), endpoint("8.8.8.8", 1),
               endpoint("127.0.0.1", 1)}},
        Reach{
            "@metadata:80",
            {endpoint("169.254.169.254", 80), endpoint("100.100.100.200", 80), endpoint("fd00:ec2::254", 80)},
            {endpoint("169.254.169.254", 81), endpoint("169.254.169.253", 80)}},
        Reach{"${HOST:db}", {endpoint("127.0.0.1", 5432)}, {endpoint("127.0.0.1", 5433)}}));

TEST(NetScopeNames, AreHeldAsNames) {
  std::string warning;
  const auto nets = net_patterns("API.Example.com:443", warning);
  ASSERT_TRUE(nets.has_value());
  ASSERT_EQ(nets->size(), 1U);
  EXPECT_EQ(nets->front().host, "api.example.com");
  EXPECT_EQ(nets->front().port_low, 443);
  EXPECT_EQ(warning, "");
}
TEST(NetScopeNames, DomainsMatchTheirNameAloneAndSaySo) {
  std::string warning;
  auto nets = net_patterns(".example.com", warning);
  ASSERT_TRUE(nets.has_value());
  EXPECT_EQ(nets->front().host, "example.com");
  EXPECT_NE(warning, "");
  warning.clear();
  EXPECT_TRUE(net_patterns("com", warning).has_value()) << "the name itself is one host";
  warning.clear();
  nets = net_patterns("*.example.com:443", warning);
  ASSERT_TRUE(nets.has_value());
  EXPECT_TRUE(nets->empty());
  EXPECT_NE(warning, "");
}

class NetScopeRefused : public testing::TestWithParam<BadPattern> {};
TEST_P(NetScopeRefused, WithItsCode) {
  std::string warning;
  const auto nets = net_patterns(GetParam().scope, warning);
  ASSERT_FALSE(nets.has_value());
  EXPECT_EQ(nets.error().code, GetParam().code);
}
INSTANTIATE_TEST_SUITE_P(
    Table, NetScopeRefused,
    testing::Values(
        BadPattern{"[::1", "SBX-V130"}, BadPattern{"[::1]x", "SBX-V130"},
        // Would be an address whose last group looks like a port.
        BadPattern{"2001:db8::1:443", "SBX-V130"}, BadPattern{"[10.0.0.1]:80", "SBX-V131"},
        BadPattern{"256.0.0.1", "SBX-V131"}, BadPattern{"10.0.0", "SBX-V131"}, BadPattern{"8080", "SBX-V131"},
        BadPattern{"10.0.0.0/33", "SBX-V132"}, BadPattern{"10.0.0.0/", "SBX-V132"},
        BadPattern{"10.0.0.1/8", "SBX-V133"}, BadPattern{"*:0x50", "SBX-V134"},
        BadPattern{"*:65536", "SBX-V134"}, BadPattern{"*:80-", "SBX-V134"}, BadPattern{"*:90-80", "SBX-V134"},
        BadPattern{"*:80,", "SBX-V134"}, BadPattern{"a.example:", "SBX-V134"},
        BadPattern{"[::1]:", "SBX-V134"}, BadPattern{"*:-1", "SBX-V134"}, BadPattern{"@metdata", "SBX-V135"},
        BadPattern{"a b", "SBX-V136"}, BadPattern{"a..b", "SBX-V136"}, BadPattern{"api.*.com", "SBX-V136"},
        BadPattern{":80", "SBX-V136"}, BadPattern{"*.", "SBX-V136"},
        // Less than two parts.
        BadPattern{"*.com", "SBX-V136"}, BadPattern{".com", "SBX-V136"}, BadPattern{".com.", "SBX-V136"},
        BadPattern{"*.com:443", "SBX-V136"}, BadPattern{"udp/.localhost", "SBX-V136"}));

// ---- the scopes that are neither paths nor hosts ----

class BareScopeRefused : public testing::TestWithParam<BadPattern> {};
TEST_P(BareScopeRefused, WithItsCode) {
  const auto grant = parse_grant(GetParam().scope);
  ASSERT_TRUE(grant.has_value());
  const auto scope = read_scope(*grant, run_variables());
  ASSERT_FALSE(scope.has_value());
  EXPECT_EQ(scope.error().code, GetParam().code);
}
INSTANTIATE_TEST_SUITE_P(
    Table, BareScopeRefused,
    testing::Values(BadPattern{"env:read:A=B", "SBX-V115"}, BadPattern{"env:read:{A,B}", "SBX-V115"},
                    BadPattern{"env:read:/x", "SBX-V115"}, BadPattern{"env:read:${HOME}", "SBX-V115"},
                    BadPattern{"env:read:A[", "SBX-V129"}, BadPattern{"signal:send:/usr/bin/x", "SBX-V115"},
                    BadPattern{"signal:send:sshd", "SBX-V115"},
                    BadPattern{"ipc:unix:run/x.sock", "SBX-V126"}));

TEST(ScopeLength, IsBoundedByWhatAPathCanBe) {
  const auto grant = parse_grant("file:read:/" + std::string(5000, 'a'));
  ASSERT_TRUE(grant.has_value());
  const auto scope = read_scope(*grant, run_variables());
  ASSERT_FALSE(scope.has_value());
  EXPECT_EQ(scope.error().code, "SBX-V118");
}

}  // namespace
}  // namespace secbox::manifest
