// Calls that name a process, a group or a user: what is the plugin's own, and what it must not reach. The
// plugin is the test's own process; whoever lacks the session's mark is a stranger.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <limits>

#include "preload/wire.h"
#include "supervisor/broker/callers.h"
#include "tests/unit/broker/fakes.h"

namespace secbox::broker {
namespace {

using audit::Verdict;
using Kind = Answer::Kind;

// A process that waits; with a session's mark it is one of the plugin's.
class Bystander {
 public:
  explicit Bystander(const sys::SessionMark* mark) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const UniqueFd read_end(ready[0]);
    UniqueFd write_end(ready[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
      (void)::setpgid(0, 0);
      if (mark != nullptr && mark->apply_to_self() != 0) ::_exit(1);
      (void)!::write(write_end.get(), "x", 1);
      while (true) ::pause();
    }
    write_end.reset();
    char byte = 0;
    EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);
  }
  ~Bystander() {
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] UniqueFd handle() const {
    return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }

 private:
  pid_t pid_ = -1;
};

class ProcessCallTest : public BrokerTest {
 protected:
  ProcessCallTest() {
    services.mark = sys::SessionMark::make(false).value();
    services.supervisor_pid = ::getppid();
  }
  void grant_signals() { grant({"*"}, checker::Verb::SignalSend); }
  static std::uint64_t number(pid_t pid) { return as_argument(pid); }

