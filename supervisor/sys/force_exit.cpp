#include "supervisor/sys/force_exit.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace secbox::sys {

namespace {

#if defined(__x86_64__)
constexpr long kSyscallInstruction = 0x050f;  // syscall
constexpr long kInstructionMask = 0xffff;
#elif defined(__aarch64__)
constexpr long kSyscallInstruction = 0xd4000001;  // svc #0
constexpr long kInstructionMask = 0xffffffff;
#endif

void pause_ms(long ms) {
  const timespec pause{.tv_sec = 0, .tv_nsec = ms * 1'000'000};
  (void)::nanosleep(&pause, nullptr);
}

// True where the registers are those of the call, and its instruction stands where they point.
bool prepare_call(pid_t pid, int status) {
  user_regs_struct regs{};
  iovec io{.iov_base = &regs, .iov_len = sizeof regs};
  if (::ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) != 0) return false;
#if defined(__x86_64__)
  regs.rip &= ~7ULL;  // a whole word never lies in two pages
  const std::uint64_t at = regs.rip;
  regs.rax = SYS_exit_group;
  regs.orig_rax = ~0ULL;  // no call is left to be restarted
  regs.rdi = static_cast<std::uint64_t>(status);
#elif defined(__aarch64__)
  regs.pc &= ~7ULL;
  const std::uint64_t at = regs.pc;
  regs.regs[8] = SYS_exit_group;
  regs.regs[0] = static_cast<std::uint64_t>(status);
  int no_call = -1;
  iovec call{.iov_base = &no_call, .iov_len = sizeof no_call};
  (void)::ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &call);
#endif
  errno = 0;
  const long word = ::ptrace(PTRACE_PEEKTEXT, pid, at, nullptr);
  if (errno != 0) return false;
  if (::ptrace(PTRACE_POKETEXT, pid, at, (word & ~kInstructionMask) | kSyscallInstruction) != 0) return false;
  std::uint64_t all = ~0ULL;
  return ::ptrace(PTRACE_SETSIGMASK, pid, sizeof all, &all) == 0 &&
         ::ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io) == 0;
}

// A process that is traced stays a zombie for its parent until its tracer has waited for it.
std::unexpected<Error> kill_instead(pid_t pid, pid_t thread, std::string why, int error) {
  (void)::kill(pid, SIGKILL);
  for (int turn = 0; turn < 1000; ++turn) {
    int status = 0;
    const pid_t changed = ::waitpid(thread, &status, __WALL | __WNOTHREAD | WNOHANG);
    if (changed < 0 || (changed == thread && !WIFSTOPPED(status))) break;
    pause_ms(2);
  }
  return failure(std::move(why), error);
}

bool has_ended(const Procfs& proc, pid_t thread) {
  char text[512];
  std::size_t size = sizeof text;
  if (proc.read_file(thread, "stat", text, size) != 0) return true;
  const std::string_view stat(text, size);
  const std::size_t after = stat.rfind(')');
  return after == std::string_view::npos || after + 2 >= size || stat[after + 2] == 'Z' ||
         stat[after + 2] == 'X';
}

// The first thread may have ended before the others (pthread_exit(3) in main): nobody can trace it then.
pid_t living_thread(const Procfs& proc, pid_t pid) {
  if (!has_ended(proc, pid)) return pid;
  const Directory tasks = proc.open_directory(std::to_string(pid) + "/task");
  if (!tasks) return pid;
  while (const dirent* entry = ::readdir(tasks.get())) {
    const std::string_view name = entry->d_name;
    pid_t thread = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), thread).ec == std::errc{} &&
        !has_ended(proc, thread))
      return thread;
  }
  return pid;
}

}  // namespace

Result<void> force_exit(const Procfs& proc, ProcessId process, int status, int patience_ms,
                        const std::function<void()>& release) {
  constexpr int kTurn = 2;
  const pid_t pid = process.value;
  pid_t thread = living_thread(proc, pid);
  int left = patience_ms;
  // While an exec is being verified it has a tracer already.
  while (::ptrace(PTRACE_SEIZE, thread, nullptr, PTRACE_O_EXITKILL) != 0) {
    if ((errno != EPERM && (errno != ESRCH || thread == pid)) || left <= 0)
      return errno_failure("PTRACE_SEIZE");
    pause_ms(kTurn);
    left -= kTurn;
    thread = living_thread(proc, pid);
  }
  (void)::kill(pid, SIGCONT);  // a stopped process would stay so
  (void)::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
  release();
  for (;; left -= kTurn) {
    int stop = 0;
    const pid_t changed = ::waitpid(thread, &stop, __WALL | __WNOTHREAD | WNOHANG);
    if (changed == thread && !WIFSTOPPED(stop)) return {};  // it ended by itself
    if (changed == thread && (stop >> 16) == PTRACE_EVENT_STOP) break;
    if (changed == thread) (void)::ptrace(PTRACE_CONT, thread, nullptr, static_cast<long>(WSTOPSIG(stop)));
    if (left <= 0) return kill_instead(pid, thread, "the process cannot be stopped", ETIMEDOUT);
    if (changed != thread) pause_ms(kTurn);
  }
  if (!prepare_call(thread, status) || ::ptrace(PTRACE_DETACH, thread, nullptr, nullptr) != 0)
    return kill_instead(pid, thread, "its registers cannot be set", EIO);
  return {};
}

}  // namespace secbox::sys
