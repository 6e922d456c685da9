// The layer that plugin and supervisor share, tried on the kernel.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "supervisor/checker/ruleset.h"
#include "supervisor/launch/floor.h"
#include "supervisor/sys/landlock.h"

namespace secbox::launch {
namespace {

checker::Ruleset rules_for(checker::VerbSet verbs) {
  checker::Rule rule;
  rule.id = "test";
  rule.effect = checker::Effect::Allow;
  rule.verbs = verbs;
  std::vector<checker::Rule> rules{rule};
  auto made = checker::Ruleset::make(std::move(rules));
  EXPECT_TRUE(made.has_value());
  return std::move(*made);
}

int enter(const sys::LandlockPlan& plan) {
  auto ruleset = sys::make_landlock_ruleset(sys::landlock_abi(), plan);
  if (!ruleset || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return sys::restrict_self(ruleset->get());
}

// What `act` returned in a child process.
int in_child(const std::function<int()>& act) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(act());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A process that waits, once it has done `first`; killed at the end.
class Waiting {
 public:
  explicit Waiting(const std::function<int()>& first = [] { return 0; }) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      const char result = static_cast<char>(first());
      (void)!::write(ready[1], &result, 1);
      while (true) ::pause();
    }
    char result = 1;
    EXPECT_EQ(::read(ready[0], &result, 1), 1);
    EXPECT_EQ(result, 0);
    (void)::close(ready[0]);
    (void)::close(ready[1]);
  }
  ~Waiting() {
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

int g_memory = 42;

bool can_supervise(pid_t pid) {
  const auto handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  int value = 0;
  iovec local{.iov_base = &value, .iov_len = sizeof value};
  iovec remote{.iov_base = &g_memory, .iov_len = sizeof value};
  const bool takes = ::syscall(SYS_pidfd_getfd, handle, 0, 0) >= 0;
  const bool reads = ::process_vm_readv(pid, &local, 1, &remote, 1, 0) == sizeof value;
  const bool traces = ::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0;
  EXPECT_TRUE(takes == reads && reads == traces);
  return takes && reads && traces;
}

class SessionLayer : public testing::Test {
 protected:
  void SetUp() override {
    if (sys::landlock_abi() < 2) GTEST_SKIP() << "no Landlock";
  }
  const checker::Ruleset nothing_ = rules_for(checker::Verb::FileRead);
  const sys::LandlockPlan plan_ = compile_session_layer(nothing_);
};

TEST_F(SessionLayer, LetsLookIntoThePluginAndNobodyElse) {
  const Waiting outside;
  const Waiting elsewhere([this] { return enter(plan_); });
  EXPECT_EQ(in_child([&] { return can_supervise(outside.pid()) && can_supervise(elsewhere.pid()) ? 0 : 1; }),
            0);
  EXPECT_EQ(in_child([&] {
              if (enter(plan_) != 0) return 1;
              // The plugin took the layer with us, and its floor below.
              const Waiting plugin([this] { return enter(compile_floor(nothing_)); });
              if (!can_supervise(plugin.pid())) return 2;
              if (can_supervise(outside.pid())) return 3;
              return can_supervise(elsewhere.pid()) ? 4 : 0;
            }),
            0);
}

TEST_F(SessionLayer, SignalsStayInside) {
  if (sys::landlock_abi() < 6) GTEST_SKIP() << "needs Landlock ABI 6";
  const Waiting outside;
  EXPECT_EQ(in_child([&] {
              if (enter(plan_) != 0) return 1;
              const Waiting plugin([this] { return enter(compile_floor(nothing_)); });
              if (::kill(plugin.pid(), 0) != 0) return 2;
              return ::kill(outside.pid(), 0) == 0 ? 3 : errno == EPERM ? 0 : 4;
            }),
            0);
  const auto granted = rules_for(checker::Verb::SignalSend);
  EXPECT_EQ(in_child([&] {
              return enter(compile_session_layer(granted)) == 0 && ::kill(outside.pid(), 0) == 0 ? 0 : 1;
            }),
            0);
}

TEST_F(SessionLayer, FilesAreMovedAndMadeAsBefore) {
  std::string name = (std::filesystem::temp_directory_path() / "secbox-layer-XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const std::filesystem::path dir = name;
  const int result = in_child([&] {
    if (enter(plan_) != 0) return 1;
    if (::mkdir((dir / "a").c_str(), 0700) != 0 || ::mkdir((dir / "b").c_str(), 0700) != 0) return 2;
    if (::mknod((dir / "a/x").c_str(), S_IFREG | 0600, 0) != 0) return 3;
    if (::rename((dir / "a/x").c_str(), (dir / "b/x").c_str()) != 0) return 4;
    if (::link((dir / "b/x").c_str(), (dir / "a/y").c_str()) != 0) return 5;
    const int unnamed = ::open((dir / "a").c_str(), O_TMPFILE | O_RDWR, 0600);
    const std::string own = "/proc/self/fd/" + std::to_string(unnamed);
    if (unnamed >= 0 &&
        ::linkat(AT_FDCWD, own.c_str(), AT_FDCWD, (dir / "b/z").c_str(), AT_SYMLINK_FOLLOW) != 0)
      return 6;
    for (const mode_t kind : {S_IFCHR, S_IFBLK}) {
      if (::mknod((dir / "device").c_str(), kind | 0600, makedev(1, 3)) == 0) return 7;
    }
    return 0;
  });
  std::filesystem::remove_all(dir);
  EXPECT_EQ(result, 0);
}

TEST_F(SessionLayer, TcpIsForWhoIsGrantedSome) {
  EXPECT_EQ(plan_.handled_net, sys::kNetBindTcp | sys::kNetConnectTcp);
  EXPECT_EQ(compile_session_layer(rules_for(checker::Verb::NetConnect)).handled_net, sys::kNetBindTcp);
  EXPECT_EQ(compile_session_layer(rules_for(checker::Verb::NetBind)).handled_net, sys::kNetConnectTcp);
}

TEST_F(SessionLayer, AbstractSocketsAreForWhoIsGrantedSome) {
  EXPECT_TRUE(plan_.scope_abstract_sockets);
  EXPECT_FALSE(compile_session_layer(rules_for(checker::Verb::UnixSocket)).scope_abstract_sockets);
}

}  // namespace
}  // namespace secbox::launch
