// Execs that are held by a real listener, and tickets that say what was approved: what then runs is that, or
// nothing.
#include "supervisor/broker/exec_verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>

#include "tests/unit/broker/fakes.h"

namespace secbox::broker {
namespace {

using audit::Verdict;

constexpr int kExecFailed = 42;

// A process whose execve is held.
class HeldExec {
 public:
  explicit HeldExec(const std::string& program) {
    auto* shared = static_cast<std::atomic<int>*>(
        ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    new (shared) std::atomic<int>(-1);
    pid = ::fork();
    if (pid == 0) exec_under_filter(program, *shared);
    // The call itself tells that the number was written: it comes after it.
    const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    while (*shared < 0 && ::kill(pid, 0) == 0) std::this_thread::yield();
    UniqueFd listener(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), shared->load(), 0)));
    EXPECT_TRUE(listener.valid());
    channel = std::make_unique<sys::LinuxNotifyChannel>(
        std::move(sys::LinuxNotifyChannel::make(std::move(listener)).value()));
    EXPECT_EQ(channel->receive(call), sys::ReceiveStatus::Received);
    ::munmap(shared, sizeof *shared);
  }
  ~HeldExec() {
    if (pid <= 0) return;
    (void)::kill(pid, SIGKILL);
    (void)::waitpid(pid, nullptr, 0);
  }
  // The exit code, or -signal. As a session does: the verifier's thread may wait for it as well, as its
  // tracer.
  int end(ExecVerifier& verifier) {
    const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    pollfd gone{.fd = process.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&gone, 1, 20'000), 1);
    int status = 0;
    const bool told = ::waitpid(pid, &status, 0) == pid;
    verifier.stop();
    if (!told) status = verifier.first_process_end().value();
    pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  pid_t pid = 0;
  sys::Notification call;
  std::unique_ptr<sys::LinuxNotifyChannel> channel;

 private:
  [[noreturn]] static void exec_under_filter(const std::string& program, std::atomic<int>& listener) {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offsetof(seccomp_data, nr))),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog rules{.len = 4, .filter = filter};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(1);
    listener = static_cast<int>(
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                  SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &rules));
    const char* const argv[] = {program.c_str(), nullptr};
    const char* const environment[] = {"NAME=value", nullptr};
    (void)::syscall(SYS_execve, program.c_str(), argv, environment);
    ::_exit(errno == EACCES ? kExecFailed + 1 : kExecFailed);
  }
};

class ExecVerifierTest : public testing::Test {
 protected:
  void hold(const std::string& program) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    held = std::make_unique<HeldExec>(program);
    services = std::make_unique<Services>(*held->channel, memory, proc, sink);
    services->supervisor_pid = ::getpid();
    services->first_process = held->pid;
    services->on_audit_failure = [this] { ++audit_failures; };
    services->on_denial = [this](const audit::Record&, std::uint64_t) { ++denials; };
    verifier = std::make_unique<ExecVerifier>(*services);
    verifier->on_image = [this](const ExecVerifier::Image& image) {
      started = image.exe;
      given = image.shim;
    };
    ASSERT_TRUE(verifier->prepare());
    ASSERT_TRUE(verifier->start());
  }
  // What the handler would have approved: the program and its loader.
  ExecTicket ticket(const std::string& program) {
    struct stat st{};
    EXPECT_EQ(::stat(program.c_str(), &st), 0);
    ExecTicket result;
    result.id = held->call.id;
    result.tid = held->call.tid;
    result.caller_tgid = held->pid;
    result.dev = result.file_dev = st.st_dev;
    result.ino = result.file_ino = st.st_ino;
    result.resolved = std::filesystem::canonical(program);
    result.syscall = "execve";
    struct stat loader{};
    if (::stat(kLoader, &loader) == 0) {
      result.loader = std::filesystem::canonical(kLoader);
      result.loader_dev = loader.st_dev;
      result.loader_ino = loader.st_ino;
    }
    return result;
  }
  int run(ExecTicket ticket) {
    verifier->submit(std::move(ticket));
    return held->end(*verifier);
  }
  std::string write_file(const std::string& content) {
    const std::string path =
        std::filesystem::temp_directory_path() / ("secbox-exec-" + std::to_string(::getpid()));
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755));
    EXPECT_EQ(::write(file.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
    written = path;
    return path;
  }
  void expect_killed_as_escape(int code, std::string_view why) {
    EXPECT_EQ(code, -SIGKILL);
    ASSERT_EQ(sink.lines().size(), 1U);
    EXPECT_EQ(sink.lines()[0].event, "escape_attempt");
    EXPECT_EQ(sink.lines()[0].rule, "protected:exec-verified");
    EXPECT_EQ(sink.lines()[0].reason, why);
    EXPECT_EQ(denials, 1);
    EXPECT_EQ(started, "");
  }
  void TearDown() override {
    if (!written.empty()) std::filesystem::remove(written);
  }

#if defined(__x86_64__)
  static constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";
#else
  static constexpr const char* kLoader = "/lib/ld-linux-aarch64.so.1";
#endif
  sys::Procfs proc = sys::Procfs::open().value();
  sys::LinuxTargetMemory memory;
  FakeSink sink;
  std::unique_ptr<HeldExec> held;
  std::unique_ptr<Services> services;
  std::unique_ptr<ExecVerifier> verifier;
  std::atomic<int> audit_failures = 0;
  std::atomic<int> denials = 0;
  std::string started;  // the image that on_image told, and its shim
  ShimGiven given;
  std::string written;
};

