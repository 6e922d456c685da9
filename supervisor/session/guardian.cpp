#include "supervisor/session/guardian.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "supervisor/launch/capabilities.h"
#include "supervisor/launch/supervisor_filter.h"

namespace secbox::session {

// On a stack that the address sanitizer does not know.
[[gnu::no_sanitize_address]] void Guardian::guard() const {
  (void)::syscall(SYS_setsid);
  // Nothing of the supervisor's may stay open through this process: its listener would keep held calls
  // waiting, its log and the operator's stderr would not end.
  unsigned next = 0;
  for (const int fd : kept_) {
    const auto kept = static_cast<unsigned>(fd);
    if (kept > next) (void)::syscall(SYS_close_range, next, kept - 1, 0);
    next = kept + 1;
  }
  (void)::syscall(SYS_close_range, next, ~0U, 0);
  // Its memory is the supervisor's: whoever takes that over has this process as well. One that cannot be
  // confined ends the session.
  if (launch::keep_only(launch::kGuardianCaps) != 0 || launch::install(launch::guardian_program()) != 0)
    (void)::syscall(SYS_pidfd_send_signal, supervisor_.get(), SIGKILL, nullptr, 0);
  pollfd end{.fd = supervisor_.get(), .events = POLLIN, .revents = 0};
  // A supervisor that stopped together with its plugin (Ctrl-Z) would never see the time run out.
  // It counts from a moment later than this: woken too early it would let the plugin go on.
  constexpr std::uint64_t kLater = 200;
  timespec wait{.tv_sec = static_cast<time_t>((run_ms_ + kLater) / 1000),
                .tv_nsec = static_cast<long>((run_ms_ + kLater) % 1000) * 1'000'000};
  while (::syscall(SYS_ppoll, &end, 1, run_ms_ > 0 ? &wait : nullptr, nullptr, 0) <= 0) {
    wait = {.tv_sec = 0, .tv_nsec = 100'000'000};
    if (run_ms_ > 0) (void)::syscall(SYS_kill, supervisor_pid_, SIGCONT);
  }
  processes_->end(0);
  remove_group(*group_);
  (void)::syscall(SYS_exit_group, 0);
}

[[gnu::no_sanitize_address]] int Guardian::run(void* guardian) {
  static_cast<const Guardian*>(guardian)->guard();
  return 0;
}

Result<void> Guardian::start(const sys::Procfs& proc, const sys::SessionMark& mark,
                             const limits::Cgroup& group, std::uint64_t run_ms) {
  supervisor_pid_ = ::getpid();
  run_ms_ = run_ms;
  auto self = sys::open_process(ProcessId{::getpid()});
  if (!self) return std::unexpected(self.error());
  auto processes = Processes::open(proc, mark);
  if (!processes) return std::unexpected(processes.error());
  supervisor_ = std::move(*self);
  processes_.emplace(std::move(*processes));
  group_ = &group;
  kept_ = group.descriptors_to_remove();
  kept_.insert(kept_.end(), {supervisor_.get(), proc.root(), processes_->descriptor()});
  std::ranges::sort(kept_);

  constexpr std::size_t kStack = 64U << 10;
  void* stack =
      ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return errno_failure("memory for the guardian");
#ifdef __SANITIZE_THREAD__
  constexpr int kShared = 0;  // to the run-time two processes in one memory are one thread
#else
  constexpr int kShared = CLONE_VM;
#endif
  pid_ = ::clone(&Guardian::run, static_cast<char*>(stack) + kStack, kShared, this);
  if (pid_ < 0) return errno_failure("clone of the guardian");
  return {};
}

void Guardian::dismiss() {
  if (pid_ > 0) (void)::kill(pid_, SIGKILL);
}

}  // namespace secbox::session
