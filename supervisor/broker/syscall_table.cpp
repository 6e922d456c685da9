// One row a syscall: see syscall_table.h. x86_64 numbers are those of arch/x86/entry/syscalls/syscall_64.tbl,
// aarch64 numbers those of scripts/syscall.tbl (asm-generic/unistd.h), up to Linux 7.0. A test holds both
// against the kernel headers of the machine that it is built on.
#include "supervisor/broker/syscall_table.h"

#include <array>
#include <cerrno>

namespace secbox::broker {

namespace {

// Reasons that many rows share.
constexpr std::string_view kDescriptor = "acts on a descriptor that was judged when it was made";
constexpr std::string_view kSelf = "the plugin's own threads, signals, timers and clocks";
constexpr std::string_view kAsks = "asks about itself or the machine";
constexpr std::string_view kAsksOthers = "tells about any process what ps(1) tells: not mediated";
constexpr std::string_view kMemory = "memory of the plugin itself";
constexpr std::string_view kNames =
    "not mediated: that a file exists, and its metadata, can be seen without a grant";
constexpr std::string_view kSysv = "System V IPC reaches every process of the same user";
constexpr std::string_view kProcesses = "starts and awaits its own processes";
constexpr std::string_view kObsolete = "removed from Linux, or of no use today";
constexpr std::string_view kMount = "changes what paths mean";
constexpr std::string_view kMachine = "the machine as a whole";
constexpr std::string_view kIdentity =
    "noted, and done by the kernel: later calls of the thread are performed with its own identity";
constexpr std::string_view kPinned = "performed on the pinned object";
constexpr std::string_view kPinnedMode = "performed on the pinned object; no set-user-ID bits";
constexpr std::string_view kPinnedAttribute = "performed on the pinned object; no security.* attributes";
constexpr std::string_view kPinnedParent = "performed on the pinned parent directory";
constexpr std::string_view kPinnedTwo = "performed on both pinned ends; may not widen what the plugin can do";
constexpr std::string_view kPinnedSymlink =
    "performed on the pinned parent; the target is judged when it is followed";
constexpr std::string_view kOpened = "performed by the supervisor on a pinned object";
constexpr std::string_view kSession = "processes of the session, or those that the manifest grants";
constexpr std::string_view kOther = "held where another process, group or user is named";
constexpr std::string_view kOtherRefused = "refused where another process is named";
constexpr std::string_view kKernel = "the kernel itself";
constexpr std::string_view kAio = "asynchronous reads and writes on descriptors that it holds";
constexpr std::string_view kReadOnlyHandle =
    "a descriptor opened for reading does not give the right to change the file";
constexpr std::string_view kForeignMemory = "memory of other processes";
constexpr std::string_view kWorkDir = "working directory: later names are judged where they are used";
constexpr std::string_view kKeys = "keys are shared beyond the session, and stay after it";
constexpr std::string_view kUring = "its operations would pass by the filter";
constexpr std::string_view kOwnLandlock =
    "as where Landlock is disabled: a domain of its own would not bind what the supervisor performs for it";
constexpr std::string_view kSocketCopy = "performed on a duplicate of the socket";
constexpr std::string_view kVerified = "verified before the first instruction of the new image";
constexpr std::string_view kExit = "the session is ended before its first process is seen to end";
constexpr std::string_view kNode = "files, FIFOs and sockets only";
constexpr std::string_view kAdjust = "asks; a change needs a capability that the plugin does not have";
constexpr std::string_view kHardware = "hardware ports";
constexpr std::string_view kFanotify = "watches what other processes open";
constexpr std::string_view kUprobe =
    "jumped to by the kernel's own trampolines when an administrator traces the program; useless elsewhere";
constexpr std::string_view kCopied =
    "the address is behind a pointer that BPF cannot follow; performed with copied data";
constexpr std::string_view kQueue = "message queues are named, and reach every process of the same user";

constexpr SyscallRow allow(std::string_view name, int x86_64, int aarch64, std::string_view note) {
  return {name, x86_64, aarch64, CallClass::Allow, Handler::None, "", 0, note};
}
constexpr SyscallRow mediate(std::string_view name, int x86_64, int aarch64, Handler handler,
                             std::string_view operation, std::string_view note) {
  return {name, x86_64, aarch64, CallClass::Mediate, handler, operation, 0, note};
}
constexpr SyscallRow refuse(std::string_view name, int x86_64, int aarch64, std::string_view operation,
                            int deny_errno, std::string_view note) {
  return {name, x86_64, aarch64, CallClass::Refuse, Handler::Refused, operation, deny_errno, note};
}
constexpr SyscallRow absent(std::string_view name, int x86_64, int aarch64, std::string_view operation,
                            int deny_errno, std::string_view note) {
  return {name, x86_64, aarch64, CallClass::Absent, Handler::None, operation, deny_errno, note};
}
constexpr SyscallRow by_argument(std::string_view name, int x86_64, int aarch64, Handler handler,
                                 std::string_view operation, std::string_view note) {
  return {name, x86_64, aarch64, CallClass::Argument, handler, operation, EPERM, note};
}

constexpr SyscallRow kTable[] = {
    // name, x86_64, aarch64 (-1: not there), ...
    allow("read", 0, 63, kDescriptor),
    allow("write", 1, 64, kDescriptor),
    mediate("open", 2, -1, Handler::Open, "open", kOpened),
    allow("close", 3, 57, kDescriptor),
    allow("stat", 4, -1, kNames),
    allow("fstat", 5, 80, kDescriptor),
    allow("lstat", 6, -1, kNames),
    allow("poll", 7, -1, kDescriptor),
    allow("lseek", 8, 62, kDescriptor),
    by_argument("mmap", 9, 222, Handler::MapExec, "load", "held for PROT_EXEC of a file"),
    allow("mprotect", 10, 226,
          "memory of the plugin itself; memory made executable this way is not judged, see the threat model"),
    allow("munmap", 11, 215, kMemory),
    allow("brk", 12, 214, kMemory),
    allow("rt_sigaction", 13, 134, kSelf),
    allow("rt_sigprocmask", 14, 135, kSelf),
    allow("rt_sigreturn", 15, 139, kSelf),
    by_argument("ioctl", 16, 29, Handler::Refused, "ioctl",
                "refused by number: terminal injection, changes to a file through a read-only "
                "descriptor, signal owners"),
    allow("pread64", 17, 67, kDescriptor),
    allow("pwrite64", 18, 68, kDescriptor),
    allow("readv", 19, 65, kDescriptor),
    allow("writev", 20, 66, kDescriptor),
    allow("access", 21, -1, kNames),
    allow("pipe", 22, -1, kDescriptor),
    allow("select", 23, -1, kDescriptor),
    allow("sched_yield", 24, 124, kSelf),
    allow("mremap", 25, 216, kMemory),
    allow("msync", 26, 227, kMemory),
    allow("mincore", 27, 232, kMemory),
    allow("madvise", 28, 233, kMemory),
    refuse("shmget", 29, 194, "sysv-ipc", EACCES, kSysv),
    refuse("shmat", 30, 196, "sysv-ipc", EACCES, kSysv),
    refuse("shmctl", 31, 195, "sysv-ipc", EACCES, kSysv),
    allow("dup", 32, 23, kDescriptor),
    allow("dup2", 33, -1, kDescriptor),
    allow("pause", 34, -1, kSelf),
    allow("nanosleep", 35, 101, kSelf),
    allow("getitimer", 36, 102, kSelf),
    allow("alarm", 37, -1, kSelf),
    allow("setitimer", 38, 103, kSelf),
    allow("getpid", 39, 172, kAsks),
    allow("sendfile", 40, 71, kDescriptor),
    by_argument("socket", 41, 198, Handler::Refused, "socket",
                "unix, TCP and UDP over inet and inet6, and route netlink"),
    mediate("connect", 42, 203, Handler::Connect, "connect", kSocketCopy),
    allow("accept", 43, 202,
          "connections to a socket whose bind and listen were judged; who connects is not"),
    by_argument("sendto", 44, 206, Handler::Sendto, "send",
                "held with an address or MSG_FASTOPEN; without one it goes where connect(2) was judged"),
    allow("recvfrom", 45, 207, kDescriptor),
    mediate("sendmsg", 46, 211, Handler::Sendmsg, "send", kCopied),
    allow("recvmsg", 47, 212,
          "acts on a descriptor that was judged when it was made; descriptors that a peer sends (SCM_RIGHTS) "
          "are not judged"),
    allow("shutdown", 48, 210, kDescriptor),
    mediate("bind", 49, 200, Handler::Bind, "bind", kSocketCopy),
    mediate("listen", 50, 201, Handler::Listen, "listen", "an unbound socket would take a port of its own"),
    allow("getsockname", 51, 204, kDescriptor),
    allow("getpeername", 52, 205, kDescriptor),
    by_argument("socketpair", 53, 199, Handler::Refused, "socket",
                "unix sockets only; other families (TIPC) would name peers outside"),
    by_argument("setsockopt", 54, 208, Handler::Refused, "socket-option",
                "source routes are refused: packets would go elsewhere than where connect(2) or sendto(2) "
                "was judged"),
    allow("getsockopt", 55, 209, kDescriptor),
    by_argument("clone", 56, 220, Handler::Refused, "namespace",
                "refused with a namespace flag, or with CLONE_PARENT: a child that the host never started"),
    allow("fork", 57, -1, kProcesses),
    allow("vfork", 58, -1, kProcesses),
    mediate("execve", 59, 221, Handler::Exec, "exec", kVerified),
    mediate("exit", 60, 93, Handler::ExitGroup, "exit", kExit),
    allow("wait4", 61, 260, kProcesses),
    mediate("kill", 62, 129, Handler::ProcessTarget, "signal", kSession),
    allow("uname", 63, 160, kAsks),
    refuse("semget", 64, 190, "sysv-ipc", EACCES, kSysv),
    refuse("semop", 65, 193, "sysv-ipc", EACCES, kSysv),
    refuse("semctl", 66, 191, "sysv-ipc", EACCES, kSysv),
    refuse("shmdt", 67, 197, "sysv-ipc", EACCES, kSysv),
    refuse("msgget", 68, 186, "sysv-ipc", EACCES, kSysv),
    refuse("msgsnd", 69, 189, "sysv-ipc", EACCES, kSysv),
    refuse("msgrcv", 70, 188, "sysv-ipc", EACCES, kSysv),
    refuse("msgctl", 71, 187, "sysv-ipc", EACCES, kSysv),
    by_argument("fcntl", 72, 25, Handler::ProcessTarget, "signal",
                "held for F_SETOWN and F_SETOWN_EX, which choose whom signals reach; leases and locks are "
                "not mediated"),
    allow("flock", 73, 32, "locks need only an open file: may delay others that lock the same file"),
    allow("fsync", 74, 82, kDescriptor),
    allow("fdatasync", 75, 83, kDescriptor),
    mediate("truncate", 76, 45, Handler::Truncate, "truncate", kPinned),
    allow("ftruncate", 77, 46, kDescriptor),
    allow("getdents", 78, -1, kDescriptor),
    allow("getcwd", 79, 17, kWorkDir),
    allow("chdir", 80, 49, kWorkDir),
    allow("fchdir", 81, 50, kWorkDir),
    mediate("rename", 82, -1, Handler::Rename, "rename", kPinnedTwo),
    mediate("mkdir", 83, -1, Handler::Mkdir, "mkdir", kPinnedParent),
    mediate("rmdir", 84, -1, Handler::Rmdir, "rmdir", kPinnedParent),
    mediate("creat", 85, -1, Handler::Creat, "open", kOpened),
    mediate("link", 86, -1, Handler::Link, "link", kPinnedTwo),
    mediate("unlink", 87, -1, Handler::Unlink, "unlink", kPinnedParent),
    mediate("symlink", 88, -1, Handler::Symlink, "symlink", kPinnedSymlink),
    allow("readlink", 89, -1, kNames),
    mediate("chmod", 90, -1, Handler::Chmod, "chmod", kPinnedMode),
    mediate("fchmod", 91, 52, Handler::Fchmod, "chmod", kReadOnlyHandle),
    mediate("chown", 92, -1, Handler::Chown, "chown", kPinned),
    mediate("fchown", 93, 55, Handler::Fchown, "chown", kReadOnlyHandle),
    mediate("lchown", 94, -1, Handler::Chown, "chown", kPinned),
    allow("umask", 95, 166, kSelf),
    allow("gettimeofday", 96, 169, kSelf),
    allow("getrlimit", 97, 163, kAsks),
    allow("getrusage", 98, 165, kAsks),
    allow("sysinfo", 99, 179, kAsks),
    allow("times", 100, 153, kSelf),
    refuse("ptrace", 101, 117, "ptrace", EPERM, "control of other processes"),
    allow("getuid", 102, 174, kAsks),
    refuse("syslog", 103, 116, "syslog", EPERM, "messages of the kernel"),
    allow("getgid", 104, 176, kAsks),
    mediate("setuid", 105, 146, Handler::CredChange, "identity", kIdentity),
    mediate("setgid", 106, 144, Handler::CredChange, "identity", kIdentity),
    allow("geteuid", 107, 175, kAsks),
    allow("getegid", 108, 177, kAsks),
    mediate("setpgid", 109, 154, Handler::ProcessGroup, "process-group",
            "groups of the session's own, and the one it was started in"),
    allow("getppid", 110, 173, kAsks),
    allow("getpgrp", 111, -1, kAsks),
    allow("setsid", 112, 157, "a session of its own: leaves the terminal, not the mark of its run"),
    mediate("setreuid", 113, 145, Handler::CredChange, "identity", kIdentity),
    mediate("setregid", 114, 143, Handler::CredChange, "identity", kIdentity),
    allow("getgroups", 115, 158, kAsks),
    mediate("setgroups", 116, 159, Handler::CredChange, "identity", kIdentity),
    mediate("setresuid", 117, 147, Handler::CredChange, "identity", kIdentity),
    allow("getresuid", 118, 148, kAsks),
    mediate("setresgid", 119, 149, Handler::CredChange, "identity", kIdentity),
    allow("getresgid", 120, 150, kAsks),
    allow("getpgid", 121, 155, kAsksOthers),
    mediate("setfsuid", 122, 151, Handler::CredChange, "identity", kIdentity),
    mediate("setfsgid", 123, 152, Handler::CredChange, "identity", kIdentity),
    allow("getsid", 124, 156, kAsksOthers),
    allow("capget", 125, 90, kAsksOthers),
    mediate("capset", 126, 91, Handler::CredChange, "identity", kIdentity),
    allow("rt_sigpending", 127, 136, kSelf),
    allow("rt_sigtimedwait", 128, 137, kSelf),
    mediate("rt_sigqueueinfo", 129, 138, Handler::ProcessTarget, "signal", kSession),
    allow("rt_sigsuspend", 130, 133, kSelf),
    allow("sigaltstack", 131, 132, kSelf),
    mediate("utime", 132, -1, Handler::Utimes, "utimes", kPinned),
    mediate("mknod", 133, -1, Handler::Mknod, "mknod", kNode),
    refuse("uselib", 134, -1, "obsolete", ENOSYS, kObsolete),
    by_argument("personality", 135, 92, Handler::Refused, "personality",
                "only the query and the default; others change how programs are loaded (READ_IMPLIES_EXEC, "
                "no randomisation)"),
    allow("ustat", 136, -1, kAsks),
    allow("statfs", 137, 43, kNames),
    allow("fstatfs", 138, 44, kDescriptor),
    allow("sysfs", 139, -1, kAsks),
    allow("getpriority", 140, 141, kAsksOthers),
    by_argument("setpriority", 141, 140, Handler::ProcessTarget, "priority", kOther),
    by_argument("sched_setparam", 142, 118, Handler::ProcessTarget, "priority", kOther),
    allow("sched_getparam", 143, 121, kAsksOthers),
    by_argument("sched_setscheduler", 144, 119, Handler::ProcessTarget, "priority", kOther),
    allow("sched_getscheduler", 145, 120, kAsksOthers),
    allow("sched_get_priority_max", 146, 125, kAsks),
    allow("sched_get_priority_min", 147, 126, kAsks),
    allow("sched_rr_get_interval", 148, 127, kAsksOthers),
    allow("mlock", 149, 228, kMemory),
    allow("munlock", 150, 229, kMemory),
    allow("mlockall", 151, 230, kMemory),
    allow("munlockall", 152, 231, kMemory),
    refuse("vhangup", 153, 58, "vhangup", EPERM, "the terminal of others"),
    refuse("modify_ldt", 154, -1, "modify_ldt", ENOSYS, "segments for 32-bit code, which does not run here"),
    refuse("pivot_root", 155, 41, "mount", EPERM, kMount),
    refuse("_sysctl", 156, -1, "obsolete", ENOSYS, kObsolete),
    by_argument("prctl", 157, 167, Handler::Prctl, "prctl",
                "options that blind the supervisor, or undo what it set up, are refused"),
    allow("arch_prctl", 158, -1, "registers of the calling thread"),
    allow("adjtimex", 159, 171, kAdjust),
    by_argument("setrlimit", 160, 164, Handler::Refused, "prlimit",
                "RLIMIT_MSGQUEUE carries the mark of the session and is never changed"),
    refuse("chroot", 161, 51, "mount", EPERM, kMount),
    allow("sync", 162, 81, "flushes every file system: not mediated"),
    refuse("acct", 163, 89, "acct", EPERM, kMachine),
    refuse("settimeofday", 164, 170, "clock", EPERM, kMachine),
    refuse("mount", 165, 40, "mount", EPERM, kMount),
    refuse("umount2", 166, 39, "mount", EPERM, kMount),
    refuse("swapon", 167, 224, "swap", EPERM, kMachine),
    refuse("swapoff", 168, 225, "swap", EPERM, kMachine),
    refuse("reboot", 169, 142, "reboot", EPERM, kMachine),
    refuse("sethostname", 170, 161, "hostname", EPERM, kMachine),
    refuse("setdomainname", 171, 162, "hostname", EPERM, kMachine),
    refuse("iopl", 172, -1, "ports", EPERM, kHardware),
    refuse("ioperm", 173, -1, "ports", EPERM, kHardware),
    refuse("create_module", 174, -1, "module", ENOSYS, kObsolete),
    refuse("init_module", 175, 105, "module", EPERM, kKernel),
    refuse("delete_module", 176, 106, "module", EPERM, kKernel),
    refuse("get_kernel_syms", 177, -1, "module", ENOSYS, kObsolete),
    refuse("query_module", 178, -1, "module", ENOSYS, kObsolete),
    refuse("quotactl", 179, 60, "quota", EPERM, kMachine),
    refuse("nfsservctl", 180, 42, "obsolete", ENOSYS, kObsolete),
    refuse("getpmsg", 181, -1, "obsolete", ENOSYS, kObsolete),
    refuse("putpmsg", 182, -1, "obsolete", ENOSYS, kObsolete),
    refuse("afs_syscall", 183, -1, "obsolete", ENOSYS, kObsolete),
    refuse("tuxcall", 184, -1, "obsolete", ENOSYS, kObsolete),
    refuse("security", 185, -1, "obsolete", ENOSYS, kObsolete),
    allow("gettid", 186, 178, kAsks),
    allow("readahead", 187, 213, kDescriptor),
    mediate("setxattr", 188, 5, Handler::Xattr, "xattr", kPinnedAttribute),
    mediate("lsetxattr", 189, 6, Handler::Xattr, "xattr", kPinnedAttribute),
    mediate("fsetxattr", 190, 7, Handler::Fxattr, "xattr", kReadOnlyHandle),
    allow("getxattr", 191, 8, kNames),
    allow("lgetxattr", 192, 9, kNames),
    allow("fgetxattr", 193, 10, kDescriptor),
    allow("listxattr", 194, 11, kNames),
    allow("llistxattr", 195, 12, kNames),
    allow("flistxattr", 196, 13, kDescriptor),
    mediate("removexattr", 197, 14, Handler::Xattr, "xattr", kPinnedAttribute),
    mediate("lremovexattr", 198, 15, Handler::Xattr, "xattr", kPinnedAttribute),
    mediate("fremovexattr", 199, 16, Handler::Fxattr, "xattr", kReadOnlyHandle),
    mediate("tkill", 200, 130, Handler::ProcessTarget, "signal", kSession),
    allow("time", 201, -1, kSelf),
    allow("futex", 202, 98, kSelf),
    by_argument("sched_setaffinity", 203, 122, Handler::ProcessTarget, "priority", kOther),
    allow("sched_getaffinity", 204, 123, kAsksOthers),
    allow("set_thread_area", 205, -1, kSelf),
    allow("io_setup", 206, 0, kAio),
    allow("io_destroy", 207, 1, kAio),
    allow("io_getevents", 208, 4, kAio),
    allow("io_submit", 209, 2, kAio),
    allow("io_cancel", 210, 3, kAio),
    allow("get_thread_area", 211, -1, kSelf),
    refuse("lookup_dcookie", 212, 18, "dcookie", EPERM, "reveals paths"),
    allow("epoll_create", 213, -1, kDescriptor),
    refuse("epoll_ctl_old", 214, -1, "obsolete", ENOSYS, kObsolete),
    refuse("epoll_wait_old", 215, -1, "obsolete", ENOSYS, kObsolete),
    allow("remap_file_pages", 216, 234, kMemory),
    allow("getdents64", 217, 61, kDescriptor),
    allow("set_tid_address", 218, 96, kSelf),
    allow("restart_syscall", 219, 128, kSelf),
    refuse("semtimedop", 220, 192, "sysv-ipc", EACCES, kSysv),
    allow("fadvise64", 221, 223, kDescriptor),
    allow("timer_create", 222, 107, kSelf),
    allow("timer_settime", 223, 110, kSelf),
    allow("timer_gettime", 224, 108, kSelf),
    allow("timer_getoverrun", 225, 109, kSelf),
    allow("timer_delete", 226, 111, kSelf),
    refuse("clock_settime", 227, 112, "clock", EPERM, kMachine),
    allow("clock_gettime", 228, 113, kSelf),
    allow("clock_getres", 229, 114, kSelf),
    allow("clock_nanosleep", 230, 115, kSelf),
    mediate("exit_group", 231, 94, Handler::ExitGroup, "exit", kExit),
    allow("epoll_wait", 232, -1, kDescriptor),
    allow("epoll_ctl", 233, 21, kDescriptor),
    mediate("tgkill", 234, 131, Handler::ProcessTarget, "signal", kSession),
    mediate("utimes", 235, -1, Handler::Utimes, "utimes", kPinned),
    refuse("vserver", 236, -1, "obsolete", ENOSYS, kObsolete),
    allow("mbind", 237, 235, kMemory),
    allow("set_mempolicy", 238, 237, kMemory),
    allow("get_mempolicy", 239, 236, kMemory),
    refuse("mq_open", 240, 180, "mqueue", EACCES, kQueue),
    refuse("mq_unlink", 241, 181, "mqueue", EACCES, kQueue),
    allow("mq_timedsend", 242, 182, kDescriptor),
    allow("mq_timedreceive", 243, 183, kDescriptor),
    allow("mq_notify", 244, 184, kDescriptor),
    allow("mq_getsetattr", 245, 185, kDescriptor),
    refuse("kexec_load", 246, 104, "reboot", EPERM, kMachine),
    allow("waitid", 247, 95, kProcesses),
    refuse("add_key", 248, 217, "keyring", ENOSYS, kKeys),
    refuse("request_key", 249, 218, "keyring", ENOSYS, kKeys),
    refuse("keyctl", 250, 219, "keyring", ENOSYS, kKeys),
    by_argument("ioprio_set", 251, 30, Handler::ProcessTarget, "priority", kOther),
    allow("ioprio_get", 252, 31, kAsksOthers),
    allow("inotify_init", 253, -1, kDescriptor),
    mediate("inotify_add_watch", 254, 27, Handler::InotifyAddWatch, "watch", kPinned),
    allow("inotify_rm_watch", 255, 28, kDescriptor),
    by_argument("migrate_pages", 256, 238, Handler::Refused, "move-pages", kOtherRefused),
    mediate("openat", 257, 56, Handler::Openat, "open", kOpened),
    mediate("mkdirat", 258, 34, Handler::Mkdir, "mkdir", kPinnedParent),
    mediate("mknodat", 259, 33, Handler::Mknod, "mknod", kNode),
    mediate("fchownat", 260, 54, Handler::Chown, "chown", kPinned),
    mediate("futimesat", 261, -1, Handler::Utimes, "utimes", kPinned),
    allow("newfstatat", 262, 79, kNames),
    mediate("unlinkat", 263, 35, Handler::Unlink, "unlink", kPinnedParent),
    mediate("renameat", 264, 38, Handler::Rename, "rename", kPinnedTwo),
    mediate("linkat", 265, 37, Handler::Link, "link", kPinnedTwo),
    mediate("symlinkat", 266, 36, Handler::Symlink, "symlink", kPinnedSymlink),
    allow("readlinkat", 267, 78, kNames),
    mediate("fchmodat", 268, 53, Handler::Chmod, "chmod", kPinnedMode),
    allow("faccessat", 269, 48, kNames),
    allow("pselect6", 270, 72, kDescriptor),
    allow("ppoll", 271, 73, kDescriptor),
    by_argument("unshare", 272, 97, Handler::Refused, "namespace",
                "only CLONE_FILES, CLONE_FS and CLONE_SYSVSEM"),
    allow("set_robust_list", 273, 99, kSelf),
    by_argument("get_robust_list", 274, 100, Handler::Refused, "process-memory", kOtherRefused),
    allow("splice", 275, 76, kDescriptor),
    allow("tee", 276, 77, kDescriptor),
    allow("sync_file_range", 277, 84, kDescriptor),
    allow("vmsplice", 278, 75, kDescriptor),
    by_argument("move_pages", 279, 239, Handler::Refused, "move-pages", kOtherRefused),
    mediate("utimensat", 280, 88, Handler::Utimes, "utimes", kPinned),
    allow("epoll_pwait", 281, 22, kDescriptor),
    allow("signalfd", 282, -1, kDescriptor),
    allow("timerfd_create", 283, 85, kDescriptor),
    allow("eventfd", 284, -1, kDescriptor),
    allow("fallocate", 285, 47, kDescriptor),
    allow("timerfd_settime", 286, 86, kDescriptor),
    allow("timerfd_gettime", 287, 87, kDescriptor),
    allow("accept4", 288, 242,
          "connections to a socket whose bind and listen were judged; who connects is not"),
    allow("signalfd4", 289, 74, kDescriptor),
    allow("eventfd2", 290, 19, kDescriptor),
    allow("epoll_create1", 291, 20, kDescriptor),
    allow("dup3", 292, 24, kDescriptor),
    allow("pipe2", 293, 59, kDescriptor),
    allow("inotify_init1", 294, 26, kDescriptor),
    allow("preadv", 295, 69, kDescriptor),
    allow("pwritev", 296, 70, kDescriptor),
    mediate("rt_tgsigqueueinfo", 297, 240, Handler::ProcessTarget, "signal", kSession),
    refuse("perf_event_open", 298, 241, "perf", EACCES, "watches other processes and the kernel"),
    allow("recvmmsg", 299, 243,
          "acts on a descriptor that was judged when it was made; descriptors that a peer sends (SCM_RIGHTS) "
          "are not judged"),
    refuse("fanotify_init", 300, 262, "fanotify", EPERM, kFanotify),
    refuse("fanotify_mark", 301, 263, "fanotify", EPERM, kFanotify),
    by_argument("prlimit64", 302, 261, Handler::ProcessTarget, "prlimit",
                "held for another process's limits; RLIMIT_MSGQUEUE carries the mark of the session and is "
                "never changed"),
    refuse("name_to_handle_at", 303, 264, "name_to_handle", EOPNOTSUPP, "of use for open_by_handle_at alone"),
    refuse("open_by_handle_at", 304, 265, "open_by_handle", EPERM, "opens a file that was never named"),
    allow("clock_adjtime", 305, 266, kAdjust),
    allow("syncfs", 306, 267, kDescriptor),
    mediate("sendmmsg", 307, 269, Handler::Sendmmsg, "send", kCopied),
    refuse("setns", 308, 268, "namespace", EPERM, "enters the namespaces of others"),
    allow("getcpu", 309, 168, kAsks),
    refuse("process_vm_readv", 310, 270, "process-memory", EPERM, kForeignMemory),
    refuse("process_vm_writev", 311, 271, "process-memory", EPERM, kForeignMemory),
    refuse("kcmp", 312, 272, "kcmp", EPERM, "compares kernel objects of other processes"),
    refuse("finit_module", 313, 273, "module", EPERM, kKernel),
    by_argument("sched_setattr", 314, 274, Handler::ProcessTarget, "priority", kOther),
    allow("sched_getattr", 315, 275, kAsksOthers),
    mediate("renameat2", 316, 276, Handler::Rename, "rename", kPinnedTwo),
    by_argument(
        "seccomp", 317, 277, Handler::Refused, "seccomp",
        "filters of its own can only narrow; a listener of its own would compete with the supervisor"),
    allow("getrandom", 318, 278, kAsks),
    allow("memfd_create", 319, 279, "memory of the plugin itself; executing or mapping it as code is judged"),
    refuse("kexec_file_load", 320, 294, "reboot", EPERM, kMachine),
    refuse("bpf", 321, 280, "bpf", EPERM, "programs in the kernel"),
    mediate("execveat", 322, 281, Handler::Execveat, "exec", kVerified),
    refuse("userfaultfd", 323, 282, "userfaultfd", EPERM,
           "would let the plugin stall whoever reads its memory, the supervisor first"),
    allow("membarrier", 324, 283, kMemory),
    allow("mlock2", 325, 284, kMemory),
    allow("copy_file_range", 326, 285, kDescriptor),
    allow("preadv2", 327, 286, kDescriptor),
    allow("pwritev2", 328, 287, kDescriptor),
    allow("pkey_mprotect", 329, 288,
          "memory of the plugin itself; memory made executable this way is not judged, see the threat model"),
    allow("pkey_alloc", 330, 289, kMemory),
    allow("pkey_free", 331, 290, kMemory),
    allow("statx", 332, 291, kNames),
    allow("io_pgetevents", 333, 292, kAio),
    allow("rseq", 334, 293, kSelf),
    allow("uretprobe", 335, -1, kUprobe),
    allow("uprobe", 336, -1, kUprobe),
    mediate("pidfd_send_signal", 424, 424, Handler::ProcessTarget, "signal", kSession),
    refuse("io_uring_setup", 425, 425, "io_uring", ENOSYS, kUring),
    refuse("io_uring_enter", 426, 426, "io_uring", ENOSYS, kUring),
    refuse("io_uring_register", 427, 427, "io_uring", ENOSYS, kUring),
    refuse("open_tree", 428, 428, "mount", EPERM, kMount),
    refuse("move_mount", 429, 429, "mount", EPERM, kMount),
    refuse("fsopen", 430, 430, "mount", EPERM, kMount),
    refuse("fsconfig", 431, 431, "mount", EPERM, kMount),
    refuse("fsmount", 432, 432, "mount", EPERM, kMount),
    refuse("fspick", 433, 433, "mount", EPERM, kMount),
    allow("pidfd_open", 434, 434,
          "a handle to wait with; what it could be used for otherwise is judged or refused there"),
    absent("clone3", 435, 435, "clone3", ENOSYS,
           "its flags are behind a pointer; callers fall back to clone(2)"),
    allow("close_range", 436, 436, kDescriptor),
    mediate("openat2", 437, 437, Handler::Openat2, "open",
            "performed by the supervisor on a pinned object; RESOLVE_* limits are kept"),
    refuse("pidfd_getfd", 438, 438, "pidfd_getfd", EPERM, "descriptors of other processes"),
    allow("faccessat2", 439, 439, kNames),
    refuse("process_madvise", 440, 440, "process-memory", EPERM, kForeignMemory),
    allow("epoll_pwait2", 441, 441, kDescriptor),
    refuse("mount_setattr", 442, 442, "mount", EPERM, kMount),
    refuse("quotactl_fd", 443, 443, "quota", EPERM, kMachine),
    absent("landlock_create_ruleset", 444, 444, "landlock", EOPNOTSUPP, kOwnLandlock),
    absent("landlock_add_rule", 445, 445, "landlock", EOPNOTSUPP, kOwnLandlock),
    absent("landlock_restrict_self", 446, 446, "landlock", EOPNOTSUPP, kOwnLandlock),
    refuse("memfd_secret", 447, 447, "memfd_secret", ENOSYS, "memory that the supervisor cannot read"),
    refuse("process_mrelease", 448, 448, "process-memory", EPERM, kForeignMemory),
    allow("futex_waitv", 449, 449, kSelf),
    allow("set_mempolicy_home_node", 450, 450, kMemory),
    allow("cachestat", 451, 451, "acts on a descriptor; tells what is in the page cache"),
    mediate("fchmodat2", 452, 452, Handler::Chmod, "chmod", kPinnedMode),
    allow("map_shadow_stack", 453, 453, kMemory),
    allow("futex_wake", 454, 454, kSelf),
    allow("futex_wait", 455, 455, kSelf),
    allow("futex_requeue", 456, 456, kSelf),
    allow("statmount", 457, 457, kNames),
    allow("listmount", 458, 458, kNames),
    allow("lsm_get_self_attr", 459, 459, kAsks),
    refuse("lsm_set_self_attr", 460, 460, "lsm", EPERM, "changes the security label"),
    allow("lsm_list_modules", 461, 461, kAsks),
    allow("mseal", 462, 462, kMemory),
    mediate("setxattrat", 463, 463, Handler::Xattr, "xattr", kPinnedAttribute),
    allow("getxattrat", 464, 464, kNames),
    allow("listxattrat", 465, 465, kNames),
    mediate("removexattrat", 466, 466, Handler::Xattr, "xattr", kPinnedAttribute),
    refuse("open_tree_attr", 467, 467, "mount", EPERM, kMount),
    allow("file_getattr", 468, 468, kNames),
    refuse("file_setattr", 469, 469, "inode-flags", EOPNOTSUPP,
           "immutable and append-only flags, project ids: changes a file without opening it for writing"),
    refuse("listns", 470, 470, "namespace", ENOSYS, "lists the namespaces of other processes"),
    allow("rseq_slice_yield", 471, 471, kSelf),
};

constexpr std::size_t kNumbers = 512;

// Number -> row: one load on the hot path.
constexpr auto kByNumber = [] {
  std::array<const SyscallRow*, kNumbers> index{};
  for (const SyscallRow& row : kTable) {
    const int number = native_number(row);
    if (number >= 0) index[static_cast<std::size_t>(number)] = &row;
  }
  return index;
}();

}  // namespace

std::span<const SyscallRow> syscall_table() { return kTable; }

const SyscallRow* find_syscall(int number) {
  if (number < 0 || static_cast<std::size_t>(number) >= kNumbers) return nullptr;
  return kByNumber[static_cast<std::size_t>(number)];
}

}  // namespace secbox::broker
