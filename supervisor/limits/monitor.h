// A thread of its own that looks at what the session uses, by control group or by /proc, and tells of what a
// limit says. Of its own, since a look may wait for locks of the plugin's memory.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "supervisor/limits/cgroup.h"
#include "supervisor/limits/process_meter.h"
#include "supervisor/limits/watchdog.h"

namespace secbox::limits {

class Monitor {
 public:
  // `group` must outlive it.
  Monitor(const Limits& limits, const Cgroup& group) : limits_(limits), group_(group) {}
  ~Monitor() { stop(); }
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // Opens what it reads. `proc` must outlive it.
  [[nodiscard]] Result<void> prepare(const sys::Procfs& proc, const sys::SessionMark& mark);
  // Made before the plugin can use up what threads are made of; it sleeps until begin(). False where it
  // cannot be made.
  [[nodiscard]] bool start();
  void begin();
  void stop();

  // The session is about to end, with its first process: a last look while there is something to see. What it
  // says comes back; the thread says nothing any more.
  [[nodiscard]] std::vector<Event> close(pid_t first_process);
  [[nodiscard]] Usage usage();
  [[nodiscard]] const Cgroup& group() const { return group_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }

  std::function<void(const Event&)> on_event;  // from the monitor's thread; must not block

 private:
  void run();
  void sample();
  std::vector<Event> look();

  const Limits limits_;
  const Cgroup& group_;
  std::optional<ProcessMeter> processes_;
  std::optional<Watchdog> watchdog_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool begun_ = false, stopping_ = false;
  std::timed_mutex sampling_;  // what follows, and processes_ and watchdog_
  bool closed_ = false;
  Usage usage_;
};

}  // namespace secbox::limits
