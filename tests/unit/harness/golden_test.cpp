#include "tools/harness/golden.h"

#include "tests/unit/harness/support.h"

namespace secbox::harness {
namespace {

std::string normal(const std::string& record) {
  Variables variables;
  variables.set("PORT:inner", "40123");
  variables.set("SOCKET:a", "@secbox-test-77");
  variables.set("PID:victim", "4711");
  variables.set("BUILD", "/tmp/r/build-0");
  return normalise_log(record + "\n", "/tmp/r/1/boxed", variables);
}

TEST(NormaliseLog, WhatDiffersFromRunToRunIsReplaced) {
  for (
      const auto& [record, expected] : {
          std::pair{R"({"timestamp":"2026-01-02T03:04:05Z","pid":12})",
                    R"({"timestamp":"<TIME>","pid":"<PID>"})"},
          {R"({"target":{"path":"/tmp/r/1/boxed/outside/x"}})", R"({"target":{"path":"<TMP>/outside/x"}})"},
          {R"({"exe":"/tmp/r/build-0/attack"})", R"({"exe":"<TMP>/build/attack"})"},
          {R"({"target":{"path":"/tmp/secbox-aB3xYz/f"}})", R"({"target":{"path":"<TMP>/f"}})"},
          {R"({"target":{"path":"/tmp/secbox-aB3xYz7/f"}})",
           R"({"target":{"path":"/tmp/secbox-aB3xYz7/f"}})"},
          {R"({"target":{"path":"/proc/123/mem"}})", R"({"target":{"path":"/proc/<PID>/mem"}})"},
          {R"({"target":{"path":"/proc/self/mem"}})", R"({"target":{"path":"/proc/self/mem"}})"},
          {R"({"target":{"ip":"127.0.0.1","port":40123}})",
           R"({"target":{"ip":"127.0.0.1","port":"<PORT>"}})"},
          {R"({"target":{"ip":"127.0.0.1","port":80}})", R"({"target":{"ip":"127.0.0.1","port":80}})"},
          {R"({"text":"net:connect:127.0.0.1:40123"})", R"({"text":"net:connect:127.0.0.1:<PORT>"})"},
          {R"({"target":{"abstract_name":"secbox-test-77"}})", R"({"target":{"abstract_name":"<NAME>"}})"},
          {R"({"argv":["x","4711","40123","9"]})", R"({"argv":["x","<PID>","<PORT>","9"]})"},
          {R"({"seq":1,"session":"ab","mono_ns":5,"duration_ms":0.1,"rules_digest":"sha256:0","object":{"dev":1},"op":"open"})",
           R"({"op":"open"})"},
      }) {
    EXPECT_EQ(normal(record), std::string(expected) + "\n");
  }
}

TEST(NormaliseLog, WhatPresetsAndSecboxAllowIsLeftOut) {
  for (const char* layer : {"preset", "implied"}) {
    const std::string rule = std::string(R"("rule":{"id":"x","layer":")") + layer + "\"}}";
    EXPECT_EQ(normal(R"({"decision":"allow",)" + rule), "");
    EXPECT_NE(normal(R"({"decision":"deny",)" + rule), "");
  }
  EXPECT_NE(normal(R"({"decision":"allow","rule":{"id":"m1","layer":"manifest"}})"), "");
}

TEST(GoldenDifference, TheFirstLineThatDiffers) {
  EXPECT_EQ(golden_difference("a\nb\n", "a\nb\n"), "");
  EXPECT_EQ(golden_difference("", ""), "");
  EXPECT_EQ(golden_difference("a\nb\n", "a\nc\n"), "line 2: b is now c");
  EXPECT_EQ(golden_difference("a\n", "a\nc\n"), "line 2: (end) is now c");
  EXPECT_EQ(golden_difference("a\nb\n", "a\n"), "line 2: b is now (end)");
}

}  // namespace
}  // namespace secbox::harness
