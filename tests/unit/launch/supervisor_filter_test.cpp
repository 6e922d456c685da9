// The programs of the supervisor and its guardian, run in user space over every number, and once on the real
// kernel.
#include "supervisor/launch/supervisor_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <string>
#include <thread>

#include "supervisor/broker/syscall_table.h"
#include "tests/support/bpf_evaluator.h"

namespace secbox::launch {
namespace {

using Arguments = std::array<std::uint64_t, 6>;

#if defined(__x86_64__)
constexpr std::uint32_t kNative = AUDIT_ARCH_X86_64;
constexpr std::uint32_t kForeign = AUDIT_ARCH_I386;
#else
constexpr std::uint32_t kNative = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t kForeign = AUDIT_ARCH_ARM;
#endif
constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kKill = SECCOMP_RET_KILL_PROCESS;
constexpr std::uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t kMissing = SECCOMP_RET_ERRNO | ENOSYS;
#ifdef SECBOX_SANITIZED
constexpr std::uint32_t kUnnamed = kAllow;
constexpr std::uint32_t kGuardianMaps = kAllow;
#else
constexpr std::uint32_t kUnnamed = kRefuse;
constexpr std::uint32_t kGuardianMaps = kKill;
#endif

std::uint32_t answer(std::span<const sock_filter> program, long number, const Arguments& arguments = {},
                     std::uint32_t arch = kNative) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = arch;
  std::ranges::copy(arguments, data.args);
  const auto result = test::evaluate(program, data);
  EXPECT_TRUE(result.has_value()) << "the program goes astray at number " << number;
  return result.value_or(0xdeadbeef);
}

std::uint32_t supervisor(long number, const Arguments& arguments = {}) {
  return answer(supervisor_program(NameLookups::None), number, arguments);
}
std::uint32_t resolver(long number, const Arguments& arguments = {}) {
  return answer(supervisor_program(NameLookups::Resolver), number, arguments);
}
std::uint32_t guardian(long number, const Arguments& arguments = {}) {
  return answer(guardian_program(), number, arguments);
}

Arguments with(unsigned index, std::uint64_t value) {
  Arguments arguments{};
  arguments.at(index) = value;
  return arguments;
}

// Some arguments under which a call could pass.
const Arguments kPatterns[] = {{}, {1, 2, 3, 4, 5, 6}, {~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL}};

const std::span<const sock_filter> kPrograms[] = {
    supervisor_program(NameLookups::None), supervisor_program(NameLookups::Resolver), guardian_program()};

TEST(SupervisorFilter, StartsNothingAndChangesNothingOfTheMachine) {
  const std::set<std::string_view> never{
      "execve",        "execveat",       "mount",           "umount2",       "move_mount",
      "open_tree",     "fsopen",         "fsconfig",        "fsmount",       "mount_setattr",
      "pivot_root",    "chroot",         "setns",           "init_module",   "finit_module",
      "delete_module", "kexec_load",     "kexec_file_load", "bpf",           "perf_event_open",
      "userfaultfd",   "io_uring_setup", "io_uring_enter",  "keyctl",        "add_key",
      "request_key",   "swapon",         "swapoff",         "reboot",        "open_by_handle_at",
      "clock_settime", "settimeofday",   "sethostname",     "setdomainname", "syslog",
      "personality",   "iopl",           "ioperm",          "modify_ldt",    "fork",
      "vfork",         "process_madvise"};
  std::size_t seen = 0;
  for (const broker::SyscallRow& row : broker::syscall_table()) {
    if (!never.contains(row.name) || broker::native_number(row) < 0) continue;
    ++seen;
    for (const auto& program : kPrograms) {
      for (const Arguments& arguments : kPatterns)
        EXPECT_EQ(answer(program, broker::native_number(row), arguments), kKill) << row.name;
    }
  }
#if defined(__x86_64__)
  EXPECT_EQ(seen, never.size());
#else
  EXPECT_GE(seen + 5, never.size());
#endif
}

// What a plugin is refused outright its supervisor has no use for either, but for what it is a supervisor by.
TEST(SupervisorFilter, AllowsNothingThatIsRefusedToPlugins) {
  const std::set<std::string_view> own{"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
                                       "kcmp"};
  for (const broker::SyscallRow& row : broker::syscall_table()) {
    if (row.call_class != broker::CallClass::Refuse || own.contains(row.name)) continue;
    const int number = broker::native_number(row);
    if (number < 0) continue;
    for (const auto& program : kPrograms) {
      for (const Arguments& arguments : kPatterns) {
        const std::uint32_t got = answer(program, number, arguments);
        EXPECT_TRUE(got == kKill || got == kMissing || got == kUnnamed) << row.name;
      }
    }
  }
}

TEST(SupervisorFilter, KillsOtherArchitecturesAndX32) {
  for (const auto& program : kPrograms) {
    for (long number = 0; number < 600; ++number) {
      EXPECT_EQ(answer(program, number, {}, kForeign), kKill);
#if defined(__x86_64__)
      EXPECT_EQ(answer(program, number | 0x40000000), kKill);
      EXPECT_EQ(answer(program, number | 0x80000000), kKill);
#endif
    }
  }
}

TEST(SupervisorFilter, DoesNotKnowNumbersOfLaterKernels) {
  for (long number = 453; number < 1000; ++number) EXPECT_EQ(supervisor(number), kMissing) << number;
  EXPECT_EQ(supervisor(SYS_clone3), kMissing) << "its flags are behind a pointer: glibc then uses clone(2)";
}

TEST(SupervisorFilter, TracesLikeTheExecVerifierOnly) {
  std::set<std::uint64_t> allowed;
  for (std::uint64_t request = 0; request < 0x5000; ++request) {
    const std::uint32_t got = supervisor(SYS_ptrace, with(0, request));
    if (got == kAllow) allowed.insert(request);
    EXPECT_TRUE(got == kAllow || got == kRefuse);
  }
  EXPECT_EQ(allowed, (std::set<std::uint64_t>{PTRACE_PEEKTEXT, PTRACE_POKETEXT, PTRACE_CONT, PTRACE_DETACH,
                                              PTRACE_GETEVENTMSG, PTRACE_GETREGSET, PTRACE_SETREGSET,
                                              PTRACE_SETSIGMASK, PTRACE_SEIZE, PTRACE_INTERRUPT}));
  for (const long request :
       {PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_POKEDATA, PTRACE_SETREGS, PTRACE_SETFPREGS, PTRACE_SETOPTIONS})
    EXPECT_EQ(supervisor(SYS_ptrace, with(0, static_cast<std::uint64_t>(request))), kRefuse) << request;
  EXPECT_EQ(guardian(SYS_ptrace, with(0, PTRACE_SEIZE)), kKill);
}

TEST(SupervisorFilter, MakesThreadsAndNoProcessesOrNamespaces) {
  constexpr std::uint64_t kGlibcThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND |
                                         CLONE_THREAD | CLONE_SETTLS | CLONE_PARENT_SETTID |
                                         CLONE_CHILD_CLEARTID;
  EXPECT_EQ(supervisor(SYS_clone, with(0, kGlibcThread)), kAllow);
  EXPECT_EQ(supervisor(SYS_clone, with(0, SIGCHLD)), kKill);
  EXPECT_EQ(supervisor(SYS_clone, with(0, CLONE_VM | CLONE_VFORK | SIGCHLD)), kKill);
  for (const std::uint64_t flag : {CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
                                   CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_PTRACE}) {
    EXPECT_EQ(supervisor(SYS_clone, with(0, kGlibcThread | flag)), kKill) << flag;
    EXPECT_EQ(supervisor(SYS_unshare, with(0, flag)), kKill) << flag;
    EXPECT_EQ(supervisor(SYS_unshare, with(0, flag | CLONE_FS)), kKill) << flag;
  }
  EXPECT_EQ(supervisor(SYS_unshare, with(0, CLONE_FS)), kAllow);
  EXPECT_EQ(guardian(SYS_clone, with(0, kGlibcThread)), kKill);
}

TEST(SupervisorFilter, LoadsCodeForTheResolverOnly) {
  for (const long number : {SYS_mmap, SYS_mprotect}) {
    EXPECT_EQ(supervisor(number, with(2, PROT_READ | PROT_WRITE)), kAllow);
    EXPECT_EQ(supervisor(number, with(2, PROT_READ | PROT_EXEC)), kUnnamed);
    EXPECT_EQ(resolver(number, with(2, PROT_READ | PROT_EXEC)), kAllow);
    EXPECT_EQ(guardian(number, with(2, PROT_READ | PROT_EXEC)), kKill);
    EXPECT_EQ(guardian(number, with(2, PROT_READ)), number == SYS_mmap ? kGuardianMaps : kKill);
  }
  EXPECT_EQ(supervisor(SYS_pkey_mprotect), kKill);
}

TEST(SupervisorFilter, OpensSocketsForTheResolverOnly) {
  for (const std::uint64_t family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    EXPECT_EQ(supervisor(SYS_socket, with(0, family)), kUnnamed);
    EXPECT_EQ(resolver(SYS_socket, with(0, family)), kAllow);
  }
  for (const std::uint64_t family : {AF_PACKET, AF_ALG, AF_VSOCK, AF_BLUETOOTH})
    EXPECT_EQ(resolver(SYS_socket, with(0, family)), kRefuse);
}

TEST(SupervisorFilter, MakesNoListener) {
  EXPECT_EQ(supervisor(SYS_seccomp, with(0, SECCOMP_GET_NOTIF_SIZES)), kAllow);
  EXPECT_EQ(supervisor(SYS_seccomp, with(0, SECCOMP_SET_MODE_FILTER)), kRefuse);
  EXPECT_EQ(guardian(SYS_seccomp, with(0, SECCOMP_GET_NOTIF_SIZES)), kKill);
}

TEST(SupervisorFilter, MakesNoDeviceNode) {
  for (const std::uint64_t kind : {0, S_IFREG, S_IFIFO, S_IFSOCK})
    EXPECT_EQ(supervisor(SYS_mknodat, with(2, kind | 0644)), kAllow);
  for (const std::uint64_t kind : {S_IFCHR, S_IFBLK}) {
    EXPECT_EQ(supervisor(SYS_mknodat, with(2, kind | 0644)), kRefuse);
    EXPECT_EQ(resolver(SYS_mknodat, with(2, kind | 0644)), kRefuse);
  }
#ifdef SYS_mknod
  EXPECT_EQ(supervisor(SYS_mknod, with(1, S_IFREG)), kUnnamed);
#endif
}

TEST(SupervisorFilter, ControlsNothingButTheListener) {
  for (const std::uint64_t command : {SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
                                      SECCOMP_IOCTL_NOTIF_ADDFD, SECCOMP_IOCTL_NOTIF_ID_VALID})
    EXPECT_EQ(supervisor(SYS_ioctl, with(1, command)), kAllow);
  constexpr std::uint64_t kSetFlags = 0x40086602;  // FS_IOC_SETFLAGS
  for (const std::uint64_t command : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCSCTTY}, kSetFlags})
    EXPECT_EQ(supervisor(SYS_ioctl, with(1, command)), kRefuse);
}

