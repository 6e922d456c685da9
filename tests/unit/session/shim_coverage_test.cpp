#include "supervisor/session/shim_coverage.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace secbox::session {
namespace {

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++found;
  return found;
}

TEST(ShimCoverage, TellsOfEachImageOnce) {
  ShimCoverage coverage;
  EXPECT_EQ(coverage.json(), "[]");
  EXPECT_EQ(coverage.note_image(1, "/bin/sh", true, ""), 1U);
  coverage.note_hello(1);
  EXPECT_EQ(coverage.note_image(2, "/bin/static", false, "static"), 2U);
  EXPECT_EQ(coverage.note_image(3, "/bin/sh", true, ""), 3U);
  coverage.note_hello(3);
  EXPECT_EQ(coverage.json(),
            R"([{"exe":"/bin/sh","starts":2,"shim":"loaded","loaded":2},)"
            R"({"exe":"/bin/static","starts":1,"shim":"absent","loaded":0,"why":"static"}])");
  EXPECT_EQ(coverage.images(), 3U);
  EXPECT_EQ(coverage.processes_with_shim(), 2U);
}

TEST(ShimCoverage, GivenAndNeverHeardOf) {
  ShimCoverage coverage;
  coverage.note_image(1, "/bin/sh", true, "");
  EXPECT_EQ(coverage.json(), R"([{"exe":"/bin/sh","starts":1,"shim":"absent","loaded":0,"why":"no-hello"}])");
  coverage.note_image(2, "/bin/sh", true, "");
  coverage.note_hello(2);
  EXPECT_EQ(coverage.json(), R"([{"exe":"/bin/sh","starts":2,"shim":"partly","loaded":1,"why":"no-hello"}])");
}

TEST(ShimCoverage, WhatTheShimDoesNotSeeOfAProgramThatHasIt) {
  ShimCoverage coverage;
  coverage.note_image(1, "/bin/cgo", true, "go");
  coverage.note_hello(1);
  EXPECT_EQ(coverage.json(), R"([{"exe":"/bin/cgo","starts":1,"shim":"loaded","loaded":1,"why":"go"}])");
}

TEST(ShimCoverage, OneProgramForTwoReasons) {
  ShimCoverage coverage;
  coverage.note_image(1, "/bin/sh", true, "");
  coverage.note_hello(1);
  coverage.note_image(2, "/bin/sh", false, "setuid");
  EXPECT_EQ(coverage.json(), R"([{"exe":"/bin/sh","starts":1,"shim":"loaded","loaded":1},)"
                             R"({"exe":"/bin/sh","starts":1,"shim":"absent","loaded":0,"why":"setuid"}])");
}

TEST(ShimCoverage, WhoWasNotGivenTheShimHasNone) {
  ShimCoverage coverage;
  coverage.note_image(1, "/bin/static", false, "static");
  coverage.note_hello(1);
  EXPECT_EQ(coverage.json(),
            R"([{"exe":"/bin/static","starts":1,"shim":"absent","loaded":0,"why":"static"}])");
  EXPECT_EQ(coverage.processes_with_shim(), 0U);
}

TEST(ShimCoverage, AHelloCountsOnceAnExec) {
  ShimCoverage coverage;
  coverage.note_hello(7);  // executed nothing
  coverage.note_image(1, "/bin/a", true, "");
  coverage.note_hello(1);
  coverage.note_hello(1);
  coverage.note_image(1, "/bin/b", true, "");
  EXPECT_EQ(coverage.json(), R"([{"exe":"/bin/a","starts":1,"shim":"loaded","loaded":1},)"
                             R"({"exe":"/bin/b","starts":1,"shim":"absent","loaded":0,"why":"no-hello"}])");
  coverage.note_hello(1);
  EXPECT_EQ(count(coverage.json(), R"("loaded":1)"), 2U);
  EXPECT_EQ(coverage.processes_with_shim(), 1U);
}

TEST(ShimCoverage, NamesAreText) {
  ShimCoverage coverage;
  coverage.note_image(1, "/bin/\"\n\\", false, "static");
  EXPECT_EQ(coverage.json(),
            R"([{"exe":"/bin/\"\u000a\\","starts":1,"shim":"absent","loaded":0,"why":"static"}])");
}

