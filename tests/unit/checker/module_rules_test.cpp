// Denials by module: whom they match, and that they never allow.
#include "supervisor/checker/module_rules.h"

#include <gtest/gtest.h>

#include "tests/unit/checker/support.h"

namespace secbox::checker {
namespace {

using enum Verb;

Rule denial(const std::string& id, VerbSet verbs, std::vector<PathPattern> paths,
            std::vector<PathPattern> excepts = {}) {
  Rule rule = deny(verbs, std::move(paths), std::move(excepts));
  rule.id = id;
  rule.source.line = 7;
  return rule;
}

ModuleRules made(std::vector<ModuleRule> rules) {
  auto result = ModuleRules::make(std::move(rules));
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().text());
  return result ? std::move(*result) : ModuleRules();
}

// ---- whom a pattern matches ----

struct MatchRow {
  const char* name;
  std::string pattern, path;
  bool matches;
};
class ModuleRulesMatch : public testing::TestWithParam<MatchRow> {};

TEST_P(ModuleRulesMatch, IsOverTheWholePathOrTheLastComponent) {
  const MatchRow& row = GetParam();
  const ModuleRules rules =
      made({{.text = row.pattern, .match = {row.pattern}, .deny = {denial("d", FileRead, {"/etc/**"})}}});
  EXPECT_EQ(rules.denies(row.path, ask(FileRead, "/etc/passwd")).has_value(), row.matches);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ModuleRulesMatch,
    testing::Values(MatchRow{"AnyDirectory", "*/libfoo.so*", "/usr/lib/x86_64-linux-gnu/libfoo.so.1.2", true},
                    MatchRow{"AnyDirectoryOther", "*/libfoo.so*", "/usr/lib/libfool.so", false},
                    MatchRow{"StarMatchesSlash", "/opt/*.so", "/opt/a/b/c.so", true},
                    MatchRow{"QuestionMatchesSlash", "/opt?c.so", "/opt/c.so", true},
                    MatchRow{"Tree", "/usr/lib/**", "/usr/lib/a/libz.so", true},
                    MatchRow{"TreeOther", "/usr/lib/**", "/usr/libexec/libz.so", false},
                    MatchRow{"Literal", "/opt/libfoo.so", "/opt/libfoo.so", true},
                    MatchRow{"LiteralIsTheWholePath", "/opt/libfoo.so", "/x/opt/libfoo.so", false},
                    MatchRow{"LastComponent", "libfoo.so", "/any/where/libfoo.so", true},
                    MatchRow{"LastComponentWhole", "libfoo.so", "/any/where/mylibfoo.so", false},
                    MatchRow{"LastComponentGlob", "libfoo.so*", "/any/where/libfoo.so.3", true},
                    MatchRow{"LastComponentNotADirectory", "libfoo*", "/libfoo/other.so", false},
                    MatchRow{"Class", "libfoo.so.[0-9]", "/x/libfoo.so.3", true},
                    MatchRow{"ClassOther", "libfoo.so.[!0-9]", "/x/libfoo.so.3", false},
                    MatchRow{"NoPath", "*/libfoo.so", "", false},
                    MatchRow{"BareName", "libfoo.so", "libfoo.so", true},
                    MatchRow{"Everything", "*", "/x/y", true}),
    [](const auto& row) { return row.param.name; });

TEST(ModuleRulesMatch, AnyOfSeveralPatternsIsEnough) {
  const ModuleRules rules = made(
      {{.text = "{a,b}.so", .match = {"a.so", "/opt/b.so"}, .deny = {denial("d", FileRead, {"/etc/**"})}}});
  EXPECT_TRUE(rules.denies("/x/a.so", ask(FileRead, "/etc/x")));
  EXPECT_TRUE(rules.denies("/opt/b.so", ask(FileRead, "/etc/x")));
  EXPECT_FALSE(rules.denies("/x/b.so", ask(FileRead, "/etc/x")));
}

// ---- what is said ----

TEST(ModuleRulesDenies, NamesTheRule) {
  const ModuleRules rules = made({{.text = "libfoo.so*",
                                   .match = {"libfoo.so*"},
                                   .deny = {denial("modules[0].deny[0]", FileWrite, {"/srv/**"}),
                                            denial("modules[0].deny[1]", FileRead, {"/etc/**"})}}});
  const auto decision = rules.denies("/x/libfoo.so.1", ask(FileRead | FileWrite, "/etc/passwd"));
  ASSERT_TRUE(decision);
  EXPECT_FALSE(decision->allowed());
  EXPECT_EQ(decision->reason(), Reason::DeniedByRule);
  EXPECT_EQ(rule_id(decision->rule()), "modules[0].deny[1]");
  EXPECT_EQ(decision->rule()->layer, Layer::Manifest);
  EXPECT_EQ(decision->rule()->source.file, "m.json");
  EXPECT_EQ(decision->rule()->source.line, 7);
  EXPECT_EQ(decision->verb(), FileRead);
}

// An entry that matches and says nothing of this does not keep a later one from it.
TEST(ModuleRulesDenies, EveryEntryThatMatchesCounts) {
  const ModuleRules rules =
      made({{.text = "a", .match = {"*/a.so"}, .deny = {denial("first", FileRead, {"/srv/**"})}},
            {.text = "b", .match = {"/opt/**"}, .deny = {denial("second", FileRead, {"/etc/**"})}},
            {.text = "c", .match = {"a.so"}, .deny = {denial("third", FileRead, {"/etc/**"})}}});
  EXPECT_EQ(rule_id(rules.denies("/opt/a.so", ask(FileRead, "/etc/x"))->rule()), "second");
  EXPECT_EQ(rule_id(rules.denies("/usr/a.so", ask(FileRead, "/etc/x"))->rule()), "third");
  EXPECT_EQ(rule_id(rules.denies("/opt/a.so", ask(FileRead, "/srv/x"))->rule()), "first");
  EXPECT_FALSE(rules.denies("/opt/a.so", ask(FileRead, "/home/x")));
  EXPECT_FALSE(rules.denies("/usr/b.so", ask(FileRead, "/etc/x")));
}

TEST(ModuleRulesDenies, SpellingsExceptionsAndAddresses) {
  Rule net = net_rule(Effect::Deny, NetConnect, {checker::net({}, 0)}, {checker::net(v4(127, 0, 0, 0), 104)});
  net.id = "net";
  const ModuleRules rules =
      made({{.text = "a.so",
             .match = {"a.so"},
             .deny = {denial("etc", FileRead, {"/etc/**"}, {"/etc/hosts"}), std::move(net)}}});
  EXPECT_TRUE(rules.denies("/a.so", ask(FileRead, "/srv/link", "/etc/passwd"))) << "either spelling";
  EXPECT_TRUE(rules.denies("/a.so", ask(FileRead, "/etc/link", "/srv/x")));
  EXPECT_TRUE(rules.denies("/a.so", ask(FileList, "/etc"))) << "reading a directory is listing it";
  EXPECT_FALSE(rules.denies("/a.so", ask(FileRead, "/etc/hosts")));
  EXPECT_FALSE(rules.denies("/a.so", ask(FileWrite, "/etc/passwd")));
  EXPECT_TRUE(rules.denies("/a.so", ask_net(NetConnect, v4(10, 0, 0, 1), 443)));
  EXPECT_FALSE(rules.denies("/a.so", ask_net(NetConnect, v4(127, 0, 0, 1), 443)));
  EXPECT_FALSE(rules.denies("/a.so", ask_net(NetBind, v4(10, 0, 0, 1), 443)));
}

TEST(ModuleRulesDenies, NothingWhereThereIsNone) {
  const ModuleRules none = made({});
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(none.denies("/a.so", ask(FileRead, "/etc/x")));
  EXPECT_EQ(none.canonical_text(), "");
}

TEST(ModuleRulesDenies, AllocatesNothing) {
  const ModuleRules rules =
      made({{.text = "a", .match = {"*/a.so*"}, .deny = {denial("d", FileRead, {"/etc/**", "/srv/*/x"})}}});
  const AccessView access = ask(FileRead, "/srv/y/x");
  const std::size_t before = allocation_count();
  const bool denied = rules.denies("/usr/lib/a.so.1", access).has_value();
  EXPECT_EQ(allocation_count(), before);
  EXPECT_TRUE(denied);
}

// ---- make() ----

TEST(ModuleRulesMake, RefusesWhatIsNoDenial) {
  for (const Rule& rule : {allow(FileRead, {"/x"}), optional_grant(FileRead, {"/x"}),
                           net_rule(Effect::Deny, NetConnect, {host("api.example.com")}),
                           net_rule(Effect::Deny, NetConnect, {net({}, 0)}, {host("api.example.com")}),
                           deny(FileRead, {"relative"}), deny(VerbSet(), {"/x"})}) {
    EXPECT_FALSE(ModuleRules::make({{.text = "a", .match = {"a.so"}, .deny = {rule}}}));
  }
  EXPECT_TRUE(ModuleRules::make({{.text = "a", .match = {"a.so"}, .deny = {deny(FileRead, {"/x"})}}}));
}

TEST(ModuleRulesMake, RefusesPatternsThatMatchNothing) {
  for (const std::string& pattern : {std::string(), std::string("lib/a.so"), std::string("a[b"),
                                     std::string("a\0b", 3), "/" + std::string(5000, 'x')}) {
    EXPECT_FALSE(ModuleRules::make({{.text = "a", .match = {pattern}, .deny = {}}})) << pattern;
  }
  EXPECT_FALSE(ModuleRules::make({{.text = "a", .match = {}, .deny = {}}}));
  const auto named = ModuleRules::make({{.text = "lib/a.so", .match = {"lib/a.so"}, .deny = {}}});
  ASSERT_FALSE(named);
  EXPECT_EQ(named.error().text(),
            "rule for the module \"lib/a.so\": pattern \"lib/a.so\" is neither absolute nor begins with a "
            "wildcard");
}

TEST(ModuleRulesCanonicalText, IsTheSameInAnotherOrder) {
  const ModuleRule a{.text = "a", .match = {"a.so", "/x/a"}, .deny = {deny(FileRead, {"/etc/**"})}};
  const ModuleRule a_again{.text = "a", .match = {"/x/a", "a.so"}, .deny = {deny(FileRead, {"/etc/**"})}};
  const ModuleRule b{.text = "b", .match = {"b c.so"}, .deny = {deny(FileWrite, {"/srv"})}};
  EXPECT_EQ(made({a, b}).canonical_text(), made({b, a_again}).canonical_text());
  EXPECT_EQ(made({a, b}).canonical_text(),
            "module \"/x/a\" \"a.so\" deny manifest file:read on \"/etc/**\"\n"
            "module \"b\\x20c.so\" deny manifest file:write on \"/srv\"\n");
  EXPECT_NE(made({a}).canonical_text(), made({b}).canonical_text());
}

}  // namespace
}  // namespace secbox::checker
