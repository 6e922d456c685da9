#include "supervisor/session/session.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "supervisor/base/coverage.h"
#include "supervisor/launch/capabilities.h"
#include "supervisor/launch/filter.h"
#include "supervisor/launch/floor.h"
#include "supervisor/launch/plugin_process.h"
#include "supervisor/session/supervisor.h"
#include "supervisor/sys/landlock.h"

extern char** environ;

namespace secbox::session {

namespace {

constexpr int kExitDenials = 121;
constexpr int kExitFailed = 125;

int report(const Error& error) {
  std::fprintf(stderr, "secbox: the sandbox could not be set up: %s. The program was not started.\n",
               error.text().c_str());
  return kExitFailed;
}

struct Prepared {
  launch::PluginPlan plugin;
  launch::Environment environment;
  limits::Cgroup group;
  launch::Handoff* handoff = nullptr;
};

// A control group takes a dozen while it is made. False where the hard limit is lower than that.
bool make_room_for_descriptors(launch::PluginPlan& plugin) {
  constexpr rlim_t kEnough = 64;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < kEnough) return false;
  if (limit.rlim_cur >= kEnough) return true;
  plugin.descriptors = limit.rlim_cur;
  limit.rlim_cur = kEnough;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

Result<Prepared> make_plans(SessionPlan& plan) {
  Prepared prepared;
  const bool audit_mode = plan.mode == broker::Mode::Audit;
  prepared.environment = launch::filter_environment(environ, *plan.rules, audit_mode);
  launch::Environment& environment = prepared.environment;
  launch::set_variable(environment, "SECBOX", "1");
  launch::set_variable(environment, "SECBOX_SESSION", plan.id);
  launch::set_variable(environment, "SECBOX_PLUGIN", plan.plugin);
  if (const char* explain = std::getenv("SECBOX_EXPLAIN"); explain != nullptr)
    launch::set_variable(environment, "SECBOX_EXPLAIN", explain);
  launch::set_variable(environment, "TMPDIR", plan.tmp_dir);
  launch::set_variable(environment, "XDG_RUNTIME_DIR", plan.tmp_dir);

  launch::PluginPlan& plugin = prepared.plugin;
  plugin.program = plan.program;
  plugin.argv = plan.argv;
  plugin.environment = environment.passed;
  plugin.filter = launch::filter_program({.can_read_undumpable = launch::has_capability(CAP_SYS_PTRACE)});
  auto mark = sys::SessionMark::make(launch::has_capability(CAP_SETUID));
  if (!mark) return std::unexpected(mark.error());
  plugin.mark = *mark;
  plugin.landlock_abi = sys::landlock_abi();
  plugin.mode = audit_mode ? launch::Mode::Audit : launch::Mode::Enforce;
  if (!audit_mode && plugin.landlock_abi == 0) {
    return failure("this kernel has no Landlock, the floor under every decision (see secbox doctor)");
  }
  plugin.floor = launch::compile_floor(*plan.rules);
  auto handoff = launch::Handoff::make();
  if (!handoff) return std::unexpected(handoff.error());
  prepared.handoff = *handoff;
  // Auditing blocks nothing: what would have been ended is told.
  if (audit_mode) {
    plan.limits.on_memory = plan.limits.on_cpu = OnLimit::Warn;
    plan.limits.file_size_bytes.reset();
    plan.limits.open_files.reset();
  } else {
    plugin.limits = plan.limits;
    if (make_room_for_descriptors(plugin))
      prepared.group = limits::Cgroup::make(plan.limits, "secbox-" + plan.id);
  }
  return prepared;
}

// The layer that holds plugin and supervisor alike. In audit mode nothing is blocked, and before ABI 2 a
// domain would keep files from being moved.
Result<void> enter_session_layer(const SessionPlan& plan, const launch::PluginPlan& plugin) {
  if (plugin.mode == launch::Mode::Audit || plugin.landlock_abi < 2) return {};
  auto layer = sys::make_landlock_ruleset(plugin.landlock_abi, launch::compile_session_layer(*plan.rules));
  if (!layer) return std::unexpected(layer.error());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_failure("no_new_privs");
  if (const int error = sys::restrict_self(layer->get()); error != 0)
    return failure("landlock_restrict_self", error);
  return {};
}

// Of the supervisor: what the host gave this process to stand in, and to read and write.
void let_go(std::initializer_list<int> streams) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int stream : streams) (void)::dup3(null.get(), stream, O_CLOEXEC);
  (void)!::chdir("/");
}

// The plugin's variables may be secrets.
void forget(std::vector<std::string>& strings) {
  for (std::string& text : strings) ::explicit_bzero(text.data(), text.size());
  strings.clear();
}

// Of the process that did not become the plugin. Where its supervisor was killed, nobody answers what would
// end it. A timer does: the C library's own last resort is a fault, which may leave a core with the host's
// variables.
[[noreturn]] void end_launcher(int code) {
  (void)::syscall(SYS_exit_group, code);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer{};
  const itimerspec at_once{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
      ::timer_settime(timer, 0, &at_once, nullptr) != 0)
    __builtin_trap();
  while (true) (void)::pause();
}

