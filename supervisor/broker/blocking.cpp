#include "supervisor/broker/blocking.h"

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>

namespace secbox::broker {

namespace {
constexpr auto kPollInterval = std::chrono::milliseconds(5);
void do_nothing(int) {}
}  // namespace

void BlockingCalls::prepare_thread() {
  (void)::unshare(CLONE_FS);
  struct sigaction action{};
  action.sa_handler = do_nothing;  // without SA_RESTART: the point is EINTR
  (void)::sigaction(kWakeSignal, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kWakeSignal);
  (void)::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

BlockingCalls::BlockingCalls(sys::NotifyChannel& channel, const sys::Procfs& proc)
    : channel_(channel), proc_(proc) {}

BlockingCalls::~BlockingCalls() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    queued_.notify_all();
    changed_.wait(lock, [&] { return workers_ == 0; });
  }
  if (watcher_.joinable()) watcher_.join();
}

bool BlockingCalls::watch_callers() {
  try {
    watcher_ = std::thread([this] { watch(); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

bool BlockingCalls::start(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return false;
  if (idle_ > jobs_.size()) {
    jobs_.push_back(std::move(job));
    queued_.notify_one();
    return true;
  }
  if (workers_ >= kMaxWorkers) return false;
  try {
    std::thread([this] { work(); }).detach();
  } catch (const std::system_error&) {
    return false;
  }
  ++workers_;
  jobs_.push_back(std::move(job));
  return true;
}

void BlockingCalls::work() {
  prepare_thread();
  std::unique_lock lock(mutex_);
  while (true) {
    if (jobs_.empty()) {
      if (stopping_ || idle_ >= kMaxIdle) break;
      ++idle_;
      queued_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      --idle_;
      continue;
    }
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
  --workers_;
  changed_.notify_all();
}

std::shared_ptr<Blocker> BlockingCalls::enter(std::uint64_t id, ThreadId tid) {
  auto blocker = std::make_shared<Blocker>();
  blocker->id = id;
  blocker->tid = tid;
  blocker->worker = ::pthread_self();
  const std::lock_guard lock(mutex_);
  blockers_.push_back(blocker);
  changed_.notify_all();
  return blocker;
}

void BlockingCalls::interrupt_all() {
  const std::lock_guard lock(mutex_);
  interrupting_ = true;
  changed_.notify_all();
}

void BlockingCalls::leave(const std::shared_ptr<Blocker>& blocker) {
  const std::lock_guard lock(mutex_);
  std::erase(blockers_, blocker);
}

void BlockingCalls::watch() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return !blockers_.empty() || (stopping_ && workers_ == 0); });
    if (blockers_.empty()) return;
    for (const auto& blocker : blockers_) {
      sys::ThreadFacts facts;
      if (!blocker->interrupted.load(std::memory_order_relaxed) && !stopping_ && !interrupting_ &&
          channel_.alive(blocker->id) &&
          (proc_.read_facts(blocker->tid, facts) != 0 || !facts.signal_would_interrupt())) {
        continue;
      }
      // Again at every turn until the worker has left: a wake-up just before its system call would be lost.
      blocker->interrupted.store(true, std::memory_order_release);
      (void)::pthread_kill(blocker->worker, kWakeSignal);  // alive: leave() takes the same lock
    }
    lock.unlock();
    std::this_thread::sleep_for(kPollInterval);
    lock.lock();
  }
}

}  // namespace secbox::broker
