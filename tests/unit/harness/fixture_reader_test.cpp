#include "tools/harness/fixture_reader.h"

#include <gmock/gmock.h>

#include "tests/unit/harness/support.h"

namespace secbox::harness {
namespace {

using testing::ElementsAre;

struct Read {
  std::optional<Fixture> fixture;
  manifest::Diagnostics diagnostics;
};

// `members` are those of expect.json, without the schema.
Read read(const std::string& members) {
  const ScratchDirectory scratch;
  scratch.write("f/expect.json", R"({"$schema": "urn:secbox:schema:fixture:1", )" + members + "}");
  scratch.write("f/secbox.json", "{}");
  scratch.write("f/attack.c", "");
  scratch.write("f/more.c", "");
  Read out;
  out.fixture = read_fixture(scratch.path("f"), "f", out.diagnostics);
  return out;
}

TEST(ReadFixture, WhatIsLeftOut) {
  const auto [fixture, diagnostics] = read(R"("command": ["./x"], "exit": 1)");
  ASSERT_TRUE(fixture);
  ASSERT_EQ(fixture->cases.size(), 1U);
  const Case& c = fixture->cases.front();
  EXPECT_EQ(c.name, "");
  EXPECT_EQ(c.manifest, "secbox.json");
  EXPECT_THAT(c.users, ElementsAre(UserKind::Root, UserKind::Ordinary));
  EXPECT_EQ(c.timeout, std::chrono::seconds(20));
  EXPECT_TRUE(c.native_exit.holds(0));
  EXPECT_FALSE(c.native_exit.holds(1 << 8));
  EXPECT_TRUE(c.exit.holds(1 << 8));
  EXPECT_FALSE(c.exit.holds(0));
  ASSERT_EQ(c.routes.size(), 1U);
  EXPECT_EQ(c.routes.front().name, "");
}

TEST(ReadFixture, ACaseReplacesADefault) {
  const auto [fixture, diagnostics] = read(
      R"("command": ["./x"], "timeout": "500ms", "exit": 1, "forbidden": [{"output": "a"}], "cases": [
         {"name": "one"}, {"name": "two", "timeout": "2s", "forbidden": [{"exists": "b"}, {"exit": 4}]}])");
  ASSERT_TRUE(fixture);
  ASSERT_EQ(fixture->cases.size(), 2U);
  EXPECT_EQ(fixture->cases[0].timeout, std::chrono::milliseconds(500));
  EXPECT_EQ(fixture->cases[0].forbidden.front().what, "a");
  EXPECT_FALSE(fixture->cases[0].native_exit.any);
  EXPECT_EQ(fixture->cases[1].timeout, std::chrono::seconds(2));
  EXPECT_EQ(fixture->cases[1].forbidden.size(), 2U);
  // The effect says how it has to end.
  EXPECT_TRUE(fixture->cases[1].native_exit.any);
  EXPECT_GT(fixture->cases[1].line, fixture->cases[0].line - 1);
}

TEST(ReadFixture, BuildC) {
  const auto [fixture, diagnostics] = read(R"("build": "c", "exit": 1)");
  ASSERT_TRUE(fixture);
  ASSERT_EQ(fixture->build.size(), 2U);
  EXPECT_THAT(fixture->build[1], ElementsAre("cc", "-O1", "-w", "-pthread", "-D_GNU_SOURCE", "-static", "-o",
                                             "${BUILD}/attack-static", "attack.c", "more.c"));
  std::vector<std::string> routes;
  for (const Route& route : fixture->cases.front().routes) routes.push_back(route.name);
  EXPECT_THAT(routes, ElementsAre("here", "thread", "child", "shared", "static"));
  EXPECT_THAT(fixture->cases.front().routes[4].argv, ElementsAre("${BUILD}/attack-static", "here"));
}

TEST(ReadFixture, Exits) {
  const auto [fixture, diagnostics] =
      read(R"("command": ["x"], "exit": [1, 2, "signal:SIGSEGV", "signal:KILL"])");
  ASSERT_TRUE(fixture);
  const ExitRule& exit = fixture->cases.front().exit;
  for (const int good : {1 << 8, 2 << 8, 9, 11}) EXPECT_TRUE(exit.holds(good)) << good;
  for (const int bad : {0, 3 << 8, 15}) EXPECT_FALSE(exit.holds(bad)) << bad;
  EXPECT_EQ(exit.text(), "1 or 2 or SIGSEGV or SIGKILL");
}

TEST(ReadFixture, WhatIsWrongIsSaidOnce) {
  const auto [fixture, diagnostics] = read(
      R"("command": ["x"], "exit": 1, "denied": [{"ops": "x"}], "cases": [{"name": "a"}, {"name": "b"}])");
  EXPECT_FALSE(fixture);
  ASSERT_EQ(diagnostics.all.size(), 1U);
  EXPECT_EQ(diagnostics.all.front().code, "SBX-V106");
  EXPECT_EQ(diagnostics.all.front().hint, "did you mean \"op\"?");
}

TEST(ReadFixture, KeysWithXAreIgnored) {
  EXPECT_TRUE(read(R"("command": ["x"], "exit": 1, "x-note": {}, "forbidden": [{"x-why": 1, "output": "a"}])")
                  .fixture);
}

TEST(ReadFixture, TextsThatAreNotTheHarnesssKeepTheirVariables) {
  EXPECT_TRUE(read(R"("command": ["x"], "exit": 1, "options": ["--allow", "file:read:${HOME}/x"],
                      "world": {"files": {"s.sh": "echo ${HOME}"}})")
                  .fixture);
  EXPECT_FALSE(read(R"("command": ["x"], "exit": 1, "args": ["${HOME}"])").fixture);
  // A server that is not there is a mistake everywhere.
  EXPECT_FALSE(read(R"("command": ["x"], "exit": 1, "input": "${PORT:none}")").fixture);
}

}  // namespace
}  // namespace secbox::harness
