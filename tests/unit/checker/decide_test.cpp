#include "supervisor/checker/decide.h"

#include <gtest/gtest.h>

#include "tests/unit/checker/support.h"

namespace secbox::checker {
namespace {

using enum Verb;

TEST(DecideDefault, ANewDecisionIsADenial) {
  const Decision decision;
  EXPECT_FALSE(decision.allowed());
  EXPECT_EQ(decision.rule(), nullptr);
}
TEST(DecideDefault, AnEmptyRulesetDeniesEverything) {
  const Ruleset rules = ruleset({});
  EXPECT_EQ(decide(rules, ask(FileRead, "/x")).reason(), Reason::NoGrant);
  EXPECT_EQ(decide(rules, ask_net(NetConnect, v4(1, 2, 3, 4), 80)).reason(), Reason::NoGrant);
  EXPECT_EQ(decide(rules, ask(EnvRead, "PATH")).reason(), Reason::NoGrant);
}
TEST(DecideDefault, AskingNothingIsDenied) {
  const Ruleset rules = ruleset({allow(kFileVerbs, {"/**"})});
  EXPECT_FALSE(decide(rules, ask(VerbSet(), "/x")).allowed());
}

// ---- each allow with its deny twin ----

struct PathRow {
  const char* name;
  Rule rule;
  AccessView granted;
  AccessView denied;
};
class DecidePath : public testing::TestWithParam<PathRow> {};

TEST_P(DecidePath, AllowsTheOneAndDeniesTheOther) {
  const PathRow& row = GetParam();
  const Ruleset rules = ruleset({row.rule});
  const Decision granted = decide(rules, row.granted);
  EXPECT_TRUE(granted.allowed());
  EXPECT_EQ(granted.reason(), Reason::Granted);
  EXPECT_EQ(rule_id(granted.rule()), "r0");
  const Decision denied = decide(rules, row.denied);
  EXPECT_FALSE(denied.allowed());
  EXPECT_EQ(denied.reason(), Reason::NoGrant);
  EXPECT_EQ(denied.rule(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(
    Decide, DecidePath,
    testing::Values(
        PathRow{"Verb", allow(FileRead, {"/srv/**"}), ask(FileRead, "/srv/x"), ask(FileWrite, "/srv/x")},
        PathRow{"Tree", allow(FileRead, {"/srv/**"}), ask(FileRead, "/srv/a/b"), ask(FileRead, "/srvx")},
        PathRow{"TopOfTree", allow(FileRead, {"/srv/**"}), ask(FileRead, "/srv"), ask(FileRead, "/")},
        PathRow{"Exact", allow(FileRead, {"/etc/hosts"}), ask(FileRead, "/etc/hosts"),
                ask(FileRead, "/etc/hosts/x")},
        PathRow{"Everything", allow(FileRead, {"/**"}), ask(FileRead, "/"), ask(FileRead, "relative")},
        PathRow{"EverythingShort", allow(FileRead, {"**"}), ask(FileRead, "/a/b"), ask(FileRead, "relative")},
        PathRow{"Glob", allow(FileRead, {"/usr/lib/*.so"}), ask(FileRead, "/usr/lib/a.so"),
                ask(FileRead, "/usr/lib/a/b.so")},
        PathRow{"GlobInTheMiddle", allow(FileRead, {"/home/*/.cache/x"}), ask(FileRead, "/home/a/.cache/x"),
                ask(FileRead, "/home/a/b/.cache/x")},
        PathRow{"GlobThenTree", allow(FileRead, {"/home/*/.cache/**"}), ask(FileRead, "/home/a/.cache/x/y"),
                ask(FileRead, "/home/a/.config/x")},
        PathRow{"GlobWithoutLiterals", allow(FileRead, {"/srv/*/?"}), ask(FileRead, "/srv/abc/d"),
                ask(FileRead, "/srv/abc/de")},
        PathRow{"GlobWithNothingAfter", allow(FileRead, {"/srv/*/**"}), ask(FileRead, "/srv/a"),
                ask(FileRead, "/srv")},
        PathRow{"AnyDepth", allow(FileRead, {"**/readme"}), ask(FileRead, "/a/b/readme"),
                ask(FileRead, "/a/readme/b")},
        PathRow{"AnyDepthTail", allow(FileRead, {"**/*.c"}), ask(FileRead, "/a/b.c"),
                ask(FileRead, "/a/b.h")},
        PathRow{"AnyDepthLongTail", allow(FileRead, {"**/*.json"}), ask(FileRead, "/a/b.json"),
                ask(FileRead, "/a/b.jsoN")},
        PathRow{"AnyDepthHead", allow(FileRead, {"**/lib*"}), ask(FileRead, "/a/libx"),
                ask(FileRead, "/a/xlib")},
        PathRow{"AnyDepthShortHead", allow(FileRead, {"**/v1*"}), ask(FileRead, "/a/v1.2"),
                ask(FileRead, "/a/v2.1")},
        PathRow{"AnyDepthTree", allow(FileRead, {"**/.git/**"}), ask(FileRead, "/r/.git/x/y"),
                ask(FileRead, "/r/git/x")},
        PathRow{"SeveralPatterns", allow(FileRead, {"/a", "/b"}), ask(FileRead, "/b"), ask(FileRead, "/c")},
        PathRow{"Except", allow(FileRead, {"/srv/**"}, {"**/*.key"}), ask(FileRead, "/srv/a.pub"),
                ask(FileRead, "/srv/a.key")},
        PathRow{"ListByRead", allow(FileRead, {"/srv/**"}), ask(FileList, "/srv"), ask(FileList, "/var")},
        PathRow{"ReadNotByList", allow(FileList, {"/srv/**"}), ask(FileList, "/srv"), ask(FileRead, "/srv")},
        PathRow{"LoadNotByRead", allow(FileRead | FileLoad, {"/lib/**"}), ask(FileLoad, "/lib/x"),
                ask(ExecRun, "/lib/x")},
        PathRow{"BothVerbs", allow(FileRead | FileWrite, {"/srv/**"}), ask(FileRead | FileWrite, "/srv/x"),
                ask(FileRead | FileCreate, "/srv/x")},
        PathRow{"BothSpellings", allow(FileRead, {"/srv/**"}), ask(FileRead, "/srv/link", "/srv/x"),
                ask(FileRead, "/srv/link", "/etc/shadow")},
        PathRow{"TheSpellingAsWell", allow(FileRead, {"/srv/**"}), ask(FileRead, "/srv/a", "/srv/b"),
                ask(FileRead, "/tmp/link", "/srv/b")},
        PathRow{"DotDotIsNotFoldedAway", allow(FileRead, {"/srv/**"}), ask(FileRead, "/srv/..x"),
                ask(FileRead, "/srv/../etc/shadow")},
        PathRow{"DotDotAtTheEnd", allow(FileRead, {"/srv/**"}), ask(FileRead, "/srv/x.."),
                ask(FileRead, "/srv/..")},
        PathRow{"Program", allow(ExecRun, {"/usr/bin/git"}), ask(ExecRun, "/usr/bin/git"),
                ask(ExecRun, "/usr/bin/gitk")},
        PathRow{"UnixPath", allow(UnixSocket, {"/run/x.sock"}), ask(UnixSocket, "/run/x.sock"),
                ask(UnixSocket, "@/run/x.sock")},
        PathRow{"UnixAbstract", allow(UnixSocket, {"@bus"}), ask(UnixSocket, "@bus"),
                ask(UnixSocket, "/bus")},
        PathRow{"UnixAbstractNul", allow(UnixSocket, {"@bus"}), ask(UnixSocket, "@bus"),
                ask(UnixSocket, std::string_view("@bus\0x", 6))},
        PathRow{"UnixAbstractGlob", allow(UnixSocket, {"@dbus-*"}), ask(UnixSocket, "@dbus-1/2"),
                ask(UnixSocket, "@dbu")},
        PathRow{"UnixStarIsPaths", allow(UnixSocket, {"*"}), ask(UnixSocket, "/run/a/b.sock"),
                ask(FileRead, "/run/a/b.sock")},
        PathRow{"UnixStarIsNames", allow(UnixSocket, {"*"}), ask(UnixSocket, "@name"), ask(EnvRead, "@name")},
        PathRow{"UnixStarStarIsNames", allow(UnixSocket, {"**"}), ask(UnixSocket, "@name"),
                ask(UnixSocket, "")},
        PathRow{"UnixTreeIsPathsAlone", allow(UnixSocket, {"/**"}), ask(UnixSocket, "/run/x"),
                ask(UnixSocket, "@run/x")},
        PathRow{"UnixBothSpellings", allow(UnixSocket, {"/run/**"}), ask(UnixSocket, "/run/x"),
                ask(UnixSocket, "/run/x", "/var/x")},
        PathRow{"UnixDotDot", allow(UnixSocket, {"*"}), ask(UnixSocket, "/run/x"),
                ask(UnixSocket, "/run/../x")},
        PathRow{"EnvName", allow(EnvRead, {"LANG"}), ask(EnvRead, "LANG"), ask(EnvRead, "LANGUAGE")},
        PathRow{"EnvGlob", allow(EnvRead, {"LC_*"}), ask(EnvRead, "LC_ALL"), ask(EnvRead, "LD_PRELOAD")},
        PathRow{"EnvAll", allow(EnvRead, {"*"}), ask(EnvRead, "X"), ask(EnvRead, "")},
        PathRow{"SignalPid", allow(SignalSend, {"42"}), ask(SignalSend, "42"), ask(SignalSend, "421")},
        PathRow{"SignalAll", allow(SignalSend, {"*"}), ask(SignalSend, "1"), ask(UnixSocket, "1")},
        PathRow{"EmptyPath", allow(FileRead, {"/**"}), ask(FileRead, "/"), ask(FileRead, "")},
        PathRow{"EmptySpelling", allow(FileRead, {"/**"}), ask(FileRead, "/x"), ask(FileRead, "", "/x")},
        PathRow{"RelativeSpelling", allow(FileRead, {"**"}), ask(FileRead, "/x"), ask(FileRead, "x", "/x")}),
    [](const auto& row) { return row.param.name; });

TEST(DecidePath, AnExceptOnEitherSpellingTakesAGrantOut) {
  const Ruleset rules = ruleset({allow(FileRead, {"/srv/**"}, {"/srv/secret"})});
  EXPECT_TRUE(decide(rules, ask(FileRead, "/srv/a", "/srv/b")).allowed());
  EXPECT_FALSE(decide(rules, ask(FileRead, "/srv/link", "/srv/secret")).allowed());
  EXPECT_FALSE(decide(rules, ask(FileRead, "/srv/secret", "/srv/b")).allowed());
}
TEST(DecidePath, ManyExceptsAreAllSeen) {
  std::vector<PathPattern> excepts;
  for (int i = 0; i < 100; ++i) excepts.push_back("/srv/secret" + std::to_string(i) + "/**");
  const Ruleset rules = ruleset({allow(FileRead, {"/srv/**"}, excepts)});
  EXPECT_TRUE(decide(rules, ask(FileRead, "/srv/secret100/x")).allowed());
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(decide(rules, ask(FileRead, "/srv/secret" + std::to_string(i) + "/x")).allowed());
  }
}
TEST(DecidePath, TwoRulesMayGrantTheTwoSpellings) {
  const Ruleset rules = ruleset({allow(FileRead, {"/a/**"}), allow(FileRead, {"/b/**"})});
  const Decision decision = decide(rules, ask(FileRead, "/a/link", "/b/x"));
  EXPECT_TRUE(decision.allowed());
  EXPECT_EQ(rule_id(decision.rule()), "r1");  // the one for the object
}
TEST(DecidePath, TwoRulesMayGrantTheTwoVerbs) {
  const Ruleset rules = ruleset({allow(FileWrite, {"/a/**"}), allow(FileRead, {"/a/**"})});
  EXPECT_TRUE(decide(rules, ask(FileRead | FileWrite, "/a/x")).allowed());
  const Decision denied = decide(rules, ask(FileRead | FileCreate, "/a/x"));
  EXPECT_FALSE(denied.allowed());
  EXPECT_EQ(denied.verb(), FileCreate);
}
TEST(DecidePath, TheVerbOfEachSpellingMustBeGranted) {
  // Read is granted where the link is, write where the object is: neither covers both spellings.
  const Ruleset rules = ruleset({allow(FileRead, {"/a/**"}), allow(FileWrite, {"/b/**"})});
  EXPECT_FALSE(decide(rules, ask(FileRead | FileWrite, "/a/link", "/b/x")).allowed());
}

// ---- precedence ----

struct PrecedenceRow {
  const char* name;
  std::vector<Rule> rules;
  AccessView question;
  Reason reason;
  const char* rule;
};
class DecidePrecedence : public testing::TestWithParam<PrecedenceRow> {};

TEST_P(DecidePrecedence, NamesTheReasonAndTheRule) {
  const PrecedenceRow& row = GetParam();
  const Ruleset rules = ruleset(row.rules);
  const Decision decision = decide(rules, row.question);
  EXPECT_EQ(decision.allowed(), row.reason == Reason::Granted);
  EXPECT_EQ(reason_text(decision.reason()), reason_text(row.reason));
  EXPECT_EQ(rule_id(decision.rule()), row.rule);
}

const Rule kAllow = allow(FileRead, {"/x/**"});
const Rule kDeny = deny(FileRead, {"/x/**"});
const Rule kOptional = optional_grant(FileRead, {"/x/**"});
const Rule kProtect = protect(FileRead, {"/x/**"});
const AccessView kRead = ask(FileRead, "/x/y");

INSTANTIATE_TEST_SUITE_P(
    Decide, DecidePrecedence,
    testing::Values(
        PrecedenceRow{"ProtectedOverAllow", {kAllow, kProtect}, kRead, Reason::ProtectedState, "r1"},
        PrecedenceRow{"ProtectedOverEarlierDeny", {kDeny, kProtect}, kRead, Reason::ProtectedState, "r1"},
        PrecedenceRow{"ProtectedOverOptional", {kOptional, kProtect}, kRead, Reason::ProtectedState, "r1"},
        PrecedenceRow{"DenyOverAllow", {kAllow, kDeny}, kRead, Reason::DeniedByRule, "r1"},
        PrecedenceRow{"DenyOverAllowInOtherOrder", {kDeny, kAllow}, kRead, Reason::DeniedByRule, "r0"},
        PrecedenceRow{"DenyOverOptional", {kOptional, kDeny}, kRead, Reason::DeniedByRule, "r1"},
        PrecedenceRow{"DenyWithoutAnyGrant", {kDeny}, kRead, Reason::DeniedByRule, "r0"},
        PrecedenceRow{"PresetDenyOverPolicyAllow",
                      {path_rule(Effect::Allow, FileRead, {"/x/**"}, {}, Layer::Policy),
                       path_rule(Effect::Deny, FileRead, {"/x/**"}, {}, Layer::Preset)},
                      kRead,
                      Reason::DeniedByRule,
                      "r1"},
        PrecedenceRow{"AllowOverOptional", {kOptional, kAllow}, kRead, Reason::Granted, "r1"},
        PrecedenceRow{"FirstAllowIsNamed", {allow(FileRead, {"/x/y"}), kAllow}, kRead, Reason::Granted, "r0"},
        PrecedenceRow{"FirstAllowIsNamedWhateverItsKind",
                      {kAllow, allow(FileRead, {"/x/y"})},
                      kRead,
                      Reason::Granted,
                      "r0"},
        PrecedenceRow{"FirstDenyIsNamed",
                      {deny(FileRead, {"**/y"}), deny(FileRead, {"/x/y"})},
                      kRead,
                      Reason::DeniedByRule,
                      "r0"},
        PrecedenceRow{"OptionalNeedsConsent", {kOptional}, kRead, Reason::NeedsConsent, "r0"},
        PrecedenceRow{"OptionalForOneSpelling",
                      {kAllow, optional_grant(FileRead, {"/z/**"})},
                      ask(FileRead, "/z/link", "/x/y"),
                      Reason::NeedsConsent,
                      "r1"},
        PrecedenceRow{"OptionalForOneVerb",
                      {kAllow, optional_grant(FileWrite, {"/x/**"})},
                      ask(FileRead | FileWrite, "/x/y"),
                      Reason::NeedsConsent,
                      "r1"},
        PrecedenceRow{"OptionalForOneOfThreeVerbs",
                      {kAllow, optional_grant(FileWrite, {"/x/**"})},
                      ask(FileRead | FileWrite | FileCreate, "/x/y"),
                      Reason::NoGrant,
                      ""},
        PrecedenceRow{
            "OptionalExcept", {optional_grant(FileRead, {"/x/**"}, {"/x/y"})}, kRead, Reason::NoGrant, ""},
        PrecedenceRow{"DenyOnTheSpelling",
                      {allow(FileRead, {"/**"}), kDeny},
                      ask(FileRead, "/x/link", "/z"),
                      Reason::DeniedByRule,
                      "r1"},
        PrecedenceRow{"DenyOnTheObject",
                      {allow(FileRead, {"/**"}), kDeny},
                      ask(FileRead, "/z/link", "/x/y"),
                      Reason::DeniedByRule,
                      "r1"},
        PrecedenceRow{"DenyOnOneVerb",
                      {allow(kFileVerbs, {"/**"}), deny(FileWrite, {"/x/**"})},
                      ask(FileRead | FileWrite, "/x/y"),
                      Reason::DeniedByRule,
                      "r1"},
        PrecedenceRow{"DenyOnAnotherVerb",
                      {allow(kFileVerbs, {"/**"}), deny(FileWrite, {"/x/**"})},
                      kRead,
                      Reason::Granted,
                      "r0"},
        PrecedenceRow{"DenyReadDeniesList",
                      {allow(kFileVerbs, {"/**"}), kDeny},
                      ask(FileList, "/x"),
                      Reason::DeniedByRule,
                      "r1"},
        PrecedenceRow{"DenyListLeavesRead",
                      {allow(kFileVerbs, {"/**"}), deny(FileList, {"/x/**"})},
                      kRead,
                      Reason::Granted,
                      "r0"},
        PrecedenceRow{
            "DenyExcept", {kAllow, deny(FileRead, {"/x/**"}, {"/x/y"})}, kRead, Reason::Granted, "r0"},
        PrecedenceRow{"DenyExceptForOneSpelling",
                      {allow(FileRead, {"/**"}), deny(FileRead, {"/x/**"}, {"/x/y"})},
                      ask(FileRead, "/x/link", "/x/y"),
                      Reason::DeniedByRule,
                      "r1"},
        PrecedenceRow{"DenyOfARelativePathStands",
                      {deny(FileRead, {"**"})},
                      ask(FileRead, "/x/.."),
                      Reason::DeniedByRule,
                      "r0"},
        PrecedenceRow{"AllowOfTheProtectedLayerProtectsNothing",
                      {path_rule(Effect::Allow, FileRead, {"/x/**"}, {}, Layer::Protected)},
                      kRead,
                      Reason::Granted,
                      "r0"}),
    [](const auto& row) { return row.param.name; });

TEST(DecidePrecedence, TheVerbIsTheOneThatTheRuleDenies) {
  const Ruleset rules = ruleset({allow(kFileVerbs, {"/**"}), deny(FileDelete | FileWrite, {"/x/**"})});
  EXPECT_EQ(decide(rules, ask(FileRead | FileDelete, "/x/y")).verb(), FileDelete);
  const Ruleset listing = ruleset({deny(FileRead, {"/x/**"})});
  EXPECT_EQ(decide(listing, ask(FileList, "/x/y")).verb(), FileList);
}

// ---- network ----

TEST(DecideNet, AGrantIsForItsNetworkPortAndTransport) {
  const Ruleset rules =
      ruleset({net_rule(Effect::Allow, NetConnect, {net(v4(10, 1, 0, 0), 112, 443, 443, Transport::Tcp)})});
  EXPECT_TRUE(decide(rules, ask_net(NetConnect, v4(10, 1, 2, 3), 443)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetConnect, v4(10, 2, 2, 3), 443)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetConnect, v4(10, 1, 2, 3), 80)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetConnect, v4(10, 1, 2, 3), 443, Transport::Udp)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetBind, v4(10, 1, 2, 3), 443)).allowed());
}
TEST(DecideNet, PortRangesIncludeTheirEnds) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetBind, {net({}, 0, 8000, 8010)})});
  EXPECT_FALSE(decide(rules, ask_net(NetBind, v4(127, 0, 0, 1), 7999)).allowed());
  EXPECT_TRUE(decide(rules, ask_net(NetBind, v4(127, 0, 0, 1), 8000)).allowed());
  EXPECT_TRUE(decide(rules, ask_net(NetBind, v4(127, 0, 0, 1), 8010)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetBind, v4(127, 0, 0, 1), 8011)).allowed());
}
TEST(DecideNet, PrefixZeroIsEveryAddressOfBothFamilies) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {net({}, 0)})});
  EXPECT_TRUE(decide(rules, ask_net(NetConnect, v4(1, 2, 3, 4), 1)).allowed());
  EXPECT_TRUE(decide(rules, ask_net(NetConnect, v6(0x2001, 1), 65535)).allowed());
}
TEST(DecideNet, AllOfV4IsNotV6) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {net(v4(0, 0, 0, 0), 96)})});
  EXPECT_TRUE(decide(rules, ask_net(NetConnect, v4(1, 2, 3, 4), 1)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetConnect, v6(0x2001, 1), 1)).allowed());
}
TEST(DecideNet, HostBitsOfANetworkDoNotCount) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {net(v4(10, 1, 2, 3), 104)})});
  EXPECT_TRUE(decide(rules, ask_net(NetConnect, v4(10, 9, 9, 9), 1)).allowed());
}
TEST(DecideNet, ADenyInsideAGrantWins) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {net({}, 0)}),
                                 net_rule(Effect::Deny, NetConnect, {net(v4(169, 254, 169, 254), 128)})});
  EXPECT_TRUE(decide(rules, ask_net(NetConnect, v4(169, 254, 169, 253), 80)).allowed());
  const Decision denied = decide(rules, ask_net(NetConnect, v4(169, 254, 169, 254), 80));
  EXPECT_EQ(denied.reason(), Reason::DeniedByRule);
  EXPECT_EQ(rule_id(denied.rule()), "r1");
}
TEST(DecideNet, AnExceptTakesTheRuleOut) {
  const Ruleset rules =
      ruleset({net_rule(Effect::Allow, NetConnect, {net({}, 0)}, {net(v4(127, 0, 0, 0), 104)}),
               net_rule(Effect::Deny, NetBind, {net({}, 0)}, {net(v4(127, 0, 0, 0), 104)}),
               net_rule(Effect::Allow, NetBind, {net({}, 0)})});
  EXPECT_TRUE(decide(rules, ask_net(NetConnect, v4(8, 8, 8, 8), 53)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetConnect, v4(127, 0, 0, 1), 53)).allowed());
  EXPECT_FALSE(decide(rules, ask_net(NetBind, v4(8, 8, 8, 8), 53)).allowed());
  EXPECT_TRUE(decide(rules, ask_net(NetBind, v4(127, 0, 0, 1), 53)).allowed());
}
TEST(DecideNet, WithoutAnEndPointNothingIsGranted) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {net({}, 0)})});
  EXPECT_FALSE(decide(rules, ask(NetConnect, "/x")).allowed());
}
TEST(DecideNet, OptionalNeedsConsent) {
  const Ruleset rules = ruleset({net_rule(Effect::Optional, NetConnect, {net(v4(1, 1, 1, 1), 128)})});
  const Decision decision = decide(rules, ask_net(NetConnect, v4(1, 1, 1, 1), 443));
  EXPECT_EQ(decision.reason(), Reason::NeedsConsent);
  EXPECT_EQ(rule_id(decision.rule()), "r0");
}
TEST(DecideNet, AHostNameMatchesOnlyTheAddressesItStandsFor) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {host("api.example.com", 443, 443)})});
  const AccessView question = ask_net(NetConnect, v4(93, 184, 216, 34), 443);
  EXPECT_FALSE(decide(rules, question).allowed());
  const auto resolved =
      rules.with_host_addresses({{"api.example.com", {v4(93, 184, 216, 34), v6(0x2606, 1)}}});
  EXPECT_TRUE(decide(*resolved, question).allowed());
  EXPECT_TRUE(decide(*resolved, ask_net(NetConnect, v6(0x2606, 1), 443)).allowed());
  EXPECT_FALSE(decide(*resolved, ask_net(NetConnect, v4(93, 184, 216, 35), 443)).allowed());
  EXPECT_FALSE(decide(*resolved, ask_net(NetConnect, v4(93, 184, 216, 34), 80)).allowed());
  EXPECT_FALSE(decide(rules, question).allowed());  // the original is as it was
  EXPECT_EQ(decide(*resolved, question).rule(), &rules.rules()[0]);
}
TEST(DecideNet, ANameLeftOutMatchesNothing) {
  const Ruleset rules =
      ruleset({net_rule(Effect::Allow, NetConnect, {host("a.example"), host("b.example")})});
  const auto first = rules.with_host_addresses({{"a.example", {v4(1, 1, 1, 1)}}});
  const auto second = first->with_host_addresses({{"b.example", {v4(2, 2, 2, 2)}}});
  EXPECT_TRUE(decide(*first, ask_net(NetConnect, v4(1, 1, 1, 1), 80)).allowed());
  EXPECT_FALSE(decide(*second, ask_net(NetConnect, v4(1, 1, 1, 1), 80)).allowed());
  EXPECT_TRUE(decide(*second, ask_net(NetConnect, v4(2, 2, 2, 2), 80)).allowed());
}
TEST(DecideNet, AHostNameInAnExceptTakesTheRuleOut) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {net({}, 0)}, {host("evil.example")})});
  const auto resolved = rules.with_host_addresses({{"evil.example", {v4(6, 6, 6, 6)}}});
  EXPECT_TRUE(decide(*resolved, ask_net(NetConnect, v4(6, 6, 6, 7), 80)).allowed());
  EXPECT_FALSE(decide(*resolved, ask_net(NetConnect, v4(6, 6, 6, 6), 80)).allowed());
}

