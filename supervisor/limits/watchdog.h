// Usage -> what has to be said and done about it. Pure: values in, events out; no clock, no kernel.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/base/limits.h"
#include "supervisor/limits/usage.h"

namespace secbox::limits {

// One line of the log, and what follows from it.
struct Event {
  std::string_view name;                                    // of the record: "plugin_memory_exceeded"
  std::string_view error;                                   // "MemoryLimitError"; "" for a warning
  std::string_view code;                                    // "SBX-L102"
  std::string_view key;                                     // of the manifest: "limits.memory"
  std::string reason;                                       // in words
  std::vector<std::pair<std::string, std::string>> fields;  // of the record: key, JSON value
  bool terminates = false;
  bool timeout = false;  // of time rather than of a resource: exit code 124, not 123
};

class Watchdog {
 public:
  using Time = std::chrono::nanoseconds;  // of any steady clock

  // `kernel_keeps_tasks`: a cgroup refuses what is too much, so nothing has to be ended for it.
  Watchdog(const Limits& limits, Time started, bool kernel_keeps_tasks)
      : limits_(limits), kernel_keeps_tasks_(kernel_keeps_tasks), cpu_since_(started) {}

  [[nodiscard]] std::vector<Event> look(const Usage& usage, Time now);
  // How long until the next look: short where a limit is near or the plugin works, longer where it sleeps.
  [[nodiscard]] std::chrono::milliseconds pause(const Usage& usage) const;

 private:
  void look_at_memory(const Usage& usage, std::vector<Event>& events);
  void look_at_cpu(const Usage& usage, Time now, std::vector<Event>& events);
  void look_at_tasks(const Usage& usage, std::vector<Event>& events);

  Limits limits_;
  bool kernel_keeps_tasks_;
  bool warned_of_memory_ = false, said_memory_ = false, said_cpu_time_ = false, said_tasks_ = false;
  Time cpu_since_;
  std::uint64_t cpu_then_ns_ = 0;
  std::uint64_t last_cpu_ns_ = 0;
  bool idle_ = false;
  Time said_cpu_at_{-1};
};

// A time that has run out. `function`: "init" or "run".
[[nodiscard]] Event timeout_event(std::string_view function, std::uint64_t timeout_ms);
// A file that has come to the size beyond which the kernel writes no more.
[[nodiscard]] Event file_size_event(std::uint64_t limit_bytes, std::string_view path_json);

}  // namespace secbox::limits
