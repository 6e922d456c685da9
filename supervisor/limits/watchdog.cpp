#include "supervisor/limits/watchdog.h"

#include <algorithm>
#include <cstdio>

namespace secbox::limits {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kCpuWindow = seconds(3);  // "sustained"
constexpr auto kCpuSayAgain = seconds(30);
constexpr auto kNear = milliseconds(10);  // a limit is near
constexpr auto kWorking = milliseconds(50);
constexpr auto kSleeping = milliseconds(100);

std::string megabytes(std::uint64_t bytes) {
  char text[32];
  (void)std::snprintf(text, sizeof text, "%.1f", static_cast<double>(bytes) / 1e6);
  return text;
}

std::string seconds_text(std::uint64_t ms) {
  char text[32];
  (void)std::snprintf(text, sizeof text, "%.*f", ms % 1000 == 0 ? 0 : 1, static_cast<double>(ms) / 1e3);
  return text;
}

}  // namespace

std::vector<Event> Watchdog::look(const Usage& usage, Time now) {
  std::vector<Event> events;
  look_at_memory(usage, events);
  look_at_cpu(usage, now, events);
  look_at_tasks(usage, events);
  idle_ = usage.cpu_ns == last_cpu_ns_;
  last_cpu_ns_ = usage.cpu_ns;
  return events;
}

void Watchdog::look_at_memory(const Usage& usage, std::vector<Event>& events) {
  if (!limits_.memory_bytes) return;
  const std::uint64_t limit = *limits_.memory_bytes;
  const std::uint64_t used = usage.memory_bytes;
  const std::vector<std::pair<std::string, std::string>> fields{
      {"memory_mb", megabytes(std::max(used, usage.oom_kills > 0 ? limit : 0))}, {"limit", megabytes(limit)}};
  if (!warned_of_memory_ && limits_.memory_warn_percent && used < limit &&
      used / 100 >= limit / 10'000 * *limits_.memory_warn_percent) {
    warned_of_memory_ = true;
    events.push_back({.name = "plugin_memory_warning",
                      .error = {},
                      .code = "SBX-L101",
                      .key = "limits.memory",
                      .reason = "memory: " + megabytes(used) + " MB of " + megabytes(limit) + " MB",
                      .fields = fields});
  }
  if (said_memory_ || (used < limit && usage.oom_kills == 0)) return;
  said_memory_ = true;
  events.push_back({.name = "plugin_memory_exceeded",
                    .error = "MemoryLimitError",
                    .code = "SBX-L102",
                    .key = "limits.memory",
                    .reason = "memory: " + megabytes(used) + " MB of " + megabytes(limit) + " MB" +
                              (usage.oom_kills > 0 ? " (the kernel ended a process for it)" : ""),
                    .fields = fields,
                    .terminates = limits_.on_memory == OnLimit::Terminate});
}

void Watchdog::look_at_cpu(const Usage& usage, Time now, std::vector<Event>& events) {
  if (limits_.cpu_time_ms && !said_cpu_time_ && usage.cpu_ns / 1'000'000 >= *limits_.cpu_time_ms) {
    said_cpu_time_ = true;
    const std::string used = seconds_text(usage.cpu_ns / 1'000'000);
    const std::string limit = seconds_text(*limits_.cpu_time_ms);
    events.push_back({.name = "plugin_cpu_exceeded",
                      .error = "CpuLimitError",
                      .code = "SBX-L104",
                      .key = "limits.cpu_time",
                      .reason = "CPU time: " + used + " s of " + limit + " s",
                      .fields = {{"cpu_seconds", used}, {"limit", limit}},
                      .terminates = true});
  }
  if (!limits_.cpu_percent || now - cpu_since_ < kCpuWindow) return;
  const auto window = static_cast<std::uint64_t>((now - cpu_since_).count());
  const std::uint64_t used = usage.cpu_ns - std::min(cpu_then_ns_, usage.cpu_ns);
  cpu_since_ = now;
  cpu_then_ns_ = usage.cpu_ns;
  const std::uint64_t percent = used * 100 / window;
  // A plugin that is held to its rate uses all of it: a little over is no excess.
  const std::uint64_t tolerated = *limits_.cpu_percent + (limits_.on_cpu == OnLimit::Throttle ? 5U : 0U);
  if (percent <= tolerated || (said_cpu_at_ >= Time::zero() && now - said_cpu_at_ < kCpuSayAgain)) return;
  said_cpu_at_ = now;
  events.push_back(
      {.name = "plugin_cpu_exceeded",
       .error = limits_.on_cpu == OnLimit::Terminate ? "CpuLimitError" : "",
       .code = "SBX-L103",
       .key = "limits.cpu",
       .reason = "CPU: " + std::to_string(percent) + " % of a core over " + seconds_text(window / 1'000'000) +
                 " s, " + std::to_string(*limits_.cpu_percent) + " % are meant",
       .fields = {{"cpu_percent", std::to_string(percent)}, {"limit", std::to_string(*limits_.cpu_percent)}},
       .terminates = limits_.on_cpu == OnLimit::Terminate});
}

void Watchdog::look_at_tasks(const Usage& usage, std::vector<Event>& events) {
  if (!limits_.pids || said_tasks_) return;
  if (kernel_keeps_tasks_ ? usage.refused_tasks == 0 : usage.tasks <= *limits_.pids) return;
  said_tasks_ = true;
  const std::string limit = std::to_string(*limits_.pids);
  events.push_back({.name = "plugin_pids_exceeded",
                    .error = "PidsLimitError",
                    .code = "SBX-L106",
                    .key = "limits.pids",
                    .reason = kernel_keeps_tasks_
                                  ? "processes and threads: more than " + limit + " were refused"
                                  : "processes and threads: " + std::to_string(usage.tasks) + " of " + limit,
                    .fields = {{"pids", std::to_string(usage.tasks)}, {"limit", limit}},
                    .terminates = !kernel_keeps_tasks_});
}

std::chrono::milliseconds Watchdog::pause(const Usage& usage) const {
  const bool near_memory = limits_.memory_bytes && usage.memory_bytes >= *limits_.memory_bytes / 2;
  const bool near_tasks = !kernel_keeps_tasks_ && limits_.pids && usage.tasks >= *limits_.pids / 4;
  const bool near_time = limits_.cpu_time_ms && usage.cpu_ns / 1'000'000 + 200 >= *limits_.cpu_time_ms;
  if (near_memory || near_tasks || near_time) return kNear;
  return idle_ ? kSleeping : kWorking;
}

Event timeout_event(std::string_view function, std::uint64_t timeout_ms) {
  const std::string limit = seconds_text(timeout_ms);
  return {.name = "plugin_timeout",
          .error = "PluginTimeoutError",
          .code = function == "init" ? "SBX-L201" : "SBX-L202",
          .key = function == "init" ? "timeouts.init" : "timeouts.run",
          .reason = std::string(function == "init" ? "time to start: " : "time: ") + limit + " s are over",
          .fields = {{"function", "\"" + std::string(function) + "\""}, {"timeout", limit}},
          .terminates = true,
          .timeout = true};
}

Event file_size_event(std::uint64_t limit_bytes, std::string_view path_json) {
  const std::string limit = megabytes(limit_bytes);
  return {.name = "plugin_file_size_exceeded",
          .error = "FileSizeError",
          .code = "SBX-L105",
          .key = "limits.file_size",
          .reason = "file size: " + limit + " MB are the most for one file",
          .fields = {{"path", std::string(path_json)}, {"limit", limit}}};
}

}  // namespace secbox::limits
