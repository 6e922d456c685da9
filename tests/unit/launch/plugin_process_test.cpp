// The process that becomes the plugin, with the test as its supervisor and a filter that lets everything
// through.
#include "supervisor/launch/plugin_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "supervisor/base/coverage.h"
#include "supervisor/launch/capabilities.h"
#include "supervisor/launch/floor.h"

namespace secbox::launch {
namespace {

using testing::HasSubstr;

const std::vector<sock_filter>& allow_everything() {
  static const std::vector<sock_filter> program{BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  return program;
}

struct Ended {
  int code = -1;  // or -signal
  std::string stderr_text;
};

// A forked child that ends with what `body` returns.
class Child {
 public:
  explicit Child(const std::function<int()>& body) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category());
    said_.reset(ends[0]);
    UniqueFd say(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      (void)::dup2(say.get(), STDERR_FILENO);
      const int code = body();
      keep_coverage();
      ::_exit(code);
    }
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  Ended end() {
    Ended ended;
    char text[1024];
    for (ssize_t got; (got = ::read(said_.get(), text, sizeof text)) > 0;)
      ended.stderr_text.append(text, static_cast<std::size_t>(got));
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return ended;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd said_;
};

class PluginProcessTest : public testing::Test {
 protected:
  PluginProcessTest() {
    plan.program = "/bin/sh";
    plan.argv = {"sh", "-c", "exit 7"};
    plan.filter = allow_everything();
    plan.mode = Mode::Audit;
    plan.mark = sys::SessionMark::make(false).value();
    begin();
  }

  void begin() {
    handoff = Handoff::make().value();
    handoff->supervisor_pid = ::getpid();
  }
  int start() {
    UniqueFd floor;
    const int failed = confine_plugin(plan, {}, *handoff, floor);
    return failed != 0 ? failed : start_plugin(plan, *handoff, std::move(floor));
  }
  // The supervisor's part: all goes well.
  Ended serve(Child& child) {
    const auto process = sys::open_process(ProcessId{child.pid()});
    handoff->advance(Stage::SupervisorReady);
    if (handoff->wait_past(Stage::SupervisorReady, process->get()) == Stage::ListenerReady) {
      EXPECT_GE(handoff->listener_fd, 0);
      handoff->advance(Stage::Serving);
    }
    return child.end();
  }

  Handoff* handoff = nullptr;
  PluginPlan plan;
};

TEST_F(PluginProcessTest, BecomesTheProgramOnceItIsServed) {
  plan.argv = {"other-name", "-c", "test \"$0$VARIABLE\" = other-namevalue && exit 7"};
  plan.environment = {"VARIABLE=value"};
  Child child([&] { return start(); });
  EXPECT_EQ(serve(child).code, 7);
  EXPECT_EQ(handoff->exec_errno, 0);
}

TEST_F(PluginProcessTest, NothingButTheStandardStreamsPasses) {
  const UniqueFd open(::open("/dev/null", O_RDONLY));  // not close-on-exec
  plan.argv = {"sh", "-c", "test ! -e /proc/self/fd/" + std::to_string(open.get())};
  Child child([&] { return start(); });
  EXPECT_EQ(serve(child).code, 0);
}

TEST_F(PluginProcessTest, EnforcingItHasTheFloorAndItsMarkAndNoCapabilityOverTheMachine) {
  if (sys::landlock_abi() == 0) GTEST_SKIP() << "no Landlock";
  plan.mode = Mode::Enforce;
  plan.landlock_abi = sys::landlock_abi();
  for (const char* path : {"/usr", "/bin", "/lib", "/lib64"})
    plan.floor.rules.push_back({path, sys::kFsExecute | sys::kFsReadFile});
  plan.argv = {"sh", "-c", "read -r line </etc/passwd || exit 7"};
  Child child([&] {
    UniqueFd floor;
    if (confine_plugin(plan, {}, *handoff, floor) != 0) return 1;
    if (has_capability(CAP_SYS_ADMIN)) return 2;
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 3;
    const auto proc = sys::Procfs::open();
    if (!proc || !plan.mark.on(*proc, ::getpid())) return 4;
    return start_plugin(plan, *handoff, std::move(floor));
  });
  EXPECT_EQ(serve(child).code, 7);
}

TEST_F(PluginProcessTest, ProgramThatCannotBeStartedHasTheShellsExitCode) {
  const std::string text =
      std::filesystem::temp_directory_path() / ("secbox-text-" + std::to_string(::getpid()));
  std::ofstream(text) << "no program";
  struct Row {
    std::string program;
    int code, error;
  };
  for (const Row& row :
       {Row{"/no/such/program", 127, ENOENT}, Row{"/bin/sh/below", 127, ENOTDIR}, Row{text, 126, EACCES}}) {
    SCOPED_TRACE(row.program);
    begin();
    plan.program = row.program;
    Child child([&] { return start(); });
    const Ended ended = serve(child);
    EXPECT_EQ(ended.code, row.code);
    EXPECT_EQ(handoff->exec_errno, row.error);
    EXPECT_THAT(ended.stderr_text, HasSubstr("cannot run '" + row.program + "'"));
  }
  std::filesystem::remove(text);
}

TEST_F(PluginProcessTest, SupervisorThatCannotStartIsQuoted) {
  Child child([&] { return start(); });
  handoff->fail(Stage::SupervisorFailed, "no log");
  const Ended ended = child.end();
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text,
              HasSubstr("the supervisor could not start: no log. The program was not started"));
}

TEST_F(PluginProcessTest, SupervisorThatEndsIsNotWaitedFor) {
  Child supervisor([] { return ::pause(); });
  handoff->supervisor_pid = supervisor.pid();
  Child child([&] { return start(); });
  (void)::kill(supervisor.pid(), SIGKILL);
  (void)supervisor.end();
  Ended ended = child.end();
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text,
              testing::AnyOf(HasSubstr("it ended without a word"), HasSubstr("the supervisor is gone")));
  Child late([&] { return start(); });
  ended = late.end();
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text, HasSubstr("the supervisor is gone"));
  EXPECT_EQ(handoff->stage(), Stage::LaunchFailed);
}

