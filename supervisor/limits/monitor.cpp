#include "supervisor/limits/monitor.h"

#include <chrono>
#include <system_error>

namespace secbox::limits {

namespace {
constexpr auto kPatience = std::chrono::milliseconds(200);
}  // namespace

Result<void> Monitor::prepare(const sys::Procfs& proc, const sys::SessionMark& mark) {
  auto meter = ProcessMeter::open(proc, mark, limits_.memory_bytes.value_or(0) / 2);
  if (!meter) return std::unexpected(meter.error());
  processes_.emplace(std::move(*meter));
  watchdog_.emplace(limits_, std::chrono::steady_clock::now().time_since_epoch(), group_.keeps_tasks());
  return {};
}

bool Monitor::start() {
  if (!limits_.memory_bytes && !limits_.cpu_percent && !limits_.cpu_time_ms && !limits_.pids) return true;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void Monitor::begin() {
  const std::lock_guard lock(mutex_);
  begun_ = true;
  changed_.notify_all();
}

void Monitor::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Monitor::sample() {
  const Cgroup::Told told = group_.sample(usage_);
  if (told.memory && told.cpu && told.tasks) return;
  Usage counted = usage_;
  processes_->sample(counted);
  if (!told.memory) usage_.memory_bytes = counted.memory_bytes;
  if (!told.memory) usage_.peak_memory_bytes = counted.peak_memory_bytes;
  if (!told.cpu) usage_.cpu_ns = counted.cpu_ns;
  if (!told.tasks) usage_.tasks = counted.tasks;
  if (!told.tasks) usage_.peak_tasks = counted.peak_tasks;
  usage_.read_bytes = counted.read_bytes;
  usage_.written_bytes = counted.written_bytes;
}

std::vector<Event> Monitor::look() {
  return watchdog_->look(usage_, std::chrono::steady_clock::now().time_since_epoch());
}

void Monitor::run() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return begun_ || stopping_; });
  std::chrono::milliseconds pause{20};  // before the first look: most programs are over by then
  while (!changed_.wait_for(lock, pause, [&] { return stopping_; })) {
    lock.unlock();
    {
      const std::lock_guard sampling(sampling_);
      if (closed_) return;
      sample();
      for (const Event& event : look()) on_event(event);
      pause = watchdog_->pause(usage_);
    }
    lock.lock();
  }
}

std::vector<Event> Monitor::close(pid_t first_process) {
  const std::unique_lock sampling(sampling_, kPatience);
  if (!sampling.owns_lock() || closed_) return {};
  closed_ = true;
  processes_->sample_last(first_process, usage_);
  (void)group_.sample(usage_);
  return look();
}

Usage Monitor::usage() {
  const std::unique_lock sampling(sampling_, kPatience);
  return sampling.owns_lock() ? usage_ : Usage{};
}

}  // namespace secbox::limits
