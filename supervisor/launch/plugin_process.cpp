#include "supervisor/launch/plugin_process.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "supervisor/base/coverage.h"
#include "supervisor/launch/capabilities.h"

// Linux 5.9, include/uapi/linux/close_range.h is in the headers; the call has no wrapper before glibc 2.34.
#include <linux/close_range.h>

namespace secbox::launch {

namespace {

constexpr int kExitFailed = 125;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

// By write(2) alone: with the filter in place nobody may serve any other call.
int supervisor_failed(const Handoff& handoff) {
  const char* why = handoff.message();
  std::string text = "secbox: the supervisor could not start: ";
  text += *why != '\0' ? why : "it ended without a word";
  text += ". The program was not started.\n";
  (void)!::write(STDERR_FILENO, text.data(), text.size());
  return kExitFailed;
}

int fail(Handoff& handoff, const char* step, int error) {
  // A supervisor that failed has taken down what this step needs (the control group): its reason counts.
  if (handoff.stage() == Stage::SupervisorFailed) return supervisor_failed(handoff);
  std::fprintf(stderr, "secbox: the sandbox could not be set up: %s: %s. The program was not started.\n",
               step, std::strerror(error));
  handoff.fail(Stage::LaunchFailed, step);
  return kExitFailed;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& text : strings)
    result.push_back(const_cast<char*>(text.c_str()));  // execve's old signature
  result.push_back(nullptr);
  return result;
}

// Soft and hard, never above what holds already.
void lower_limit(__rlimit_resource resource, std::uint64_t value) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return;
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, value);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  (void)::setrlimit(resource, &limit);
}

void apply_limits(const Limits& limits) {
  if (limits.file_size_bytes) lower_limit(RLIMIT_FSIZE, *limits.file_size_bytes);
  if (limits.open_files) lower_limit(RLIMIT_NOFILE, *limits.open_files);
  // The watchdog comes first, for all processes together; this holds where it is kept from running.
  constexpr std::uint64_t kLeeway_s = 3;
  if (limits.cpu_time_ms) lower_limit(RLIMIT_CPU, *limits.cpu_time_ms / 1000 + kLeeway_s);
}

}  // namespace

int confine_plugin(const PluginPlan& plan, const limits::Cgroup& group, Handoff& handoff, UniqueFd& floor) {
  if (const int error = group.enter_self(); error != 0)
    return fail(handoff, "enter the session's control group", error);
  // Nothing but the standard streams passes: what secbox or the host left open would be a way out.
  if (::syscall(SYS_close_range, 3U, ~0U, 0) != 0) return fail(handoff, "close inherited descriptors", errno);
  if (plan.mode == Mode::Enforce && plan.landlock_abi > 0) {
    auto ruleset = sys::make_landlock_ruleset(plan.landlock_abi, plan.floor);
    if (!ruleset) return fail(handoff, ruleset.error().message.c_str(), ruleset.error().code);
    floor = std::move(*ruleset);
  }
  if (const int error = plan.mark.apply_to_self(); error != 0) {
    return fail(handoff, "mark the process (is this inside another secbox already?)", error);
  }
  if (plan.mode == Mode::Enforce) {
    if (const int error = keep_only(kPluginCaps); error != 0)
      return fail(handoff, "give up capabilities", error);
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(handoff, "no_new_privs", errno);
  return 0;
}

int start_plugin(const PluginPlan& plan, Handoff& handoff, UniqueFd floor) {
  const std::vector<char*> argv = pointers(plan.argv);
  const std::vector<char*> environment = pointers(plan.environment);
  auto supervisor = sys::open_process(ProcessId{handoff.supervisor_pid.load(std::memory_order_acquire)});
  if (!supervisor) return fail(handoff, "the supervisor is gone", supervisor.error().code);
  if (handoff.wait_past(Stage::Starting, supervisor->get()) != Stage::SupervisorReady)
    return supervisor_failed(handoff);

  keep_coverage();  // the last moment at which this process may open files
  if (floor.valid()) {
    if (const int error = sys::restrict_self(floor.get()); error != 0)
      return fail(handoff, "landlock_restrict_self", error);
    floor.reset();
  }
  sock_fprog program{.len = static_cast<unsigned short>(plan.filter.size()),
                     .filter = const_cast<sock_filter*>(plan.filter.data())};  // the kernel only reads it
  constexpr unsigned long kFlags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  const auto listener = static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &program));
  if (listener < 0) {
    return fail(
        handoff,
        errno == EBUSY ? "seccomp (this process is in another supervisor's sandbox already)" : "seccomp",
        errno);
  }
  handoff.listener_fd.store(listener, std::memory_order_release);
  handoff.advance(Stage::ListenerReady);
  if (handoff.wait_past(Stage::ListenerReady, supervisor->get()) != Stage::Serving) {
    // Nobody serves: of what is mediated only the end of this process is still let through, by a supervisor
    // that lives and has the listener itself.
    (void)::close(listener);
    return supervisor_failed(handoff);
  }
  (void)::close(listener);
  supervisor->reset();
  if (rlimit limit{}; plan.descriptors && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = *plan.descriptors;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
  }
  apply_limits(plan.limits);
  ::execve(plan.program.c_str(), argv.data(), environment.data());
  const int error = errno;
  handoff.exec_errno.store(error, std::memory_order_release);
  std::string text = "secbox: cannot run '" + plan.program + "': " + std::strerror(error) + "\n";
  (void)!::write(STDERR_FILENO, text.data(), text.size());
  return error == ENOENT || error == ENOTDIR ? kExitNotFound : kExitNotExecutable;
}

}  // namespace secbox::launch
