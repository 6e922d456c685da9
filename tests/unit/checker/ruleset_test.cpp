#include "supervisor/checker/ruleset.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/checker/support.h"

namespace secbox::checker {
namespace {

using enum Verb;

// ---- make() ----

struct PatternRow {
  const char* name;
  VerbSet verbs;
  std::string pattern;
  bool accepted;
};
class RulesetMake : public testing::TestWithParam<PatternRow> {};

TEST_P(RulesetMake, JudgesThePatternInGrantsAndExcepts) {
  const PatternRow& row = GetParam();
  EXPECT_EQ(Ruleset::make({allow(row.verbs, {row.pattern})}).has_value(), row.accepted);
  EXPECT_EQ(Ruleset::make({deny(row.verbs, {}, {row.pattern})}).has_value(), row.accepted);
}

INSTANTIATE_TEST_SUITE_P(
    Ruleset, RulesetMake,
    testing::Values(
        PatternRow{"Absolute", FileRead, "/etc/hosts", true}, PatternRow{"Root", FileRead, "/", true},
        PatternRow{"Tree", FileRead, "/x/**", true}, PatternRow{"AnyDepth", FileRead, "**/x", true},
        PatternRow{"Everything", FileRead, "**", true}, PatternRow{"Class", FileRead, "/x/[!a-c]", true},
        PatternRow{"ClassOfBracket", FileRead, "/x/[[]", true},
        PatternRow{"BareBraces", FileRead, "/x/{a}", true},
        PatternRow{"BytesThatAreNoText", FileRead, "/\xff\xfe", true},
        PatternRow{"Relative", FileRead, "etc/hosts", false}, PatternRow{"BareName", ExecRun, "git", false},
        PatternRow{"BareStar", FileRead, "*", false}, PatternRow{"StarGlued", FileRead, "**x/y", false},
        PatternRow{"Empty", FileRead, "", false}, PatternRow{"TrailingSlash", FileRead, "/x/", false},
        PatternRow{"DoubleSlash", FileRead, "/x//y", false}, PatternRow{"DotDot", FileRead, "/x/../y", false},
        PatternRow{"Dot", FileRead, "/x/./y", false}, PatternRow{"DotDotAnyDepth", FileRead, "**/..", false},
        PatternRow{"OpenBracket", FileRead, "/x/[a", false},
        PatternRow{"SlashInClass", FileRead, "/x/[a/b]", false},
        PatternRow{"Nul", FileRead, std::string("/x\0y", 4), false},
        PatternRow{"TooLong", FileRead, "/" + std::string(5000, 'x'), false},
        PatternRow{"Abstract", UnixSocket, "@name", true},
        PatternRow{"AbstractWithNul", UnixSocket, std::string("@a\0b", 4), true},
        PatternRow{"AbstractWithBracket", UnixSocket, "@a[b", true},
        PatternRow{"AbstractForFiles", FileRead, "@name", false},
        PatternRow{"SocketPath", UnixSocket, "/run/x", true}, PatternRow{"SocketStar", UnixSocket, "*", true},
        PatternRow{"EnvName", EnvRead, "LANG", true}, PatternRow{"EnvGlob", EnvRead, "LC_*", true},
        PatternRow{"EnvPath", EnvRead, "/LANG", false}, PatternRow{"EnvOpenBracket", EnvRead, "LC_[", false},
        PatternRow{"SignalPid", SignalSend, "1234", true},
        PatternRow{"BareNameWhereFilesAreMeantToo", FileRead | UnixSocket, "*", false}),
    [](const auto& row) { return row.param.name; });

TEST(RulesetMake, NamesTheRuleAndItsPlace) {
  Rule rule = allow(FileRead, {"relative"});
  rule.id = "m3";
  rule.source.file = "plugin.json";
  rule.source.line = 12;
  const auto made = Ruleset::make({rule});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().text(),
            "rule m3 (plugin.json:12): pattern \"relative\" is neither absolute nor begins with \"**/\"");
}
TEST(RulesetMake, RefusesARuleWithoutVerbs) { EXPECT_FALSE(Ruleset::make({allow(VerbSet(), {"/x"})})); }
TEST(RulesetMake, RefusesNetworksThatAreNone) {
  EXPECT_FALSE(Ruleset::make({net_rule(Effect::Allow, NetConnect, {net({}, 129)})}));
  EXPECT_FALSE(Ruleset::make({net_rule(Effect::Allow, NetConnect, {net({}, -1)})}));
  EXPECT_FALSE(Ruleset::make({net_rule(Effect::Allow, NetConnect, {net({}, 0, 2, 1)})}));
  EXPECT_FALSE(Ruleset::make({net_rule(Effect::Allow, NetConnect, {}, {net({}, 129)})}));
}

// ---- canonical text ----

TEST(RulesetCanonicalText, IsTheSameForRulesInAnotherOrder) {
  std::vector<Rule> rules = {
      allow(FileRead | FileWrite, {"/b/**", "/a"}, {"**/x"}), deny(ExecRun, {"/bin/sh"}),
      net_rule(Effect::Allow, NetConnect, {host("b"), net(v4(1, 2, 3, 4), 120, 1, 2)})};
  const std::string text = ruleset(rules).canonical_text();
  std::ranges::reverse(rules);
  std::ranges::reverse(rules[2].paths);
  rules[0].nets[1].network = v4(1, 2, 3, 99);  // outside the prefix
  rules[1].source.line = 7;
  rules[1].reason = "because";
  EXPECT_EQ(ruleset(rules).canonical_text(), text);
}
TEST(RulesetCanonicalText, IsStable) {
  EXPECT_EQ(ruleset({allow(FileRead | FileWrite, {"/b b", "/a"}, {"**/x"}),
                     protect(kFileVerbs - FileRead, {"/log"}),
                     net_rule(Effect::Optional, NetConnect,
                              {net(v4(1, 2, 3, 4), 120, 1, 2, Transport::Udp), host("h")})})
                .canonical_text(),
            "allow manifest file:read file:write on \"/a\" \"/b\\x20b\" except \"**/x\"\n"
            "deny protected file:list file:write file:create file:delete file:load on \"/log\"\n"
            "optional manifest net:connect on \"h\":0-65535 udp/00000000000000000000ffff01020300/120:1-2\n");
}
TEST(RulesetCanonicalText, TellsApartWhatDiffers) {
  const std::vector<Rule> variants = {
      allow(FileRead, {"/x"}),
      deny(FileRead, {"/x"}),
      optional_grant(FileRead, {"/x"}),
      protect(FileRead, {"/x"}),
      allow(FileWrite, {"/x"}),
      allow(FileRead, {"/x/**"}),
      allow(FileRead, {"/x"}, {"/y"}),
      allow(FileRead, {"/x", "/y"}),
      allow(FileRead, {"/x\" \"/y"}),
      net_rule(Effect::Allow, NetConnect, {net({}, 0)}),
      net_rule(Effect::Allow, NetConnect, {net({}, 1)}),
      net_rule(Effect::Allow, NetConnect, {net({}, 0, 0, 0)}),
      net_rule(Effect::Allow, NetConnect, {host("h")}),
      net_rule(Effect::Allow, NetConnect, {net({}, 0, 0, 65535, Transport::Tcp)}),
  };
  std::vector<std::string> texts;
  for (const Rule& rule : variants) texts.push_back(ruleset({rule}).canonical_text());
  std::ranges::sort(texts);
  EXPECT_EQ(std::ranges::adjacent_find(texts), texts.end());
}

// ---- hosts ----

TEST(RulesetHosts, NamesEachOnce) {
  const Ruleset rules =
      ruleset({net_rule(Effect::Allow, NetConnect, {host("b.example"), host("a.example"), net({}, 0)}),
               net_rule(Effect::Deny, NetConnect, {host("b.example")}, {host("c.example")})});
  EXPECT_EQ(rules.host_names(), (std::vector<std::string>{"a.example", "b.example", "c.example"}));
}

// ---- deny_below ----

struct BelowRow {
  const char* name;
  Rule rule;
  VerbSet verbs;
  std::string path;
  bool found;
};
class DenyBelow : public testing::TestWithParam<BelowRow> {};

TEST_P(DenyBelow, FindsWhatCouldMatchBelow) {
  const BelowRow& row = GetParam();
  const Ruleset rules = ruleset({allow(kFileVerbs, {"/**"}), row.rule});
  EXPECT_EQ(rules.deny_below(row.verbs, row.path), row.found ? &rules.rules()[1] : nullptr);
}

INSTANTIATE_TEST_SUITE_P(
    Ruleset, DenyBelow,
    testing::Values(BelowRow{"Child", deny(FileRead, {"/a/b"}), FileRead, "/a", true},
                    BelowRow{"Descendant", deny(FileRead, {"/a/b/c/d"}), FileRead, "/a", true},
                    BelowRow{"Itself", deny(FileRead, {"/a"}), FileRead, "/a", false},
                    BelowRow{"ItsTree", deny(FileRead, {"/a/**"}), FileRead, "/a", true},
                    BelowRow{"InsideADeniedTree", deny(FileRead, {"/a/**"}), FileRead, "/a/b/c", true},
                    BelowRow{"Sibling", deny(FileRead, {"/ab/c"}), FileRead, "/a", false},
                    BelowRow{"Parent", deny(FileRead, {"/a"}), FileRead, "/a/b", false},
                    BelowRow{"GlobBelow", deny(FileRead, {"/a/*/c"}), FileRead, "/a/b", true},
                    BelowRow{"GlobTooShort", deny(FileRead, {"/a/*"}), FileRead, "/a/b", false},
                    BelowRow{"GlobInThePath", deny(FileRead, {"/*/x/secret"}), FileRead, "/home/x", true},
                    BelowRow{"GlobMisses", deny(FileRead, {"/*/x/secret"}), FileRead, "/home/y", false},
                    BelowRow{"StarStarBelow", deny(FileRead, {"/a/**/secret"}), FileRead, "/a/b/c", true},
                    BelowRow{"AnyDepthKeepsMatching", deny(FileRead, {"**/secret"}), FileRead, "/a", false},
                    BelowRow{"EverythingKeepsMatching", deny(FileRead, {"**"}), FileRead, "/a", false},
                    BelowRow{"AnotherVerb", deny(FileWrite, {"/a/b"}), FileRead, "/a", false},
                    BelowRow{"OneOfTheVerbs", deny(FileWrite, {"/a/b"}), FileRead | FileWrite, "/a", true},
                    BelowRow{"ListingByReading", deny(FileRead, {"/a/b"}), FileList, "/a", true},
                    BelowRow{"Protected", protect(FileRead, {"/a/b"}), FileRead, "/a", true},
                    BelowRow{"AllowsDoNotCount", allow(FileRead, {"/a/b"}), FileRead, "/a", false},
                    BelowRow{"Root", deny(FileRead, {"/a"}), FileRead, "/", true},
                    BelowRow{"TrailingSlash", deny(FileRead, {"/a/b"}), FileRead, "/a/", true},
                    BelowRow{"Relative", deny(FileRead, {"/a/b"}), FileRead, "a", false},
                    BelowRow{"AbstractNames", deny(UnixSocket, {"@a/b"}), UnixSocket, "/a", false}),
    [](const auto& row) { return row.param.name; });

TEST(DenyBelow, NamesTheFirst) {
  const Ruleset rules =
      ruleset({deny(FileRead, {"/b/x"}), deny(FileRead, {"/a/y"}), deny(FileRead, {"/a/x"})});
  EXPECT_EQ(rule_id(rules.deny_below(FileRead, "/a")), "r1");
}

// ---- ban_gained_below ----

struct BanRow {
  const char* name;
  Rule rule;
  std::string from;
  std::string to;
  bool found;
};
class BanGainedBelow : public testing::TestWithParam<BanRow> {};

TEST_P(BanGainedBelow, FindsWhatCouldNotHaveBeenMadeThere) {
  const BanRow& row = GetParam();
  const Ruleset rules = ruleset({allow(FileRead, {"/**"}), row.rule});
  EXPECT_EQ(rules.ban_gained_below(FileCreate | FileWrite, row.from, row.to),
            row.found ? &rules.rules()[1] : nullptr);
}

Rule allow_except(const char* pattern, const char* except) {
  Rule rule = allow(kFileVerbs, {pattern});
  rule.except_paths = {except};
  return rule;
}

INSTANTIATE_TEST_SUITE_P(
    Ruleset, BanGainedBelow,
    testing::Values(BanRow{"Parent", deny(FileWrite, {"/a/.git/hooks/**"}), "/a/x", "/a/.git", true},
                    BanRow{"Itself", deny(FileWrite, {"/a/.git/hooks/**"}), "/a/x", "/a/.git/hooks", true},
                    BanRow{"Sibling", deny(FileWrite, {"/a/.git/hooks/**"}), "/a/x", "/a/y", false},
                    BanRow{"FileOnly", deny(FileWrite, {"/a/b"}), "/a/x", "/a/b", false},
                    BanRow{"ReadingOnly", deny(FileRead, {"/a/b/c"}), "/a/x", "/a/b", false},
                    BanRow{"SameBefore", deny(FileWrite, {"/a/*/c"}), "/a/x", "/a/y", false},
                    BanRow{"FromNowhere", deny(FileWrite, {"/a/*/c"}), "", "/a/y", true},
                    BanRow{"Except", allow_except("/a/**", "/a/b/c"), "/a/x", "/a/b", true},
                    BanRow{"ExceptElsewhere", allow_except("/a/**", "/a/b/c"), "/a/x", "/a/d", false},
                    BanRow{"AnyDepth", deny(FileWrite, {"**/.git/hooks/**"}), "/a/x", "/a/.git", true},
                    BanRow{"AnyDepthSecondName", deny(FileWrite, {"**/.git/hooks/**"}), "/a/hooks",
                           "/a/.git/hooks", true},
                    BanRow{"AnyDepthFirstNameKept", deny(FileWrite, {"**/.git/hooks/**"}), "/b/.git",
                           "/a/.git", false},
                    BanRow{"AnyDepthOther", deny(FileWrite, {"**/.git/hooks/**"}), "/a/x", "/a/y", false},
                    BanRow{"AnyDepthLastName", deny(FileWrite, {"**/.env*"}), "/a/x", "/a/.env", false}),
    [](const auto& row) { return row.param.name; });

TEST(Endpoint, KnowsItsFamily) {
  EXPECT_TRUE((Endpoint{Transport::Tcp, v4(1, 2, 3, 4), 0}.is_v4()));
  EXPECT_FALSE((Endpoint{Transport::Tcp, v6(0x2001, 1), 0}.is_v4()));
  EXPECT_FALSE((Endpoint{Transport::Tcp, {}, 0}.is_v4()));
}
TEST(Names, OfVerbsAndLayers) {
  EXPECT_EQ(verb_name(FileRead), "file:read");
  EXPECT_EQ(verb_name(UnixSocket), "ipc:unix");
  EXPECT_EQ(layer_name(Layer::Protected), "protected");
  EXPECT_EQ(reason_text(Reason::NoGrant), "no grant matches");
}

}  // namespace
}  // namespace secbox::checker