TEST(ShimCoverage, ImagesPastTheBoundAreOthers) {
  ShimCoverage coverage;
  const int more = static_cast<int>(ShimCoverage::kMostImages) + 100;
  for (int i = 0; i < more; ++i) {
    coverage.note_image(i + 1, "/bin/" + std::to_string(i), i % 2 == 0, i % 2 == 0 ? "" : "static");
  }
  coverage.note_image(1, "/bin/0", true, "");  // known before
  const std::string json = coverage.json();
  EXPECT_EQ(count(json, "{\"exe\""), ShimCoverage::kMostImages + 2);
  EXPECT_EQ(count(json, R"({"exe":"others","starts":50,)"), 2U);
  EXPECT_EQ(count(json, R"({"exe":"/bin/0","starts":2,)"), 1U);
  EXPECT_EQ(coverage.images(), static_cast<std::uint64_t>(more) + 1);
}

TEST(ShimCoverage, LongNamesHaveABoundToo) {
  ShimCoverage coverage;
  for (int i = 0; i < 100; ++i)
    coverage.note_image(i + 1, "/" + std::string(4000, 'x') + std::to_string(i), false, "static");
  EXPECT_LT(coverage.json().size(), ShimCoverage::kMostText + 16'000);
  EXPECT_EQ(count(coverage.json(), R"({"exe":"others")"), 1U);
}

TEST(ShimCoverage, TheNewestProcessesAreRemembered) {
  ShimCoverage coverage;
  const int more = static_cast<int>(ShimCoverage::kMostProcesses) + 1;
  for (int i = 0; i < more; ++i) coverage.note_image(i + 1, "/bin/sh", true, "");
  coverage.note_hello(1);
  EXPECT_EQ(coverage.processes_with_shim(), 0U);
  coverage.note_hello(2);
  coverage.note_hello(more);
  EXPECT_EQ(coverage.processes_with_shim(), 2U);
}

TEST(ShimCoverage, EventsCountToTheImageOfTheirProcess) {
  ShimCoverage coverage;
  coverage.note_image(1, "/bin/a", true, "");
  coverage.note_image(2, "/bin/b", false, "static");
  coverage.note_event(1, "/bin/a", true, true);
  coverage.note_event(1, "/bin/a", true, false);
  coverage.note_event(2, "/bin/b", false, false);
  coverage.note_event(9, "/bin/a", true, true);  // forked
  coverage.note_event(9, "/bin/c", true, true);  // of no program that was started (and not asked again)
  coverage.note_event(8, "/bin/c", true, true);
  coverage.note_event(1, "renamed", false, false);  // the process decides
  EXPECT_EQ(coverage.json(), R"([{"exe":"/bin/a","starts":1,"shim":"absent","loaded":0,"why":"no-hello",)"
                             R"("events":5,"with_context":4,"checked":3},)"
                             R"({"exe":"/bin/b","starts":1,"shim":"absent","loaded":0,"why":"static",)"
                             R"("events":1,"with_context":0,"checked":0}])");
  coverage.note_image(1, "/bin/b", false, "static");
  coverage.note_event(1, "/bin/b", false, true);
  EXPECT_EQ(count(coverage.json(), R"("events":2,"with_context":0,"checked":1)"), 1U);
}

TEST(ShimCoverage, WhatAThreadRemembersIsOfOneSession) {
  for (const char* exe : {"/bin/a", "/bin/b"}) {
    ShimCoverage coverage;
    coverage.note_image(1, exe, true, "");
    coverage.note_event(1, exe, true, true);
    EXPECT_EQ(count(coverage.json(), R"("events":1)"), 1U);
  }
}

TEST(ShimCoverage, AllThreadsAreCounted) {
  ShimCoverage coverage;
  constexpr int kThreads = 4;
  constexpr int kEvents = 20'000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int turn = 0; turn < kEvents; ++turn) {
        if (turn % 100 == 0) {
          coverage.note_image(i + 1, "/bin/a", true, "");
          coverage.note_hello(i + 1);
        }
        coverage.note_event(turn % kThreads + 1, "/bin/a", true, false);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(coverage.images(), std::uint64_t{kThreads} * kEvents / 100);
  EXPECT_EQ(count(coverage.json(), R"("shim":"loaded","loaded":800,"events":80000,"with_context":80000,)"),
            1U);
}

}  // namespace
}  // namespace secbox::session