TEST(DecideCost, AllocatesNothing) {
  std::vector<Rule> many = {allow(FileRead, {"/srv/**", "**/*.txt", "/home/*/x"}, {"**/*.key", "/srv/no/**"}),
                            deny(FileRead, {"**/.env*"}), allow(UnixSocket, {"*"}),
                            net_rule(Effect::Allow, NetConnect, {net({}, 0), host("a")}, {host("b")}),
                            allow(EnvRead, {"LC_*"})};
  const Ruleset rules = ruleset(std::move(many));
  const auto resolved = rules.with_host_addresses({{"a", {v4(1, 1, 1, 1)}}, {"b", {v4(2, 2, 2, 2)}}});
  const std::string long_path = "/srv/" + std::string(3000, 'x') + "/y";
  const AccessView questions[] = {ask(FileRead, "/srv/link", long_path),
                                  ask(FileRead, "/home/a/.env"),
                                  ask(FileWrite, "/nowhere"),
                                  ask(UnixSocket, "@abstract-name-that-is-long"),
                                  ask_net(NetConnect, v4(2, 2, 2, 2), 80),
                                  ask(EnvRead, "LC_ALL")};
  const std::size_t before = allocation_count();
  int allowed = 0;
  for (const AccessView& question : questions) allowed += decide(*resolved, question).allowed() ? 1 : 0;
  EXPECT_EQ(allocation_count(), before);
  EXPECT_EQ(allowed, 3);
}