// Body of the supervisor's own process in Shape::Beside. Never returns.
[[noreturn]] void supervise_beside(SessionPlan plan, Prepared prepared, pid_t plugin) {
  prepared.group.forget_entry();
  auto supervisor = Supervisor::prepare(plan, prepared.group, prepared.plugin.mark, prepared.environment);
  if (!supervisor) {
    prepared.handoff->fail(launch::Stage::SupervisorFailed, supervisor.error().text().c_str());
    remove_group(prepared.group);
    (void)::rmdir(plan.tmp_dir.c_str());
    keep_coverage();
    ::_exit(kExitFailed);
  }
  // The plugin's streams are its own: a reader that waits for the end of its output must not wait for us.
  let_go({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO});
  forget(prepared.environment.passed);
  forget(prepared.plugin.environment);
  (void)(*supervisor)->serve(plugin, *prepared.handoff);
  remove_group(prepared.group);  // where the plugin was never started
  keep_coverage();
  ::_exit(0);
}

int run_beside(SessionPlan& plan, Prepared& prepared) {
  const pid_t plugin = ::getpid();
  // The process between the two lives for two system calls: it borrows this one's memory meanwhile.
  const pid_t between = ::vfork();
  if (between < 0) {
    const int error = errno;
    (void)prepared.group.remove();
    return report({.code = error, .message = "vfork"});
  }
  if (between == 0) {
    // No child of the plugin and no member of its session or process group: it must see neither.
    (void)::setsid();
    const pid_t supervisor = ::fork();
    if (supervisor < 0) ::_exit(1);
    if (supervisor == 0) supervise_beside(std::move(plan), std::move(prepared), plugin);
    prepared.handoff->supervisor_pid.store(supervisor, std::memory_order_release);
    ::_exit(0);
  }
  // Meanwhile the supervisor gets ready.
  UniqueFd floor;
  const int failed = launch::confine_plugin(prepared.plugin, prepared.group, *prepared.handoff, floor);
  int status = 0;
  while (::waitpid(between, &status, 0) < 0 && errno == EINTR) {
  }
  if (failed != 0) return failed;
  if (prepared.handoff->supervisor_pid.load(std::memory_order_acquire) == 0) {
    return report({.code = 0, .message = "fork of the supervisor"});
  }
  // What exit handlers do is not to be held by the filter.
  end_launcher(launch::start_plugin(prepared.plugin, *prepared.handoff, std::move(floor)));
}

// Ends this process the way the plugin ended.
int mirror_end(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  const int number = WTERMSIG(status);
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  (void)::setrlimit(RLIMIT_CORE, &no_core);  // the plugin's own core is the one that matters
  (void)::signal(number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  (void)::raise(number);
  (void)::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  return 128 + number;
}

int run_as_parent(SessionPlan& plan, Prepared& prepared) {
  prepared.handoff->supervisor_pid.store(::getpid(), std::memory_order_release);
  const pid_t plugin = ::fork();
  if (plugin < 0) {
    const int error = errno;
    (void)prepared.group.remove();
    return report({.code = error, .message = "fork"});
  }
  if (plugin == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    UniqueFd floor;
    const int failed = launch::confine_plugin(prepared.plugin, prepared.group, *prepared.handoff, floor);
    end_launcher(failed != 0 ? failed
                             : launch::start_plugin(prepared.plugin, *prepared.handoff, std::move(floor)));
  }
  prepared.group.forget_entry();
  auto supervisor = Supervisor::prepare(plan, prepared.group, prepared.plugin.mark, prepared.environment);
  if (!supervisor) {
    prepared.handoff->fail(launch::Stage::SupervisorFailed, supervisor.error().text().c_str());
    int status = 0;
    (void)::waitpid(plugin, &status, 0);
    remove_group(prepared.group);
    return kExitFailed;
  }
  let_go({STDIN_FILENO, STDOUT_FILENO});
  forget(prepared.environment.passed);
  forget(prepared.plugin.environment);
  const int status = (*supervisor)->serve(plugin, *prepared.handoff);
  remove_group(prepared.group);  // where the plugin was never started
  int exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  std::string_view cause = "child";
  const bool denied =
      (plan.fail_on_denial && (*supervisor)->had_denials()) ||
      (plan.fail_on_would_deny && ((*supervisor)->had_denials() || (*supervisor)->would_have_denied()));
  if (denied || (plan.fail_on_limit && (*supervisor)->had_limits())) {
    exit_code = kExitDenials;
    cause = denied ? "denied" : "limit";
  }
  if (const auto& ended = (*supervisor)->ended()) {
    exit_code = ended->exit_code;
    cause = ended->cause;
  }
  if (prepared.handoff->exec_errno.load(std::memory_order_acquire) != 0) cause = "secbox";  // 126, 127
  if ((*supervisor)->audit_failed()) {
    exit_code = kExitFailed;
    cause = "secbox";
  }
  (*supervisor)->write_status(exit_code, cause);
  keep_coverage();
  if (cause != "child") ::_exit(exit_code);
  // Threads may still wait in the kernel for a listener that nobody uses: nothing is left to be said.
  ::_exit(mirror_end(status));
}

}  // namespace

bool can_supervise_from_beside() {
  if (launch::has_capability(CAP_SYS_PTRACE)) return true;
  std::FILE* file = std::fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
  if (file == nullptr) return true;  // no Yama: the same user may
  const int scope = std::fgetc(file);
  (void)std::fclose(file);
  return scope == '0';
}

int run_session(SessionPlan plan) {
  auto prepared = make_plans(plan);
  if (!prepared) return report(prepared.error());
  if (auto entered = enter_session_layer(plan, prepared->plugin); !entered) {
    (void)prepared->group.remove();
    return report(entered.error());
  }
  return plan.shape == Shape::Beside ? run_beside(plan, *prepared) : run_as_parent(plan, *prepared);
}

}  // namespace secbox::session
