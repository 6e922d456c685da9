#include "tools/harness/audit_matcher.h"

#include "tests/unit/harness/support.h"

namespace secbox::harness {
namespace {

TEST(MatchesGlob, StarIsAnyText) {
  for (const auto& [pattern, text, matches] : {
           std::tuple{"", "", true},
           {"", "a", false},
           {"*", "", true},
           {"*", "a/b", true},
           {"a*c", "abbc", true},
           {"a*c", "abcb", false},
           {"*.txt", "/a/b.txt", true},
           {"/a/*/c/*", "/a/b/c/c/d", true},
           {"a**b", "ab", true},
           {"[x]", "x", false},
           {"[x]", "[x]", true},
           {"a?", "ab", false},
           {"*aab*", "aaaab", true},
       }) {
    EXPECT_EQ(matches_glob(pattern, text), matches) << pattern << " on " << text;
  }
}

TEST(CountMatches, ByEachMember) {
  const auto log = parse_audit_log(log_text(kDenial));
  ASSERT_TRUE(log);
  Variables variables;
  variables.set("OUTSIDE", "/w");
  for (const auto& [expectation, count] : {
           std::pair<Expectation, std::size_t>{{}, 1},
           {{.op = "open"}, 1},
           {{.op = "file_open"}, 1},
           {{.op = "file:write"}, 1},
           {{.op = "file:read|write"}, 1},
           {{.op = "file:create"}, 0},
           {{.op = "net:write"}, 0},
           {{.op = "write"}, 0},
           {{.target = "${OUTSIDE}/secret"}, 1},
           {{.target = "/w/link"}, 1},
           {{.target = "/w"}, 0},
           {{.target = "*secret"}, 1},
           {{.errno_name = "EACCES"}, 1},
           {{.errno_name = "EPERM"}, 0},
           {{.syscall = "openat"}, 1},
           {{.syscall = "open"}, 0},
           {{.rule = "def*"}, 1},
           {{.rule = "m1"}, 0},
           {{.op = "open", .target = "/w/link", .errno_name = "EPERM"}, 0},
       }) {
    EXPECT_EQ(count_matches(expectation, "deny", *log, variables), count) << expectation.text();
  }
  EXPECT_EQ(count_matches({}, "allow", *log, variables), 1U);
}

TEST(ParseAuditLog, EveryNameOfATarget) {
  for (const auto& [target, name] : {
           std::pair{R"({"path":"/a"})", "/a"},
           {R"({"path":"/a","to":"/b"})", "/b"},
           {R"({"name":"ptrace"})", "ptrace"},
           {R"({"abstract_name":"x"})", "x"},
           {R"({"abstract_name":"x"})", "@x"},
           {R"({"ip":"127.0.0.1","port":80})", "127.0.0.1:80"},
           {R"({"ip":"::1","port":80})", "[::1]:80"},
           {R"({"host":"example.org","ip":"10.0.0.1","port":80})", "example.org:80"},
           {R"({"pid":42})", "42"},
       }) {
    const auto log = parse_audit_log(std::string(R"({"decision":"deny","target":)") + target + "}\n");
    ASSERT_TRUE(log);
    EXPECT_EQ(count_matches({.target = name}, "deny", *log, {}), 1U) << target;
  }
}

TEST(ParseAuditLog, ALineThatIsNoRecordIsAnError) {
  for (const char* text : {"{}\nnonsense\n", "[]\n", "{}\n\n{}\n", "{\"a\":1"})
    EXPECT_FALSE(parse_audit_log(text)) << text;
  const auto log = parse_audit_log("{}\n{\"event\":5,\"rule\":[],\"target\":\"x\"}");
  ASSERT_TRUE(log);
  EXPECT_EQ(log->records.size(), 2U);
  EXPECT_FALSE(log->has_start || log->has_end);
}

}  // namespace
}  // namespace secbox::harness