// ---- nearest grant ----

TEST(NearestGrant, IsTheOneThatSharesMost) {
  const Ruleset rules =
      ruleset({allow(FileRead, {"/home/**"}), allow(FileRead, {"/home/ana/docs/**"}),
               allow(ExecRun, {"/home/ana/.aws/credentials"}), deny(FileRead, {"/home/ana/.aws/**"})});
  EXPECT_EQ(rule_id(nearest_grant(rules, ask(FileWrite, "/home/ana/docs/x"))), "r1");
  EXPECT_EQ(rule_id(nearest_grant(rules, ask(ExecRun, "/home/ana/.aws/x"))), "r2");
}
TEST(NearestGrant, PrefersTheVerbThatWasAsked) {
  const Ruleset rules = ruleset({allow(FileRead, {"/srv/a/**"}), allow(FileWrite, {"/srv/b/**"})});
  EXPECT_EQ(rule_id(nearest_grant(rules, ask(FileWrite, "/srv/c"))), "r1");
  EXPECT_EQ(rule_id(nearest_grant(rules, ask(FileWrite, "/srv/a/c"))), "r0");
}
TEST(NearestGrant, ComparesTheSpellingThatIsNotGranted) {
  const Ruleset rules = ruleset({allow(FileRead, {"/srv/**"}), allow(FileRead, {"/opt/links/one"})});
  EXPECT_EQ(rule_id(nearest_grant(rules, ask(FileRead, "/opt/links/two", "/srv/x"))), "r1");
}
TEST(NearestGrant, IsNoneWhereNothingIsShared) {
  const Ruleset rules = ruleset({allow(FileRead, {"/srv/**"}), allow(EnvRead, {"LANG"}),
                                 net_rule(Effect::Allow, NetConnect, {net(v4(10, 0, 0, 0), 104)})});
  EXPECT_EQ(nearest_grant(rules, ask(FileRead, "/etc/passwd")), nullptr);
  EXPECT_EQ(nearest_grant(rules, ask(EnvRead, "PATH")), nullptr);
  EXPECT_EQ(nearest_grant(rules, ask_net(NetConnect, v4(93, 1, 1, 1), 80)), nullptr);
  EXPECT_EQ(nearest_grant(rules, ask(UnixSocket, "/srv/x")), nullptr);
}
TEST(NearestGrant, WorksForNamesAndAddresses) {
  const Ruleset rules = ruleset({allow(EnvRead, {"AWS_REGION"}),
                                 net_rule(Effect::Allow, NetConnect, {net(v4(10, 0, 0, 0), 104, 443, 443)}),
                                 net_rule(Effect::Allow, NetConnect, {net(v4(192, 168, 1, 0), 120)})});
  EXPECT_EQ(rule_id(nearest_grant(rules, ask(EnvRead, "AWS_SECRET_ACCESS_KEY"))), "r0");
  EXPECT_EQ(rule_id(nearest_grant(rules, ask_net(NetConnect, v4(10, 1, 1, 1), 80))), "r1");
  EXPECT_EQ(rule_id(nearest_grant(rules, ask_net(NetConnect, v4(192, 168, 2, 1), 80))), "r2");
}