  Bystander stranger{nullptr};
};

TEST_F(ProcessCallTest, SignalsOfStrangersNeedAGrant) {
  const Bystander own(&services.mark);
  EXPECT_EQ(call("kill", {number(own.pid()), SIGUSR1})->kind, Kind::Continue);
  EXPECT_TRUE(call("kill", {number(stranger.pid()), SIGUSR1})->is_errno(EPERM));
  EXPECT_EQ(sink.lines().back().verdict, Verdict::Deny);
  EXPECT_TRUE(call("tgkill", {number(stranger.pid()), number(stranger.pid()), 0})->is_errno(EPERM));
  grant_signals();
  EXPECT_EQ(call("kill", {number(stranger.pid()), SIGUSR1})->kind, Kind::Continue);
  EXPECT_EQ(sink.lines().back().verdict, Verdict::Allow);
}

TEST_F(ProcessCallTest, SupervisorIsOutOfReachWhateverIsGranted) {
  grant_signals();
  services.supervisor_pid = stranger.pid();
  EXPECT_TRUE(call("kill", {number(stranger.pid()), SIGKILL})->is_errno(EPERM));
  EXPECT_EQ(sink.lines().back().rule, "protected:supervisor");
  EXPECT_TRUE(call("kill", {number(-stranger.pid()), SIGKILL})->is_errno(EPERM)) << "its group";
  EXPECT_TRUE(call("kill", {number(-1), SIGKILL})->is_errno(EPERM)) << "everyone";
  services.supervisor_pid = ::getppid();
  services.guardian_pid = stranger.pid();
  EXPECT_TRUE(call("kill", {number(stranger.pid()), SIGKILL})->is_errno(EPERM)) << "its guardian";
  EXPECT_TRUE(call("kill", {number(-stranger.pid()), SIGKILL})->is_errno(EPERM));
}

TEST_F(ProcessCallTest, GroupsAreTheirMembers) {
  const Bystander own(&services.mark);
  EXPECT_EQ(call("kill", {number(-own.pid()), SIGUSR1})->kind, Kind::Continue);
  EXPECT_TRUE(call("kill", {number(-stranger.pid()), SIGUSR1})->is_errno(EPERM));
  constexpr pid_t kNobody = (4 << 20) - 1;
  EXPECT_TRUE(call("kill", {number(-kNobody), SIGUSR1})->is_errno(ESRCH));
  EXPECT_TRUE(call("kill", {number(kNobody), SIGUSR1})->is_errno(ESRCH));
  EXPECT_TRUE(call("kill", {0, SIGUSR1})->is_errno(EPERM)) << "the test's group, of strangers";
  EXPECT_TRUE(call("kill", {number(-1), SIGUSR1})->is_errno(EPERM));
  EXPECT_EQ(call("kill", {number(std::numeric_limits<int>::min()), 0})->kind, Kind::Continue) << "nobody's";
  EXPECT_EQ(call("tkill", {number(-5), 0})->kind, Kind::Continue) << "the kernel's EINVAL";
}

TEST_F(ProcessCallTest, WhereTheFloorHoldsSignalsTheKernelPicks) {
  services.floor_scopes_signals = true;
  EXPECT_EQ(call("kill", {number(-1), SIGUSR1})->kind, Kind::Continue);
  EXPECT_EQ(call("kill", {number(-1), SIGUSR1})->kind, Kind::Continue);
  EXPECT_TRUE(call("kill", {number(-stranger.pid()), SIGUSR1})->is_errno(EPERM)) << "none of them is its own";
}

TEST_F(ProcessCallTest, HandlesAreJudgedByWhomTheyStandFor) {
  services.supervisor_pid = ::getpid();  // whose descriptors are looked into
  const Bystander own(&services.mark);
  const UniqueFd own_handle = own.handle();
  const UniqueFd foreign = stranger.handle();
  const auto send = [&](const UniqueFd& fd, int signal, std::uint64_t info = 0, std::uint64_t flags = 0) {
    return call("pidfd_send_signal", {as_argument(fd.get()), number(signal), info, flags});
  };
  EXPECT_TRUE(send(foreign, 0)->is_errno(EPERM));
  EXPECT_EQ(send(own_handle, SIGCONT)->kind, Kind::Value);
  const UniqueFd none(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(send(none, 0)->is_errno(EBADF));
  EXPECT_TRUE(call("pidfd_send_signal", {999, 0, 0, 0})->is_errno(EBADF));
  EXPECT_TRUE(send(own_handle, SIGCONT, 0x7fff0000)->is_errno(EFAULT));
  siginfo_t info{};
  info.si_signo = SIGCONT;
  info.si_code = SI_QUEUE;
  EXPECT_EQ(send(own_handle, SIGCONT, memory.put_object(info))->kind, Kind::Value);
  const std::string entry = "/proc/" + std::to_string(own.pid());
  const UniqueFd directory(::open(entry.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(send(directory, SIGCONT)->kind, Kind::Value) << "the kernel takes it for a handle";
  services.floor_scopes_signals = true;
  EXPECT_EQ(send(own_handle, SIGCONT)->kind, Kind::Continue);
  UniqueFd gone;
  {
    const Bystander ended(&services.mark);
    gone = ended.handle();
  }
  EXPECT_TRUE(send(gone, SIGCONT)->is_errno(ESRCH));
}

TEST_F(ProcessCallTest, SettingsAreMadeOnWhatWasJudged) {
  const Bystander own(&services.mark);
  const rlimit limit{.rlim_cur = 50, .rlim_max = 60};
  const std::uint64_t wanted = memory.put_object(limit);
  const std::uint64_t old = memory.put_object(rlimit{});
  const auto set = [&](pid_t pid, std::uint64_t old_limit) {
    return call("prlimit64", {number(pid), RLIMIT_NOFILE, wanted, old_limit});
  };
  EXPECT_TRUE(set(stranger.pid(), 0)->is_errno(EPERM));
  ASSERT_EQ(set(own.pid(), old)->kind, Kind::Value);
  rlimit now{};
  ASSERT_EQ(::prlimit(own.pid(), RLIMIT_NOFILE, nullptr, &now), 0);
  EXPECT_EQ(now.rlim_cur, 50U);
  ASSERT_EQ(set(own.pid(), old)->kind, Kind::Value);
  rlimit told{};
  ASSERT_EQ(sys::read_object(memory, caller, TargetAddress{old}, told), 0);
  EXPECT_EQ(told.rlim_max, 60U);
  EXPECT_TRUE(set(own.pid(), 0x7fff0000)->is_errno(EFAULT));
  EXPECT_TRUE(call("prlimit64", {number(own.pid()), RLIMIT_NOFILE, 0x7fff0000, 0})->is_errno(EFAULT));
  EXPECT_EQ(call("prlimit64", {0, RLIMIT_NOFILE, wanted, 0})->kind, Kind::Continue)
      << "its own: the kernel's";
}

TEST_F(ProcessCallTest, SchedulingIsSetWithTheStructThatWasCopied) {
  const Bystander own(&services.mark);
  const sched_param param{.sched_priority = 0};
  const std::uint64_t zero = memory.put_object(param);
  EXPECT_EQ(call("sched_setscheduler", {number(own.pid()), SCHED_BATCH, zero})->kind, Kind::Value);
  EXPECT_EQ(::sched_getscheduler(own.pid()), SCHED_BATCH);
  EXPECT_EQ(call("sched_setparam", {number(own.pid()), zero})->kind, Kind::Value);
  const std::uint64_t mask = 1;
  EXPECT_EQ(call("sched_setaffinity", {number(own.pid()), sizeof mask, memory.put_object(mask)})->kind,
            Kind::Value);
  EXPECT_TRUE(call("sched_setparam", {number(own.pid()), 0})->is_errno(EINVAL)) << "the kernel's own";
  struct {
    std::uint32_t size = 48, policy = SCHED_OTHER;
    std::uint64_t flags = 0;
    std::int32_t nice = 3;
    std::uint32_t priority = 0;
    std::uint64_t runtime = 0, deadline = 0, period = 0;
  } attr;
  const auto set = [&](std::uint32_t size) {
    attr.size = size;
    return call("sched_setattr", {number(own.pid()), memory.put_object(attr), 0});
  };
  EXPECT_EQ(set(48)->kind, Kind::Value);
  EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(own.pid())), 3);
  EXPECT_EQ(set(0)->kind, Kind::Value) << "0 is the first size";
  EXPECT_TRUE(set(47)->is_errno(E2BIG));
  EXPECT_TRUE(set(4097)->is_errno(E2BIG));
  EXPECT_TRUE(set(64)->is_errno(EFAULT)) << "longer than its memory";
  EXPECT_TRUE(call("sched_setattr", {number(own.pid()), 0x7fff0000, 0})->is_errno(EFAULT));
}

TEST_F(ProcessCallTest, PrioritiesOfAGroupReachItsMembersAndNobodyElse) {
  const Bystander own(&services.mark);
  EXPECT_EQ(call("setpriority", {PRIO_PGRP, number(own.pid()), 5})->kind, Kind::Value);
  EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(own.pid())), 5);
  EXPECT_TRUE(call("setpriority", {PRIO_PGRP, number(stranger.pid()), 5})->is_errno(EPERM));
  EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(stranger.pid())), 0);
  EXPECT_EQ(call("setpriority", {PRIO_PROCESS, number(own.pid()), 6})->kind, Kind::Value);
  EXPECT_TRUE(call("setpriority", {PRIO_PROCESS, number(stranger.pid()), 6})->is_errno(EPERM));
  EXPECT_TRUE(call("setpriority", {PRIO_USER, 0, 5})->is_errno(EPERM)) << "all of its user";
  EXPECT_TRUE(call("setpriority", {PRIO_PGRP, 0, 5})->is_errno(EPERM)) << "the group of the test";
  EXPECT_EQ(call("setpriority", {7, 0, 5})->kind, Kind::Continue) << "nobody: the kernel's EINVAL";
  const std::uint64_t best_effort = (2U << IOPRIO_CLASS_SHIFT) | 7U;
  EXPECT_EQ(call("ioprio_set", {2, number(own.pid()), best_effort})->kind, Kind::Value);
  EXPECT_TRUE(call("ioprio_set", {2, number(own.pid()), ~0U})->is_errno(EINVAL));
  constexpr pid_t kNobody = (4 << 20) - 1;
  EXPECT_TRUE(call("setpriority", {PRIO_PGRP, number(kNobody), 5})->is_errno(ESRCH));
}

