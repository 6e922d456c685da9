#include "supervisor/launch/supervisor_filter.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <vector>

#include "supervisor/launch/bpf.h"
#include "supervisor/sys/procmap_query.h"

// Missing from the 6.1 headers of Debian 12.
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452  // Linux 6.6
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)  // Linux 6.6
#endif

namespace secbox::launch {

namespace {

using broker::ArgumentTest;

constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kKill = SECCOMP_RET_KILL_PROCESS;
constexpr std::uint32_t kRefuse = bpf::errno_action(EPERM);
// What a library finds missing it does in another way: clone3(2) hides its flags behind a pointer.
constexpr std::uint32_t kMissing = bpf::errno_action(ENOSYS);
// A sanitizer's runtime makes calls of its own.
#ifdef SECBOX_SANITIZED
constexpr std::uint32_t kUnnamed = kAllow;
#else
constexpr std::uint32_t kUnnamed = kRefuse;
#endif

constexpr std::uint64_t kInt = 0xffffffff;
constexpr std::uint64_t kPointer = ~std::uint64_t{0};

struct Clause {
  std::array<ArgumentTest, 3> tests;
};
constexpr Clause is(unsigned argument, std::uint64_t value, std::uint64_t mask = kInt) {
  return {{ArgumentTest{argument, mask, value}}};
}

// Allowed where one of the clauses holds.
struct ByArgument {
  long number;
  std::span<const Clause> clauses;
  std::uint32_t otherwise;
};

struct Program {
  std::span<const long> allowed;
  std::span<const ByArgument> by_argument;
};

// ---- of both ----

constexpr long kNative[] = {
    SYS_read,
    SYS_close,
    SYS_lseek,
    SYS_getdents64,
    SYS_clock_gettime,
    SYS_nanosleep,
    SYS_ppoll,
    SYS_kill,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_rt_sigreturn,
    SYS_exit_group,
    SYS_restart_syscall,
    SYS_clock_nanosleep,
};

// Whoever makes one of these is not the supervisor any more.
constexpr long kNever[] = {
    SYS_execve,
    SYS_execveat,
    SYS_mount,
    SYS_umount2,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_open_by_handle_at,
    SYS_swapon,
    SYS_swapoff,
    SYS_reboot,
    SYS_acct,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_syslog,
    SYS_personality,
    SYS_fanotify_init,
    SYS_process_madvise,
    SYS_pkey_mprotect,
    SYS_remap_file_pages,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef __x86_64__
    SYS_fork,
    SYS_vfork,
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
#endif
};

// ---- the supervisor ----

constexpr long kSupervisor[] = {
    // its threads, its memory, its clock
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_gettid,
    SYS_getpid,
    SYS_tgkill,
    SYS_exit,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_getrandom,
    SYS_gettimeofday,
    SYS_clock_getres,
    // the control loop
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_timerfd_settime,
    SYS_signalfd4,
    SYS_eventfd2,
    SYS_wait4,
    SYS_waitid,
    // descriptors
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_pwritev2,
    SYS_fcntl,
    SYS_dup,
    SYS_fstat,
    SYS_fsync,
    SYS_fdatasync,
    SYS_ftruncate,
    SYS_memfd_create,
    SYS_fchdir,
    // names, for the plugin and in /proc
    SYS_openat,
    SYS_openat2,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_readlinkat,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_mkdirat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchmodat2,
    SYS_fchown,
    SYS_fchownat,
    SYS_truncate,
    SYS_utimensat,
    SYS_setxattr,
    SYS_fsetxattr,
    SYS_removexattr,
    SYS_fremovexattr,
    SYS_inotify_add_watch,
    SYS_umask,
    // the plugin's sockets
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_sendto,
    SYS_sendmsg,
    SYS_getsockopt,
    SYS_getsockname,
    // the plugin's processes
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_prlimit64,
    SYS_setpriority,
    SYS_ioprio_set,
    SYS_sched_setparam,
    SYS_sched_setscheduler,
    SYS_sched_setattr,
    SYS_sched_setaffinity,
    // the identity of the caller, taken for one call
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getgroups,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setgroups,
    SYS_capget,
    SYS_capset,
    // less rights, for bind(2) of a path: see connect.cpp
    SYS_landlock_create_ruleset,
    SYS_landlock_add_rule,
    SYS_landlock_restrict_self,
#ifdef __x86_64__
    SYS_poll,
    SYS_epoll_wait,
    SYS_readlink,
    SYS_time,
#endif
};

constexpr Clause kIoctls[] = {
    is(1, SECCOMP_IOCTL_NOTIF_RECV),
    is(1, SECCOMP_IOCTL_NOTIF_SEND),
    is(1, SECCOMP_IOCTL_NOTIF_ADDFD),
    is(1, SECCOMP_IOCTL_NOTIF_ID_VALID),
    is(1, SECCOMP_IOCTL_NOTIF_SET_FLAGS),
    is(1, FIONBIO),
    is(1, FIONREAD),
    is(1, TCGETS),
    is(1, sys::kProcmapQuery),
};
// The exec verifier's, and those that make the plugin's first process end with a status (sys/force_exit.cpp).
constexpr Clause kPtraceRequests[] = {
    is(0, PTRACE_SEIZE),       is(0, PTRACE_INTERRUPT),  is(0, PTRACE_CONT),      is(0, PTRACE_DETACH),
    is(0, PTRACE_GETEVENTMSG), is(0, PTRACE_GETREGSET),  is(0, PTRACE_SETREGSET), is(0, PTRACE_PEEKTEXT),
    is(0, PTRACE_POKETEXT),    is(0, PTRACE_SETSIGMASK),
};
constexpr std::uint64_t kNamespaces =
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
constexpr Clause kThread[] = {is(0, CLONE_THREAD, CLONE_THREAD | CLONE_PTRACE | kNamespaces)};
constexpr Clause kSizes[] = {is(0, SECCOMP_GET_NOTIF_SIZES)};
constexpr Clause kOwnDirectory[] = {is(0, CLONE_FS)};
constexpr Clause kNoCode[] = {is(2, 0, PROT_EXEC)};
constexpr Clause kNoDevice[] = {is(2, 0, S_IFMT), is(2, S_IFREG, S_IFMT), is(2, S_IFIFO, S_IFMT),
                                is(2, S_IFSOCK, S_IFMT)};

constexpr ByArgument kSupervisorByArgument[] = {
    {SYS_ioctl, kIoctls, kRefuse},     {SYS_ptrace, kPtraceRequests, kRefuse}, {SYS_clone, kThread, kKill},
    {SYS_clone3, {}, kMissing},        {SYS_unshare, kOwnDirectory, kKill},    {SYS_mmap, kNoCode, kUnnamed},
    {SYS_mprotect, kNoCode, kUnnamed}, {SYS_mknodat, kNoDevice, kRefuse},      {SYS_seccomp, kSizes, kRefuse},
};

// ---- the supervisor that looks names up ----

constexpr long kResolver[] = {
    SYS_mmap,        SYS_mprotect, SYS_setsockopt, SYS_recvfrom,  SYS_recvmsg, SYS_sendmmsg,
    SYS_getpeername, SYS_uname,    SYS_sysinfo,    SYS_faccessat, SYS_statfs,  SYS_getppid,
#ifdef __x86_64__
    SYS_access,      SYS_stat,     SYS_open,
#endif
};
constexpr Clause kFamilies[] = {is(0, AF_UNIX), is(0, AF_INET), is(0, AF_INET6), is(0, AF_NETLINK)};
constexpr ByArgument kResolverByArgument[] = {{SYS_socket, kFamilies, kRefuse}};

// ---- the guardian ----

constexpr Clause kToRead[] = {is(2, 0, O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))};
constexpr Clause kAsks[] = {is(2, 0, kPointer)};
constexpr Clause kDirectories[] = {is(2, AT_REMOVEDIR)};  // the session's control group
constexpr ByArgument kGuardianByArgument[] = {
#ifdef SECBOX_SANITIZED
    {SYS_mmap, kNoCode, kKill},   {SYS_munmap, {}, kAllow},      {SYS_madvise, {}, kAllow},
#endif
    {SYS_openat, kToRead, kKill}, {SYS_prlimit64, kAsks, kKill}, {SYS_unlinkat, kDirectories, kKill}};

// ---- assembling ----

struct Range {
  std::uint32_t first;
  std::uint32_t action;
  const ByArgument* by_argument;
};

constexpr std::uint32_t kNumbers = SYS_fchmodat2 + 1;  // past the newest that is named above

constexpr bpf::Block assemble(std::initializer_list<Program> parts, std::uint32_t unnamed) {
  std::vector<Range> rows(kNumbers);
  for (std::uint32_t number = 0; number < kNumbers; ++number) rows[number] = {number, unnamed, nullptr};
  const auto row = [&](long number) -> Range& { return rows[static_cast<std::size_t>(number)]; };
  for (const long number : kNever) row(number).action = kKill;
  for (const Program& part : parts) {
    for (const ByArgument& rule : part.by_argument)
      row(rule.number) = {static_cast<std::uint32_t>(rule.number), 0, &rule};
    // A list that names the call as a whole comes after those that look at its arguments.
    for (const long number : part.allowed)
      row(number) = {static_cast<std::uint32_t>(number), kAllow, nullptr};
  }
  rows.push_back({kNumbers, kMissing, nullptr});
#ifdef __x86_64__
  rows.push_back({0x40000000, kKill, nullptr});  // x32
#endif
  std::vector<Range> ranges;
  for (const Range& next : rows) {
    if (ranges.empty() || ranges.back().action != next.action || ranges.back().by_argument != nullptr ||
        next.by_argument != nullptr)
      ranges.push_back(next);
  }
  return bpf::assemble(bpf::kArch, std::span<const Range>(ranges), [](const Range& range, bpf::Block& block) {
    if (range.by_argument == nullptr) {
      block.push_back(bpf::answer(range.action));
      return;
    }
    bpf::append_clauses(
        range.by_argument->clauses, [](const Clause&) { return std::optional(kAllow); },
        range.by_argument->otherwise, block);
  });
}

constexpr bpf::Block assemble_supervisor() {
  return assemble({{kNative, {}}, {kSupervisor, kSupervisorByArgument}}, kUnnamed);
}
constexpr bpf::Block assemble_resolver() {
  return assemble({{kNative, {}}, {kSupervisor, kSupervisorByArgument}, {kResolver, kResolverByArgument}},
                  kUnnamed);
}
constexpr bpf::Block assemble_guardian() { return assemble({{kNative, kGuardianByArgument}}, kKill); }

template <bpf::Block (*Assemble)()>
constexpr auto constant() {
  std::array<sock_filter, Assemble().size()> program{};
  std::ranges::copy(Assemble(), program.begin());
  return program;
}

constexpr auto kSupervisorProgram = constant<assemble_supervisor>();
constexpr auto kResolverProgram = constant<assemble_resolver>();
constexpr auto kGuardianProgram = constant<assemble_guardian>();

}  // namespace

std::span<const sock_filter> supervisor_program(NameLookups lookups) {
  if (lookups == NameLookups::Resolver) return kResolverProgram;
  return kSupervisorProgram;
}

std::span<const sock_filter> guardian_program() { return kGuardianProgram; }

int install(std::span<const sock_filter> program) {
  const sock_fprog loaded{.len = static_cast<unsigned short>(program.size()),
                          .filter = const_cast<sock_filter*>(program.data())};  // the kernel only reads it
  // SPEC_ALLOW: before Linux 5.16 a filter slows its process down, against code that shares it. None does
  // here.
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &loaded) == 0
             ? 0
             : errno;
}

}  // namespace secbox::launch
