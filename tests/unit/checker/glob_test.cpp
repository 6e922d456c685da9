#include "supervisor/checker/glob.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "supervisor/checker/ruleset.h"

namespace secbox::checker {
namespace {

struct GlobRow {
  const char* name;
  std::string pattern;
  std::string path;
  bool matches;
};

class GlobTable : public testing::TestWithParam<GlobRow> {};

TEST_P(GlobTable, MatchesAsDocumented) {
  EXPECT_EQ(glob_match(GetParam().pattern, GetParam().path), GetParam().matches)
      << GetParam().pattern << " on " << GetParam().path;
}

INSTANTIATE_TEST_SUITE_P(
    Glob, GlobTable,
    testing::Values(GlobRow{"LiteralIsThatObject", "/etc/hosts", "/etc/hosts", true},
                    GlobRow{"LiteralIsNotItsChild", "/etc", "/etc/hosts", false},
                    GlobRow{"LiteralIsNotALongerName", "/etc/host", "/etc/hosts", false},
                    GlobRow{"LiteralIsNotAShorterName", "/etc/hosts", "/etc/host", false},
                    GlobRow{"RootIsRoot", "/", "/", true}, GlobRow{"RootIsNotEverything", "/", "/x", false},
                    GlobRow{"SubtreeIncludesItsTop", "/x/**", "/x", true},
                    GlobRow{"SubtreeIncludesChildren", "/x/**", "/x/y", true},
                    GlobRow{"SubtreeIncludesDescendants", "/x/**", "/x/y/z/.w", true},
                    GlobRow{"SubtreeIsNotASiblingPrefix", "/x/**", "/xy", false},
                    GlobRow{"SubtreeIsNotTheParent", "/x/y/**", "/x", false},
                    GlobRow{"SlashStarStarIsEverything", "/**", "/a/b/c", true},
                    GlobRow{"SlashStarStarIncludesRoot", "/**", "/", true},
                    GlobRow{"SlashStarStarIsAbsolute", "/**", "a", false},
                    GlobRow{"StarStarAloneIsEverything", "**", "/a/b/c", true},
                    GlobRow{"StarStarAloneIncludesRoot", "**", "/", true},
                    GlobRow{"StarStaysInItsComponent", "/a/*", "/a/b/c", false},
                    GlobRow{"StarIsOneComponent", "/a/*", "/a/b", true},
                    GlobRow{"StarIsNotNoComponent", "/a/*", "/a", false},
                    GlobRow{"StarIsNotTheDirectoryWithASlash", "/a/*", "/a/", false},
                    GlobRow{"StarMatchesALeadingDot", "/a/*", "/a/.ssh", true},
                    GlobRow{"StarInTheMiddle", "/a/x*z", "/a/xyyz", true},
                    GlobRow{"StarMayBeEmpty", "/a/x*z", "/a/xz", true},
                    GlobRow{"StarNeedsTheRest", "/a/x*z", "/a/xzy", false},
                    GlobRow{"SeveralStars", "/a/*b*c*", "/a/xxbyycz", true},
                    GlobRow{"SeveralStarsInOrder", "/a/*b*c*", "/a/xxcyyb", false},
                    GlobRow{"QuestionIsOneByte", "/a/?", "/a/b", true},
                    GlobRow{"QuestionIsNotNoByte", "/a/b?", "/a/b", false},
                    GlobRow{"QuestionIsNotASlash", "/a?b", "/a/b", false},
                    GlobRow{"QuestionIsAByteNotACharacter", "/a/?", "/a/\xc3\xa9", false},
                    GlobRow{"AnyDepthAtTheRoot", "**/.env", "/.env", true},
                    GlobRow{"AnyDepthFurtherDown", "**/.env", "/srv/app/.env", true},
                    GlobRow{"AnyDepthIsAWholeComponent", "**/.env", "/srv/x.env", false},
                    GlobRow{"AnyDepthOnlyTheLast", "**/.env", "/.env/x", false},
                    GlobRow{"AnyDepthWithGlob", "**/.env*", "/srv/.env.local", true},
                    GlobRow{"AnyDepthSubtree", "**/.git/**", "/a/.git/hooks/x", true},
                    GlobRow{"AnyDepthSubtreeTop", "**/.git/**", "/a/.git", true},
                    GlobRow{"AnyDepthSubtreeNeedsTheName", "**/.git/**", "/a/.gitx/y", false},
                    GlobRow{"InnerStarStarMayBeNothing", "/a/**/b", "/a/b", true},
                    GlobRow{"InnerStarStarSpans", "/a/**/b", "/a/x/y/b", true},
                    GlobRow{"InnerStarStarNeedsTheEnd", "/a/**/b", "/a/x/y/c", false},
                    GlobRow{"TwoStarStars", "/a/**/b/**/c", "/a/x/b/b/y/c", true},
                    GlobRow{"TwoStarStarsInOrder", "/a/**/b/**/c", "/a/x/c/y/b", false},
                    GlobRow{"StarStarTriesLaterStarts", "/**/a/b", "/a/x/a/b", true},
                    GlobRow{"StarStarInsideANameIsOneStar", "/a/x**y", "/a/x1/2y", false},
                    GlobRow{"StarStarInsideANameMatchesTheName", "/a/x**y", "/a/x12y", true},
                    GlobRow{"Class", "/a/[bc]", "/a/c", true},
                    GlobRow{"ClassMisses", "/a/[bc]", "/a/d", false},
                    GlobRow{"ClassRange", "/a/[0-9]", "/a/7", true},
                    GlobRow{"ClassRangeMisses", "/a/[0-9]", "/a/x", false},
                    GlobRow{"NegatedClass", "/a/[!a]", "/a/b", true},
                    GlobRow{"NegatedClassMisses", "/a/[!a]", "/a/a", false},
                    GlobRow{"NegatedClassIsNotASlash", "/a[!x]b", "/a/b", false},
                    GlobRow{"CaretNegatesAsWell", "/a/[^a]", "/a/a", false},
                    GlobRow{"ClassOfABracket", "/a/[]]", "/a/]", true},
                    GlobRow{"ClassOfAnOpenBracket", "/a/[[]x", "/a/[x", true},
                    GlobRow{"ClassOfAStar", "/a/[*]", "/a/*", true},
                    GlobRow{"ClassOfAStarIsNoStar", "/a/[*]", "/a/b", false},
                    GlobRow{"ClassWithALastDash", "/a/[a-]", "/a/-", true},
                    GlobRow{"ClassAfterAStar", "/a/*[0-9]", "/a/x9", true},
                    GlobRow{"BytesThatAreNoText", "/a/\xff*", std::string("/a/\xff\x01\n"), true},
                    GlobRow{"HighByteRange", "/a/[\x80-\xff]", "/a/\xfe", true},
                    GlobRow{"PathPatternNeedsAnAbsolutePath", "**/x", "x", false},
                    GlobRow{"BareName", "PATH", "PATH", true},
                    GlobRow{"BareNameMisses", "PATH", "PATHX", false},
                    GlobRow{"BareNameGlob", "LC_*", "LC_ALL", true},
                    GlobRow{"BareNameGlobAtTheEnd", "*_TOKEN", "GH_TOKEN", true},
                    GlobRow{"BareNameGlobMisses", "*_TOKEN", "GH_TOKENS", false},
                    GlobRow{"BareStarSpansSlashes", "*", "/run/x.sock", true},
                    GlobRow{"AbstractNameSpansSlashes", "@*", "@/tmp/.X11-unix/X0", true},
                    GlobRow{"AbstractNameIsNoPath", "@*", "/tmp/x", false},
                    GlobRow{"AbstractNameWithNul", std::string("@a\0b", 4), std::string("@a\0b", 4), true},
                    GlobRow{"AbstractNameIsNotCutAtNul", "@a", std::string("@a\0b", 4), false},
                    GlobRow{"EmptyPath", "/**", "", false}, GlobRow{"EmptyPattern", "", "/x", false}),
    [](const auto& row) { return row.param.name; });

// Each would take longer than the age of the universe with plain recursion.
TEST(Glob, HostilePatternsTakePolynomialTime) {
  std::string stars = "/";
  for (int i = 0; i < 60; ++i) stars += "a*";
  std::string deep = "/";
  std::string path = "/";
  for (int i = 0; i < 60; ++i) deep += "**/a/";
  for (int i = 0; i < 500; ++i) path += "a/";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(glob_match(stars + "b", "/" + std::string(2000, 'a')));
  EXPECT_FALSE(glob_match(deep + "b", path + "a"));
  EXPECT_FALSE(glob_match(deep + stars.substr(1) + "b", path + std::string(200, 'a')));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST(Glob, LiteralPrefixIsTheLongestLeadingDirectory) {
  const std::pair<const char*, const char*> rows[] = {
      {"/usr/lib/py*/x", "/usr/lib"},
      {"/usr/lib/x", "/usr/lib/x"},
      {"**/x", "/"},
      {"**", "/"},
      {"/**", "/"},
      {"/x/**", "/x"},
      {"/*", "/"},
      {"/", "/"},
      {"LC_*", ""},
      {"PATH", "PATH"},
      {"/a/[bc]/d", "/a"},
      {"/a/b?/c", "/a"},
  };
  for (const auto& [pattern, prefix] : rows) EXPECT_EQ(literal_prefix(pattern), prefix) << pattern;
}

TEST(Glob, HeadAndTailAreTheBytesOutsideTheWildcards) {
  const std::array<const char*, 3> rows[] = {
      {"*.key", "", ".key"},       {".env*", ".env", ""},  {"id_*.pub", "id_", ".pub"},
      {"plain", "plain", "plain"}, {"x[ab]yz", "x", "yz"}, {"x[]]y", "x", "y"},
      {"[!a]b", "", "b"},          {"a?b", "a", "b"},      {"open[x", "open[x", "open[x"},
  };
  for (const auto& [pattern, head, tail] : rows) {
    EXPECT_EQ(literal_head(pattern), head) << pattern;
    EXPECT_EQ(literal_tail(pattern), tail) << pattern;
  }
}

}  // namespace
}  // namespace secbox::checker
