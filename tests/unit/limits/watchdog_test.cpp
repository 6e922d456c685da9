#include "supervisor/limits/watchdog.h"

#include <gtest/gtest.h>

namespace secbox::limits {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The codes of what is said about `usage`, and "!" where the plugin is to be ended.
std::string said(Watchdog& watchdog, const Usage& usage, Watchdog::Time now = seconds(1)) {
  std::string text;
  for (const Event& event : watchdog.look(usage, now)) {
    text += std::string(text.empty() ? "" : " ") + std::string(event.code.substr(4)) +
            (event.terminates ? "!" : "");
  }
  return text;
}

Limits only_memory(std::uint64_t bytes) {
  Limits limits = Limits::none();
  limits.memory_bytes = bytes;
  limits.memory_warn_percent = 80;
  return limits;
}

TEST(Watchdog, WarnsOfMemoryOnceAndEndsAtTheLimit) {
  Watchdog watchdog(only_memory(100'000'000), seconds(0), false);
  EXPECT_EQ(said(watchdog, {.memory_bytes = 79'000'000}), "");
  EXPECT_EQ(said(watchdog, {.memory_bytes = 80'000'000}), "L101");
  EXPECT_EQ(said(watchdog, {.memory_bytes = 99'000'000}), "");
  EXPECT_EQ(said(watchdog, {.memory_bytes = 100'000'000}), "L102!");
  EXPECT_EQ(said(watchdog, {.memory_bytes = 200'000'000}), "");
}

TEST(Watchdog, GoesPastTheWarningWhereThereWasNoTimeForIt) {
  Watchdog watchdog(only_memory(100'000'000), seconds(0), false);
  EXPECT_EQ(said(watchdog, {.memory_bytes = 150'000'000}), "L102!");
}

TEST(Watchdog, OnlyWarnsOfMemoryByChoice) {
  Limits limits = only_memory(100'000'000);
  limits.on_memory = OnLimit::Warn;
  Watchdog watchdog(limits, seconds(0), false);
  EXPECT_EQ(said(watchdog, {.memory_bytes = 150'000'000}), "L102");
}

TEST(Watchdog, TakesAKillOfTheKernelForAnExcess) {
  Watchdog watchdog(only_memory(100'000'000), seconds(0), false);
  const auto events = watchdog.look({.memory_bytes = 1000, .oom_kills = 1}, seconds(1));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].name, "plugin_memory_exceeded");
  EXPECT_EQ(events[0].error, "MemoryLimitError");
  EXPECT_EQ(events[0].fields[0], (std::pair<std::string, std::string>{"memory_mb", "100.0"}));
}

TEST(Watchdog, EndsAtTheTotalOfCpuTime) {
  Limits limits = Limits::none();
  limits.cpu_time_ms = 10'000;
  Watchdog watchdog(limits, seconds(0), false);
  EXPECT_EQ(said(watchdog, {.cpu_ns = 9'999'000'000}), "");
  EXPECT_EQ(said(watchdog, {.cpu_ns = 10'000'000'000}), "L104!");
  EXPECT_EQ(said(watchdog, {.cpu_ns = 11'000'000'000}), "");
}

TEST(Watchdog, SaysASustainedRateAndNotAShortOne) {
  Limits limits = Limits::none();
  limits.cpu_percent = 80;
  Watchdog watchdog(limits, seconds(0), false);
  EXPECT_EQ(said(watchdog, {.cpu_ns = 1'000'000'000}, seconds(1)), "");
  EXPECT_EQ(said(watchdog, {.cpu_ns = 1'000'000'000}, seconds(3)), "") << "33 % on average";
  EXPECT_EQ(said(watchdog, {.cpu_ns = 4'000'000'000}, seconds(6)), "L103");
  EXPECT_EQ(said(watchdog, {.cpu_ns = 7'000'000'000}, seconds(9)), "") << "not again at once";
  EXPECT_EQ(said(watchdog, {.cpu_ns = 37'000'000'000}, seconds(39)), "L103");
}

TEST(Watchdog, EndsForTheRateByChoiceAndToleratesWhatAThrottleLetsThrough) {
  Limits limits = Limits::none();
  limits.cpu_percent = 50;
  limits.on_cpu = OnLimit::Terminate;
  Watchdog ends(limits, seconds(0), false);
  EXPECT_EQ(said(ends, {.cpu_ns = 3'000'000'000}, seconds(3)), "L103!");
  limits.on_cpu = OnLimit::Throttle;
  Watchdog throttles(limits, seconds(0), false);
  EXPECT_EQ(said(throttles, {.cpu_ns = 1'600'000'000}, seconds(3)), "");
}

TEST(Watchdog, EndsForTooManyTasksOnlyWhereTheKernelDoesNotRefuseThem) {
  Limits limits = Limits::none();
  limits.pids = 10;
  Watchdog counting(limits, seconds(0), false);
  EXPECT_EQ(said(counting, {.tasks = 10}), "");
  EXPECT_EQ(said(counting, {.tasks = 11}), "L106!");
  Watchdog kept(limits, seconds(0), true);
  EXPECT_EQ(said(kept, {.tasks = 10}), "");
  EXPECT_EQ(said(kept, {.tasks = 10, .refused_tasks = 3}), "L106");
  EXPECT_EQ(said(kept, {.tasks = 10, .refused_tasks = 9}), "");
}

TEST(Watchdog, SaysNothingWithoutLimits) {
  Watchdog watchdog(Limits::none(), seconds(0), false);
  EXPECT_EQ(
      said(watchdog, {.cpu_ns = 1ULL << 60, .memory_bytes = 1ULL << 60, .tasks = 1ULL << 40}, seconds(90)),
      "");
}

TEST(Watchdog, LooksMoreOftenNearALimit) {
  Watchdog watchdog(only_memory(100'000'000), seconds(0), false);
  const Usage far{.cpu_ns = 5, .memory_bytes = 1'000'000};
  (void)watchdog.look(far, seconds(1));
  const auto working = watchdog.pause(far);
  (void)watchdog.look(far, seconds(2));
  EXPECT_GT(watchdog.pause(far), working) << "it sleeps";
  EXPECT_LT(watchdog.pause({.memory_bytes = 60'000'000}), working);
}

TEST(Watchdog, NamesTimeoutsAndFilesAsTheRequirementsDo) {
  const Event init = timeout_event("init", 500);
  EXPECT_EQ(init.name, "plugin_timeout");
  EXPECT_EQ(init.code, "SBX-L201");
  EXPECT_EQ(init.error, "PluginTimeoutError");
  EXPECT_TRUE(init.terminates && init.timeout);
  EXPECT_EQ(init.fields[0].second, "\"init\"");
  EXPECT_EQ(init.fields[1].second, "0.5");
  EXPECT_EQ(timeout_event("run", 300'000).fields[1].second, "300");
  const Event file = file_size_event(100'000'000, "\"/x\"");
  EXPECT_EQ(file.error, "FileSizeError");
  EXPECT_FALSE(file.terminates) << "the kernel has refused it";
}

}  // namespace
}  // namespace secbox::limits