TEST(GuardianFilter, LooksAndKills) {
  EXPECT_EQ(guardian(SYS_kill), kAllow);
  EXPECT_EQ(guardian(SYS_openat, with(2, O_RDONLY | O_CLOEXEC | O_DIRECTORY)), kAllow);
  for (const std::uint64_t flags : {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE})
    EXPECT_EQ(guardian(SYS_openat, with(2, flags)), kKill);
  EXPECT_EQ(guardian(SYS_prlimit64), kAllow);
  EXPECT_EQ(guardian(SYS_prlimit64, with(2, 0x7fff00000000)), kKill);
  for (const long number :
       {SYS_write, SYS_connect, SYS_openat2, SYS_process_vm_readv, SYS_setresuid, SYS_capset})
    EXPECT_EQ(guardian(number), kKill) << number;
}

// On the kernel: threads can still be made and inherit it, and a program cannot be started.
TEST(SupervisorFilter, HoldsItsThreads) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (install(supervisor_program(NameLookups::None)) != 0) ::_exit(2);
    bool made = false;
    std::thread([&] { made = true; }).join();
    if (!made) ::_exit(3);
    std::thread([] {
      const char* const argv[] = {"/bin/true", nullptr};
      ::execve(argv[0], const_cast<char**>(argv), nullptr);
    }).join();
    ::_exit(4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);
  EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

}  // namespace
}  // namespace secbox::launch