TEST_F(PluginProcessTest, SupervisorThatFailsOnceTheFilterIsThereIsQuotedToo) {
  for (const char* why : {"no threads", ""}) {
    begin();
    Child child([&] { return start(); });
    const auto process = sys::open_process(ProcessId{child.pid()});
    handoff->advance(Stage::SupervisorReady);
    ASSERT_EQ(handoff->wait_past(Stage::SupervisorReady, process->get()), Stage::ListenerReady);
    handoff->fail(Stage::SupervisorFailed, why);
    const Ended ended = child.end();
    EXPECT_EQ(ended.code, 125);
    EXPECT_THAT(ended.stderr_text, HasSubstr(*why != '\0' ? why : "it ended without a word"));
  }
}

// ---- steps that fail ----

TEST_F(PluginProcessTest, SecondListenerIsToldAsSuch) {
  Child child([&] {
    sock_fprog program{.len = 1, .filter = const_cast<sock_filter*>(allow_everything().data())};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0)
      return 1;
    return start_plugin(plan, *handoff, UniqueFd());
  });
  const Ended ended = serve(child);
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text, HasSubstr("another supervisor's sandbox"));
  EXPECT_EQ(handoff->stage(), Stage::LaunchFailed);
}

TEST_F(PluginProcessTest, FilterThatTheKernelRefusesStartsNothing) {
  plan.filter = {};
  Child child([&] { return start(); });
  const Ended ended = serve(child);
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text, HasSubstr("could not be set up: seccomp: Invalid argument"));
}

TEST_F(PluginProcessTest, MarkThatCannotBeSetStartsNothing) {
  Child child([&] {
    const rlimit low{.rlim_cur = 1, .rlim_max = 1};
    if (keep_only(0) != 0 || ::setrlimit(RLIMIT_MSGQUEUE, &low) != 0) return 1;
    return start();
  });
  const Ended ended = child.end();
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text, HasSubstr("mark the process"));
}

TEST_F(PluginProcessTest, StepThatFailsAfterTheSupervisorDidTellsItsReason) {
  Child child([&] {
    const rlimit low{.rlim_cur = 1, .rlim_max = 1};
    if (keep_only(0) != 0 || ::setrlimit(RLIMIT_MSGQUEUE, &low) != 0) return 1;
    handoff->fail(Stage::SupervisorFailed, "the audit log is a directory");
    return start();
  });
  const Ended ended = child.end();
  EXPECT_EQ(ended.code, 125);
  EXPECT_EQ(
      ended.stderr_text,
      "secbox: the supervisor could not start: the audit log is a directory. The program was not started.\n");
  EXPECT_EQ(handoff->stage(), Stage::SupervisorFailed);
}

TEST_F(PluginProcessTest, FloorThatCannotBeMadeStartsNothing) {
  if (sys::landlock_abi() == 0) GTEST_SKIP() << "no Landlock";
  plan.mode = Mode::Enforce;
  plan.landlock_abi = sys::landlock_abi();
  Child child([&] {
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 1;
    UniqueFd floor;
    const int failed = confine_plugin(plan, {}, *handoff, floor);
    const rlimit some{.rlim_cur = 64, .rlim_max = 64};
    (void)::setrlimit(RLIMIT_NOFILE, &some);
    return failed;
  });
  const Ended ended = child.end();
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text, HasSubstr("Too many open files"));
}

TEST_F(PluginProcessTest, FloorThatDoesNotHoldStartsNothing) {
  Child child(
      [&] { return start_plugin(plan, *handoff, UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC))); });
  const Ended ended = serve(child);
  EXPECT_EQ(ended.code, 125);
  EXPECT_THAT(ended.stderr_text, HasSubstr("landlock_restrict_self"));
}

TEST(Capabilities, AreGoneOnceDropped) {
  Child child([] {
    if (keep_only(1ULL << CAP_KILL) != 0) return 1;
    if (has_capability(CAP_SYS_ADMIN) || has_capability(CAP_SETUID)) return 2;
    if (has_capability(CAP_KILL) != (::geteuid() == 0)) return 3;
    return keep_only(~0ULL) == 0 && !has_capability(CAP_SYS_ADMIN) ? 0 : 4;
  });
  EXPECT_EQ(child.end().code, 0);
}

}  // namespace
}  // namespace secbox::launch