TEST_F(ExecVerifierTest, RunsWhatWasApprovedAndRecordsIt) {
  hold("/bin/true");
  EXPECT_EQ(run(ticket("/bin/true")), 0);
  ASSERT_EQ(sink.lines().size(), 1U);
  EXPECT_EQ(sink.lines()[0].event, "exec");
  EXPECT_EQ(sink.lines()[0].enforcement, audit::Enforcement::Verified);
  EXPECT_EQ(started, std::filesystem::canonical("/bin/true"));
  EXPECT_EQ(denials, 0);
}

TEST_F(ExecVerifierTest, GivesTheShimToWhatWasApproved) {
  const std::string script =
      write_file("#!/bin/sh\n[ \"$NAME$LD_PRELOAD\" = value/usr/lib/shim.so ] && exit 5\n");
  struct stat st{};
  ASSERT_EQ(::stat(script.c_str(), &st), 0);
  hold(script);
  services->mode = Mode::Audit;
  services->shim = "/usr/lib/shim.so";  // the loader says that it is not there, and goes on
  ExecTicket approved = ticket("/bin/sh");
  approved.script = script;
  approved.file_dev = st.st_dev;
  approved.file_ino = st.st_ino;
  approved.elf = {.is_native = true, .loader = kLoader};
  EXPECT_EQ(run(std::move(approved)), 5);
  EXPECT_TRUE(given.injected);
  EXPECT_EQ(given.why, "");
  EXPECT_EQ(sink.lines().size(), 1U);
}

TEST_F(ExecVerifierTest, GivesNoShimToWhatItIsNotFor) {
  struct Row {
    const char* shim;
    sys::ElfFile elf;
    std::string_view why;
  };
  const Row rows[] = {
      {"", {.is_native = true, .loader = kLoader}, "no-shim"},
      {"/usr/lib/shim.so", {}, "other-format"},
      {"/usr/lib/shim.so", {.is_native = true}, "static"},
      {"/usr/lib/shim.so", {.is_native = true, .has_go_note = true}, "go"},
      {"/usr/lib/shim.so", {.is_native = true, .loader = "/lib/ld-musl-x86_64.so.1"}, "other-libc"},
  };
  for (const Row& row : rows) {
    hold("/bin/true");
    services->mode = Mode::Audit;
    services->shim = row.shim;
    ExecTicket approved = ticket("/bin/true");
    approved.elf = row.elf;
    EXPECT_EQ(run(std::move(approved)), 0);
    EXPECT_FALSE(given.injected);
    EXPECT_EQ(given.why, row.why);
  }
}

TEST_F(ExecVerifierTest, AuditingGivesNoShimToAnotherProgramThanTheApprovedOne) {
  hold("/bin/true");
  services->mode = Mode::Audit;
  services->shim = "/usr/lib/shim.so";
  ExecTicket other = ticket("/bin/false");
  other.enforce = false;
  other.elf = {.is_native = true, .loader = kLoader};
  EXPECT_EQ(run(std::move(other)), 0);
  EXPECT_FALSE(given.injected);
  EXPECT_EQ(given.why, kNotVerified);
}

// Somebody else traces it: this one cannot.
TEST_F(ExecVerifierTest, WhatCannotBeLookedAtIsRefused) {
  hold("/bin/true");
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, held->pid, nullptr, nullptr), 0);
  EXPECT_EQ(run(ticket("/bin/true")), kExecFailed + 1);
  EXPECT_EQ(denials, 1);
  EXPECT_EQ(started, "");
}

TEST_F(ExecVerifierTest, AuditingTellsWhatCouldNotBeLookedAt) {
  hold("/bin/true");
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, held->pid, nullptr, nullptr), 0);
  ExecTicket approved = ticket("/bin/true");
  approved.enforce = false;
  EXPECT_EQ(run(std::move(approved)), 0);
  EXPECT_EQ(started, std::filesystem::canonical("/bin/true"));
  EXPECT_FALSE(given.injected);
  EXPECT_EQ(given.why, kNotVerified);
}

TEST_F(ExecVerifierTest, KillsAnotherProgramThanTheApprovedOne) {
  hold("/bin/true");
  expect_killed_as_escape(run(ticket("/bin/false")),
                          "another program was started than the one that was approved");
}