TEST_F(ProcessCallTest, OwnersOfDescriptorsAreJudgedAsTargets) {
  const Bystander own(&services.mark);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  const std::uint64_t fd = as_argument(read_end.get());
  EXPECT_EQ(call("fcntl", {fd, F_SETOWN, number(own.pid())})->kind, Kind::Continue);
  EXPECT_TRUE(call("fcntl", {fd, F_SETOWN, number(stranger.pid())})->is_errno(EPERM));
  EXPECT_TRUE(call("fcntl", {fd, F_SETOWN, number(-stranger.pid())})->is_errno(EPERM));
  EXPECT_EQ(call("fcntl", {fd, F_SETOWN, 0})->kind, Kind::Continue) << "nobody";
  EXPECT_TRUE(call("fcntl", {999, F_SETOWN, number(own.pid())})->is_errno(EBADF));
  const auto set = [&](int type, pid_t pid) {
    const struct {
      int type;
      pid_t pid;
    } owner{type, pid};
    return call("fcntl", {fd, F_SETOWN_EX, memory.put_object(owner)});
  };
  EXPECT_TRUE(set(F_OWNER_PID, stranger.pid())->is_errno(EPERM));
  EXPECT_TRUE(set(F_OWNER_PID, own.pid())->is_errno(EPERM)) << "the kernel would read it again";
  EXPECT_EQ(sink.lines().back().rule, "protected:signal-owner");
  EXPECT_TRUE(set(9, own.pid())->is_errno(EINVAL));
  EXPECT_TRUE(set(F_OWNER_PID, -1)->is_errno(ESRCH));
  EXPECT_TRUE(call("fcntl", {fd, F_SETOWN_EX, 0x7fff0000})->is_errno(EFAULT));
  services.floor_scopes_signals = true;
  EXPECT_EQ(set(F_OWNER_PGRP, own.pid())->kind, Kind::Continue);
}

