// Calls that the supervisor performs for the plugin and that may block: each on a thread of its own, each
// ended when its caller is killed or has a signal to take, so that alarm(2) and Ctrl-C work as if the plugin
// had made the call itself.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "supervisor/base/ids.h"
#include "supervisor/sys/notify_fd.h"
#include "supervisor/sys/target.h"

namespace secbox::broker {

struct Blocker {
  std::uint64_t id = 0;
  ThreadId tid;
  pthread_t worker{};
  std::atomic<bool> interrupted{false};
};

class BlockingCalls {
 public:
  static constexpr std::size_t kMaxWorkers = 512;
  static constexpr std::size_t kMaxIdle =
      4;  // workers that stay for the next call: a thread costs 50 us to make
  static constexpr int kWakeSignal =
      60;  // a real-time signal with a handler that does nothing: interrupts a system call

  BlockingCalls(sys::NotifyChannel& channel, const sys::Procfs& proc);
  ~BlockingCalls();  // interrupts and joins every worker

  // The thread that interrupts blocked calls. Made before any plugin can use up what threads are made of;
  // false where it cannot be.
  [[nodiscard]] bool watch_callers();

  // Runs `job` on a thread with its own working directory and umask. False when too many calls are blocked
  // already: the caller refuses.
  [[nodiscard]] bool start(std::function<void()> job);

  // Ends every blocked call, now and from now on: the session is at its end.
  void interrupt_all();

  std::shared_ptr<Blocker> enter(std::uint64_t id, ThreadId tid);
  void leave(const std::shared_ptr<Blocker>& blocker);

  // Gives a broker thread its own umask and working directory, and lets kWakeSignal interrupt it.
  static void prepare_thread();

 private:
  void watch();
  void work();

  sys::NotifyChannel& channel_;
  const sys::Procfs& proc_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Blocker>> blockers_;
  std::condition_variable queued_;
  std::deque<std::function<void()>> jobs_;
  std::size_t workers_ = 0;
  std::size_t idle_ = 0;
  bool stopping_ = false;
  bool interrupting_ = false;
  std::thread watcher_;
};

}  // namespace secbox::broker