TEST_F(ExecVerifierTest, KillsWhatAnotherLoaderStarts) {
  hold("/bin/true");
  ExecTicket other = ticket("/bin/true");
  other.loader_ino = other.ino;
  other.loader = "/elsewhere/loader";
  expect_killed_as_escape(run(std::move(other)), "another loader was started than the one that was approved");
}

TEST_F(ExecVerifierTest, KillsWhatWasToRunWithoutALoader) {
  hold("/bin/true");
  ExecTicket none = ticket("/bin/true");
  none.loader.clear();
  expect_killed_as_escape(run(std::move(none)), "another loader was started than the one that was approved");
}

TEST_F(ExecVerifierTest, RunsTheScriptThatWasApprovedAndKillsAnother) {
  const std::string script = write_file("#!/bin/sh\nexit 5\n");
  struct stat st{};
  ASSERT_EQ(::stat(script.c_str(), &st), 0);
  const auto script_ticket = [&] {
    ExecTicket result = ticket("/bin/sh");
    result.script = script;
    result.file_dev = st.st_dev;
    result.file_ino = st.st_ino;
    return result;
  };
  hold(script);
  EXPECT_EQ(run(script_ticket()), 5);
  EXPECT_EQ(sink.lines().size(), 1U);

  hold(script);
  ExecTicket renamed = script_ticket();
  renamed.script += "x";
  EXPECT_EQ(run(std::move(renamed)), -SIGKILL);
  EXPECT_EQ(sink.lines().back().reason, "another script was started than the one that was approved");

  hold(script);
  ExecTicket replaced = script_ticket();
  replaced.file_ino = 1;
  EXPECT_EQ(run(std::move(replaced)), -SIGKILL);
  EXPECT_EQ(sink.lines().back().reason, "another script was started than the one that was approved");
}

TEST_F(ExecVerifierTest, InAuditModeLetsAnotherProgramRun) {
  hold("/bin/true");
  ExecTicket other = ticket("/bin/false");
  other.enforce = false;
  EXPECT_EQ(run(std::move(other)), 0);
  EXPECT_EQ(sink.lines().size(), 1U);
  EXPECT_EQ(started, std::filesystem::canonical("/bin/true"));
}

TEST_F(ExecVerifierTest, ExecThatTheKernelRefusesIsRecordedAndGoesOn) {
  const std::string text = write_file("no program");
  hold(text);
  EXPECT_EQ(run(ticket(text)), kExecFailed);
  ASSERT_EQ(sink.lines().size(), 1U);
  EXPECT_EQ(sink.lines()[0].result, "ENOEXEC");
  EXPECT_EQ(started, "");
}

TEST_F(ExecVerifierTest, KillsWhatCannotBeRecorded) {
  hold("/bin/true");
  sink.full = true;
  EXPECT_EQ(run(ticket("/bin/true")), -SIGKILL);
  EXPECT_EQ(audit_failures, 1);
}

// Traced by another thread, here the test's own: nobody can look at what it becomes.
TEST_F(ExecVerifierTest, RefusesAnExecThatItCannotVerify) {
  hold("/bin/true");
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, held->pid, nullptr, nullptr), 0);
  EXPECT_EQ(run(ticket("/bin/true")), kExecFailed + 1) << "EACCES";
  ASSERT_EQ(sink.lines().size(), 1U);
  EXPECT_EQ(sink.lines()[0].verdict, Verdict::Deny);
  EXPECT_THAT(sink.lines()[0].reason, testing::HasSubstr("cannot be verified"));
}

TEST_F(ExecVerifierTest, InAuditModeRecordsThatItCouldNotVerify) {
  hold("/bin/true");
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, held->pid, nullptr, nullptr), 0);
  ExecTicket auditing = ticket("/bin/true");
  auditing.enforce = false;
  EXPECT_EQ(run(std::move(auditing)), 0);
  ASSERT_EQ(sink.lines().size(), 1U);
  EXPECT_EQ(sink.lines()[0].enforcement, audit::Enforcement::None);

  hold("/bin/true");
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, held->pid, nullptr, nullptr), 0);
  sink.full = true;
  auditing = ticket("/bin/true");
  auditing.enforce = false;
  EXPECT_EQ(run(std::move(auditing)), kExecFailed) << "EIO: what is not logged does not happen";
}

TEST_F(ExecVerifierTest, CallerThatIsGoneIsLeftAlone) {
  hold("/bin/true");
  ExecTicket late = ticket("/bin/true");
  const UniqueFd late_process(static_cast<int>(::syscall(SYS_pidfd_open, held->pid, 0)));
  (void)::kill(held->pid, SIGKILL);
  pollfd gone{.fd = late_process.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&gone, 1, 20'000), 1);
  EXPECT_EQ(run(std::move(late)), -SIGKILL);
  EXPECT_TRUE(sink.lines().empty());
}

}  // namespace
}  // namespace secbox::broker