TEST(NearestGrant, OfAHostSharesItsDomainOrThePort) {
  const Ruleset rules = ruleset({net_rule(Effect::Allow, NetConnect, {host("api.example.com", 443, 443)}),
                                 net_rule(Effect::Allow, NetConnect, {net(v4(10, 0, 0, 0), 104, 25, 25)})});
  EXPECT_EQ(rule_id(nearest_grant(rules, ask_net(NetConnect, v4(93, 1, 1, 1), 443))), "r0");
  EXPECT_EQ(rule_id(nearest_grant(rules, ask_net(NetConnect, v4(93, 1, 1, 1), 25))), "r1");
  EXPECT_EQ(rule_id(nearest_grant(rules, ask_net(NetConnect, v4(93, 1, 1, 1), 80), "www.example.com")), "r0");
  EXPECT_EQ(nearest_grant(rules, ask_net(NetConnect, v4(93, 1, 1, 1), 80), "example.org"), nullptr);
}
TEST(NearestGrant, IsOneThatSomebodyWrote) {
  for (const auto change :
       {+[](Rule&) {}, +[](Rule& r) { r.layer = Layer::Preset; }, +[](Rule& r) { r.layer = Layer::Implied; },
        +[](Rule& r) { r.effect = Effect::Deny; }, +[](Rule& r) { r.effect = Effect::Optional; },
        +[](Rule& r) { r.source.file.clear(); }}) {
    std::vector<Rule> rules{allow(FileRead, {"/srv/a/**"}), allow(FileRead, {"/srv/**"})};
    const bool changed = (change(rules.front()), rules.front().layer != Layer::Manifest ||
                                                     rules.front().effect != Effect::Allow ||
                                                     rules.front().source.file.empty());
    EXPECT_EQ(rule_id(nearest_grant(ruleset(rules), ask(FileWrite, "/srv/a/x"))), changed ? "r1" : "r0");
  }
}
TEST(VerbsNamed, AreThoseOfARecord) {
  EXPECT_EQ(verbs_named("file:read"), VerbSet(FileRead));
  EXPECT_EQ(verbs_named("file:read|write"), FileRead | FileWrite);
  EXPECT_EQ(verbs_named("net:connect"), VerbSet(NetConnect));
  for (const char* text : {"", "file", "file:", "read", ":read", "exec:read", "file:reads"})
    EXPECT_TRUE(verbs_named(text).empty()) << text;
}

}  // namespace
}  // namespace secbox::checker
