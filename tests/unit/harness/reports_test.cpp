#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/unit/harness/support.h"
#include "tools/harness/junit.h"
#include "tools/harness/result_text.h"
#include "tools/harness/sarif.h"
#include "tools/harness/tap.h"

namespace secbox::harness {
namespace {

using testing::HasSubstr;
using testing::Not;

Suite suite_named(const std::string& name) {
  Suite suite;
  Case c;
  c.name = name;
  c.routes = {{"here", {"x"}}};
  c.line = 7;
  suite.fixtures = {{.folder = "/repo/fix tures/one", .name = "one", .kind = "files", .cases = {c}}};
  suite.tests = {{0, 0, 0, UserKind::Ordinary}, {0, 0, 0, UserKind::Root}};
  return suite;
}

TestResult escaped(const std::string& message) {
  return {.status = TestResult::Status::Failed, .failures = {{"SBX-T002", message}}, .denials = {message}};
}

TEST(ResultText, ComesBackWhole) {
  TestResult result = escaped("a \"b\"\n\xff");
  result.native_output = "n";
  result.duration = std::chrono::milliseconds(1234);
  const auto back = result_from_text(result_to_text(result));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->status, result.status);
  EXPECT_EQ(back->failures.front().code, "SBX-T002");
  EXPECT_EQ(back->failures.front().message, "a \"b\"\n\xef\xbf\xbd");
  EXPECT_EQ(back->native_output, "n");
  EXPECT_EQ(back->duration, result.duration);
  for (const char* text : {"", "{", "[]", "{}", "null"}) EXPECT_FALSE(result_from_text(text)) << text;
}

TEST(TapLine, HostileTextStaysWhereItIs) {
  const Suite suite = suite_named("x\nok 2 - forged # SKIP \x1b[31m");
  const std::string line = tap_line(suite, 0, escaped("y\n  ...\nok 3 - forged \x1b"));
  EXPECT_THAT(line, Not(HasSubstr("\x1b")));
  EXPECT_THAT(line, Not(HasSubstr("\nok")));
  EXPECT_THAT(line, HasSubstr("\\# SKIP"));
  EXPECT_TRUE(line.starts_with("not ok 1 - one x\\nok 2") || line.starts_with("not ok 1 - one x\\u000aok 2"))
      << line;
}

TEST(TapTail, CountsByClass) {
  const Suite suite = suite_named("x");
  const std::string tail = tap_tail(
      {.suite = &suite,
       .results = {TestResult{}, {.status = TestResult::Status::Skipped, .skip_reason = "needs root"}}});
  EXPECT_EQ(tail, "# class files: 1 of 1 stopped\n# 1 passed, 0 failed, 1 skipped\n");
}

TEST(JunitReport, WhatXmlCannotHoldIsEscaped) {
  const Suite suite = suite_named("<a> & \"b\" ]]>");
  const std::string report = junit_report(
      {.suite = &suite, .results = {escaped(std::string("\x01\x1b\xff<&>\xef\xbf\xbf\0", 10)), {}}});
  EXPECT_THAT(report, HasSubstr("name=\"&lt;a&gt; &amp; &quot;b&quot; ]]&gt; [here] uid "));
  EXPECT_THAT(report, HasSubstr("\\u{1}\\u{1b}\xef\xbf\xbd&lt;&amp;&gt;\\u{ffff}\\u{0}"));
  for (const char c : report)
    EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n') << static_cast<int>(c);
}

TEST(SarifReport, OneResultACaseAndCode) {
  const Suite suite = suite_named("x");
  const Report report{.suite = &suite, .results = {escaped("a"), escaped("b")}};
  const auto json = nlohmann::json::parse(sarif_report(report, "/repo"));
  const auto& results = json.at("runs").at(0).at("results");
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].at("ruleId"), "SBX-T002");
  EXPECT_THAT(results[0].at("message").at("text").get<std::string>(), HasSubstr(": a\n"));
  const auto& place = results[0].at("locations").at(0).at("physicalLocation");
  EXPECT_EQ(place.at("artifactLocation").at("uri"), "fix%20tures/one/expect.json");
  EXPECT_EQ(place.at("region").at("startLine"), 7);
  EXPECT_THAT(sarif_report(report, "/else"), HasSubstr("file:///repo/fix%20tures/one/expect.json"));
}

}  // namespace
}  // namespace secbox::harness
