#include "supervisor/sys/probe.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace secbox::sys {
namespace {

int open_descriptors() {
  int count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

TEST(ProbeHost, LeavesNoChildAndNoDescriptor) {
  const int before = open_descriptors();
  (void)probe_host();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(ProbeHost, FindsTheSameTwice) {
  const HostFeatures once = probe_host();
  const HostFeatures again = probe_host();
  EXPECT_EQ(once.can_enforce(), again.can_enforce());
  EXPECT_EQ(once.add_fd_send.state, again.add_fd_send.state);
  EXPECT_EQ(once.beside_trace.state, again.beside_trace.state);
  EXPECT_EQ(once.landlock_abi, again.landlock_abi);
  EXPECT_EQ(once.cgroup_writable.state, again.cgroup_writable.state);
}

TEST(ProbeHost, LaterFeaturesNeedTheEarlierOnes) {
  const HostFeatures host = probe_host();
  EXPECT_FALSE(host.kernel.empty());
  if (host.listener.works()) {
    EXPECT_NE(host.wait_killable.state, Probe::State::Untested);
  } else {
    EXPECT_EQ(host.add_fd.state, Probe::State::Untested);
  }
  EXPECT_TRUE(!host.add_fd_send.works() || host.add_fd.works());
  EXPECT_TRUE(!host.can_enforce() || host.listener.works());
}

// Under another supervisor the kernel gives no second listener: secbox must know it, not fail in the middle
// of a start.
TEST(ProbeHost, KnowsThatAnotherSupervisorListens) {
  const pid_t child = ::fork();
  if (child == 0) {
    sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    sock_fprog program{.len = 1, .filter = allow};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0 &&
         errno != EBUSY)) {
      ::_exit(2);
    }
    const HostFeatures host = probe_host();
    ::_exit(host.listener.error == EBUSY && !host.can_enforce() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace secbox::sys