TEST_F(ProcessCallTest, GroupsOfTheHostAreNotJoined) {
  const Bystander own(&services.mark);
  services.first_process = own.pid();
  EXPECT_EQ(call("setpgid", {0, 0})->kind, Kind::Continue);
  EXPECT_EQ(call("setpgid", {0, number(own.pid())})->kind, Kind::Continue);
  EXPECT_TRUE(call("setpgid", {0, number(stranger.pid())})->is_errno(EPERM));
  EXPECT_EQ(sink.lines().back().rule, "protected:outside-group");
  EXPECT_TRUE(call("setpgid", {0, (4 << 20) - 1})->is_errno(EPERM)) << "no such group";
}

TEST_F(ProcessCallTest, CallerThatCannotBeIdentifiedIsRefused) {
  caller = ThreadId{(4 << 20) - 1};
  EXPECT_TRUE(call("setpgid", {0, 77})->is_errno(EACCES));
  EXPECT_TRUE(call("setpriority", {PRIO_PGRP, 0, 5})->is_errno(EACCES));
  EXPECT_EQ(sink.lines().back().rule, "failed-closed");
  EXPECT_EQ(call("exit_group", {0})->kind, Kind::Continue) << "may always end";
}

TEST_F(ProcessCallTest, ShimIsHeardAndGivenItsBoard) {
  pid_t hello = 0;
  services.on_hello = [&](pid_t tgid) { hello = tgid; };
  const std::array<std::uint64_t, 6> arguments{kHelloPrctl, SECBOX_WIRE_VERSION};
  EXPECT_TRUE(call("prctl", arguments)->is_errno(EINVAL)) << "nothing is attributed here";
  Callers callers(services);
  services.callers = &callers;
  EXPECT_TRUE(call("prctl", arguments)->is_errno(EAGAIN)) << "no program runs yet";
  callers.note_image(::getpid(), "/bin/x");
  EXPECT_TRUE(call("prctl", {kHelloPrctl, SECBOX_WIRE_VERSION + 1})->is_errno(EINVAL));
  EXPECT_EQ(hello, 0);
  const Answer* answer = call("prctl", arguments);
  ASSERT_EQ(answer->kind, Kind::Installed);
  EXPECT_TRUE(answer->close_on_exec);
  EXPECT_EQ(hello, ::getpid());
  struct stat st{};
  ASSERT_EQ(::fstat(answer->fd.get(), &st), 0);
  EXPECT_EQ(static_cast<std::size_t>(st.st_size), sizeof(secbox_board));
  EXPECT_NE(::ftruncate(answer->fd.get(), 0), 0) << "what the supervisor has mapped stays there";
  EXPECT_NE(::ftruncate(answer->fd.get(), st.st_size + 1), 0);
  channel.full_table = EMFILE;
  EXPECT_TRUE(call("prctl", arguments)->is_errno(EMFILE));
}

}  // namespace
}  // namespace secbox::broker
