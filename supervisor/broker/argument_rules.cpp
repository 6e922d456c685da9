#include "supervisor/broker/argument_rules.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <linux/msdos_fs.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace secbox::broker {

namespace {

constexpr std::uint64_t kInt = 0xffffffff;
constexpr std::uint64_t kWord = ~std::uint64_t{0};

constexpr ArgumentTest is(unsigned argument, std::uint64_t value, std::uint64_t mask = kInt) {
  return {argument, mask, value & mask};
}
constexpr ArgumentTest all_set(unsigned argument, std::uint64_t bits) { return {argument, bits, bits}; }
constexpr ArgumentTest all_clear(unsigned argument, std::uint64_t bits) { return {argument, bits, 0}; }
constexpr ArgumentTest null(unsigned argument) { return {argument, kWord, 0}; }

constexpr ArgumentClause allow(std::array<ArgumentTest, 3> tests, std::string_view note) {
  return {tests, Verdict::Allow, 0, note};
}
constexpr ArgumentClause hold(std::array<ArgumentTest, 3> tests, std::string_view note) {
  return {tests, Verdict::Hold, 0, note};
}
constexpr ArgumentClause refuse(std::array<ArgumentTest, 3> tests, int deny_errno, std::string_view note) {
  return {tests, Verdict::Refuse, deny_errno, note};
}

using Tests = std::array<ArgumentTest, 3>;
constexpr Tests kOtherwise{};

// ---- memory ----
constexpr ArgumentClause kMmap[] = {
    allow({all_clear(2, PROT_EXEC)}, "not executable"),
    allow({all_set(3, MAP_ANONYMOUS)}, "memory of its own; any memory can be made executable later"),
    hold(kOtherwise, "code from a file"),
};

// ---- processes ----
// CLONE_NEWTIME is not among them: in clone(2) its bit is part of the exit signal.
constexpr std::uint64_t kForeignFamily = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                         CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_PARENT;
constexpr ArgumentClause kClone[] = {
    allow({all_clear(0, kForeignFamily)}, "a thread or child of its own"),
    refuse(kOtherwise, EPERM, "a new namespace, or a child given to the host (CLONE_PARENT)"),
};
constexpr std::uint64_t kUnshareable = CLONE_FILES | CLONE_FS | CLONE_SYSVSEM;
constexpr ArgumentClause kUnshare[] = {
    allow({all_clear(0, kInt & ~kUnshareable)}, "descriptors and working directory of a thread"),
    refuse(kOtherwise, EPERM, "a new namespace"),
};
constexpr ArgumentClause kPersonality[] = {
    allow({is(0, 0)}, "the default"),
    allow({is(0, kInt)}, "asks"),
    refuse(kOtherwise, EPERM, "changes how programs are loaded"),
};
constexpr ArgumentClause kPrctl[] = {
    hold({is(0, kHelloPrctl)}, "the shim announces itself"),
    hold({is(0, PR_CAPBSET_DROP)}, "noted: what the thread executes has less than the supervisor"),
    refuse({is(0, PR_SET_PTRACER)}, EPERM, "lets other processes attach"),
    refuse({is(0, PR_SET_MM)}, EPERM, "changes what /proc tells about the program"),
    refuse({is(0, PR_SET_SECUREBITS)}, EPERM, "changes what a change of identity means"),
    refuse({is(0, PR_SCHED_CORE)}, EPERM, "names other processes"),
    {{is(0, PR_SET_DUMPABLE), null(1)},
     Verdict::Answer,
     0,
     "would hide the process from the supervisor",
     Applies::WhenBlindable},
    allow(kOtherwise, "settings of the caller"),
};
constexpr ArgumentClause kSeccomp[] = {
    refuse({is(0, SECCOMP_SET_MODE_FILTER), all_set(1, SECCOMP_FILTER_FLAG_NEW_LISTENER)}, EBUSY,
           "a listener of its own: the kernel has one a process, and it is ours"),
    allow(kOtherwise, "filters can only narrow: of two answers the stricter one holds"),
};
constexpr ArgumentClause kPrlimit64[] = {
    allow({null(2)}, "asks"),
    refuse({is(1, RLIMIT_MSGQUEUE)}, EPERM, "the mark of the session"),
    allow({is(0, 0)}, "limits of the caller"),
    hold(kOtherwise, "limits of a process named by number"),
};
constexpr ArgumentClause kSetrlimit[] = {
    refuse({is(0, RLIMIT_MSGQUEUE)}, EPERM, "the mark of the session"),
    allow(kOtherwise, "limits of the caller"),
};
constexpr ArgumentClause kSetpriority[] = {
    allow({is(0, PRIO_PROCESS), is(1, 0)}, "the caller"),
    hold(kOtherwise, "a process, group or user named by number"),
};
// include/uapi/linux/ioprio.h, which is no C++.
constexpr std::uint64_t kIoprioWhoProcess = 1;
constexpr ArgumentClause kIoprioSet[] = {
    allow({is(0, kIoprioWhoProcess), is(1, 0)}, "the caller"),
    hold(kOtherwise, "a process, group or user named by number"),
};
constexpr ArgumentClause kHoldOthers[] = {
    allow({is(0, 0)}, "the caller"),
    hold(kOtherwise, "a process named by number"),
};
constexpr ArgumentClause kRefuseOthers[] = {
    allow({is(0, 0)}, "the caller"),
    refuse(kOtherwise, EPERM, "a process named by number"),
};

// ---- descriptors ----
constexpr ArgumentClause kFcntl[] = {
    hold({is(1, F_SETOWN)}, "chooses whom SIGIO and SIGURG reach"),
    hold({is(1, F_SETOWN_EX)}, "chooses whom SIGIO and SIGURG reach"),
    allow(kOtherwise, "acts on the descriptor"),
};
// TIOCLINUX speaks to the console (include/uapi/asm-generic/ioctls.h, hidden from some libc headers).
constexpr std::uint64_t kTioclinux = 0x541c;
// Requests of btrfs have the type byte 0x94; the three clone and dedupe requests of every file system have it
// too.
constexpr std::uint64_t kTypeByte = 0xff00;
constexpr ArgumentClause kIoctl[] = {
    refuse({is(1, TIOCSTI)}, EPERM, "pushes input into a terminal"),
    refuse({is(1, kTioclinux)}, EPERM, "pastes into the console"),
    refuse({is(1, TIOCCONS)}, EPERM, "takes the console's output"),
    refuse({is(1, TIOCSETD)}, EPERM, "changes a terminal's line discipline, which loads kernel modules"),
    refuse({is(1, FIOSETOWN)}, EPERM, "chooses whom SIGIO and SIGURG reach; fcntl(F_SETOWN) is judged"),
    refuse({is(1, SIOCSPGRP)}, EPERM, "chooses whom SIGIO and SIGURG reach; fcntl(F_SETOWN) is judged"),
    // Changes to a file that need no more than a descriptor opened for reading.
    refuse({is(1, FS_IOC_SETFLAGS)}, EPERM, "inode flags"),
    refuse({is(1, FS_IOC32_SETFLAGS)}, EPERM, "inode flags"),
    refuse({is(1, FS_IOC_FSSETXATTR)}, EPERM, "inode flags"),
    refuse({is(1, FS_IOC_SETVERSION)}, EPERM, "inode generation"),
    refuse({is(1, FS_IOC32_SETVERSION)}, EPERM, "inode generation"),
    refuse({is(1, FAT_IOCTL_SET_ATTRIBUTES)}, EPERM, "inode flags"),
    refuse({is(1, FS_IOC_ENABLE_VERITY)}, EPERM, "makes a file immutable for good"),
    refuse({is(1, FS_IOC_SET_ENCRYPTION_POLICY)}, EPERM, "encryption of a directory"),
    refuse({is(1, FS_IOC_ADD_ENCRYPTION_KEY)}, EPERM, "keys of a file system"),
    refuse({is(1, FS_IOC_REMOVE_ENCRYPTION_KEY)}, EPERM, "keys of a file system"),
    allow({is(1, FICLONE)}, "copies between descriptors that it holds"),
    allow({is(1, FICLONERANGE)}, "copies between descriptors that it holds"),
    allow({is(1, FIDEDUPERANGE)}, "shares equal blocks between descriptors that it holds"),
    refuse({is(1, std::uint64_t{BTRFS_IOCTL_MAGIC} << 8, kTypeByte)}, ENOTTY,
           "btrfs makes and deletes subvolumes through a directory opened for reading"),
    allow(kOtherwise,
          "acts on the descriptor; Landlock (ABI 5) limits devices; what is left needs a capability"),
};

// ---- sockets ----
constexpr std::uint64_t kKind = 0xf;  // SOCK_NONBLOCK and SOCK_CLOEXEC are above
constexpr std::string_view kForeignProtocol =
    "a transport whose peers cannot be judged (MPTCP, SCTP, ICMP, UDP-Lite)";
constexpr std::string_view kRawSocket = "raw packets have no address to judge";
constexpr std::string_view kForeignKind = "a kind of socket whose peers cannot be judged";
constexpr ArgumentClause kSocket[] = {
    allow({is(0, AF_UNIX), is(1, SOCK_STREAM, kKind)}, "unix"),
    allow({is(0, AF_UNIX), is(1, SOCK_DGRAM, kKind)}, "unix"),
    allow({is(0, AF_UNIX), is(1, SOCK_SEQPACKET, kKind)}, "unix"),
    allow({is(0, AF_INET), is(1, SOCK_STREAM, kKind), is(2, 0)}, "TCP"),
    allow({is(0, AF_INET), is(1, SOCK_STREAM, kKind), is(2, IPPROTO_TCP)}, "TCP"),
    allow({is(0, AF_INET), is(1, SOCK_DGRAM, kKind), is(2, 0)}, "UDP"),
    allow({is(0, AF_INET), is(1, SOCK_DGRAM, kKind), is(2, IPPROTO_UDP)}, "UDP"),
    allow({is(0, AF_INET6), is(1, SOCK_STREAM, kKind), is(2, 0)}, "TCP"),
    allow({is(0, AF_INET6), is(1, SOCK_STREAM, kKind), is(2, IPPROTO_TCP)}, "TCP"),
    allow({is(0, AF_INET6), is(1, SOCK_DGRAM, kKind), is(2, 0)}, "UDP"),
    allow({is(0, AF_INET6), is(1, SOCK_DGRAM, kKind), is(2, IPPROTO_UDP)}, "UDP"),
    // Libraries that try MPTCP first fall back to TCP on this errno.
    refuse({is(0, AF_INET), is(1, SOCK_STREAM, kKind)}, EPROTONOSUPPORT, kForeignProtocol),
    refuse({is(0, AF_INET), is(1, SOCK_DGRAM, kKind)}, EPROTONOSUPPORT, kForeignProtocol),
    refuse({is(0, AF_INET6), is(1, SOCK_STREAM, kKind)}, EPROTONOSUPPORT, kForeignProtocol),
    refuse({is(0, AF_INET6), is(1, SOCK_DGRAM, kKind)}, EPROTONOSUPPORT, kForeignProtocol),
    refuse({is(0, AF_INET), is(1, SOCK_RAW, kKind)}, EPERM, kRawSocket),
    refuse({is(0, AF_INET6), is(1, SOCK_RAW, kKind)}, EPERM, kRawSocket),
    // SOCK_SEQPACKET with protocol 0 is SCTP where its module is loaded.
    refuse({is(0, AF_INET)}, ESOCKTNOSUPPORT, kForeignKind),
    refuse({is(0, AF_INET6)}, ESOCKTNOSUPPORT, kForeignKind),
    refuse({is(0, AF_UNIX)}, EPERM, kForeignKind),
    // Names and addresses of the host's interfaces: getifaddrs(3), getaddrinfo(3).
    allow({is(0, AF_NETLINK), is(1, SOCK_RAW, kKind), is(2, NETLINK_ROUTE)},
          "asks for routes; changes need a capability"),
    allow({is(0, AF_NETLINK), is(1, SOCK_DGRAM, kKind), is(2, NETLINK_ROUTE)},
          "asks for routes; changes need a capability"),
    refuse({is(0, AF_NETLINK)}, EPROTONOSUPPORT, "other services of the kernel"),
    refuse(kOtherwise, EAFNOSUPPORT, "an address family that cannot be judged"),
};
constexpr ArgumentClause kSocketpair[] = {
    allow({is(0, AF_UNIX)}, "unix"),
    refuse(kOtherwise, EOPNOTSUPP, "an address family that cannot be judged"),
};
// A source route sends packets to its own first hop, not to the address that was judged. IP_OPTIONS needs
// CAP_NET_RAW for it on new kernels only, segment routing by IPV6_RTHDR on none.
constexpr std::string_view kSourceRoute = "a source route leads packets past the address that was judged";
// include/uapi/linux/in6.h, which cannot stand beside netinet/in.h.
constexpr std::uint64_t kIpv6FlowlabelMgr = 32;
constexpr ArgumentClause kSetsockopt[] = {
    allow({is(1, IPPROTO_IP), is(2, IP_OPTIONS), is(4, 0)}, "clears them, as servers do"),
    refuse({is(1, IPPROTO_IP), is(2, IP_OPTIONS)}, EPERM, kSourceRoute),
    refuse({is(1, IPPROTO_IPV6), is(2, IPV6_RTHDR)}, EPERM, kSourceRoute),
    refuse({is(1, IPPROTO_IPV6), is(2, IPV6_2292RTHDR)}, EPERM, kSourceRoute),
    refuse({is(1, IPPROTO_IPV6), is(2, IPV6_2292PKTOPTIONS)}, EPERM, kSourceRoute),
    // A label may bring routing headers along, which every packet that bears it then has.
    refuse({is(1, IPPROTO_IPV6), is(2, kIpv6FlowlabelMgr)}, EPERM, kSourceRoute),
    allow(kOtherwise, "acts on the socket"),
};
constexpr ArgumentClause kSendto[] = {
    hold({all_set(3, MSG_FASTOPEN)}, "connects and sends in one"),
    allow({null(4)}, "goes where connect(2) was judged"),
    hold(kOtherwise, "has an address"),
};

constexpr ArgumentRules kRules[] = {
    {"mmap", kMmap},
    {"ioctl", kIoctl},
    {"fcntl", kFcntl},
    {"socket", kSocket},
    {"socketpair", kSocketpair},
    {"setsockopt", kSetsockopt},
    {"sendto", kSendto},
    {"clone", kClone},
    {"unshare", kUnshare},
    {"personality", kPersonality},
    {"prctl", kPrctl},
    {"seccomp", kSeccomp},
    {"prlimit64", kPrlimit64},
    {"setrlimit", kSetrlimit},
    {"setpriority", kSetpriority},
    {"ioprio_set", kIoprioSet},
    {"sched_setparam", kHoldOthers},
    {"sched_setscheduler", kHoldOthers},
    {"sched_setaffinity", kHoldOthers},
    {"sched_setattr", kHoldOthers},
    {"migrate_pages", kRefuseOthers},
    {"move_pages", kRefuseOthers},
    {"get_robust_list", kRefuseOthers},
};

// A row of class Refuse for every refusing clause, made once: handlers and records see nothing new.
class RefusedRows {
 public:
  RefusedRows() {
    for (const ArgumentRules& rules : kRules) {
      const auto table = syscall_table();
      const auto row = std::find_if(table.begin(), table.end(),
                                    [&](const SyscallRow& entry) { return entry.name == rules.syscall; });
      for (const ArgumentClause& clause : rules.clauses) {
        SyscallRow refused = *row;
        refused.call_class = CallClass::Refuse;
        refused.handler = Handler::Refused;
        refused.deny_errno = clause.deny_errno;
        refused.note = clause.note;
        rows_.push_back(refused);
      }
    }
  }
  [[nodiscard]] const SyscallRow* at(std::size_t rules, std::size_t clause) const {
    std::size_t index = clause;
    for (std::size_t i = 0; i < rules; ++i) index += kRules[i].clauses.size();
    return &rows_[index];
  }

 private:
  std::vector<SyscallRow> rows_;
};

}  // namespace

std::span<const ArgumentRules> argument_rules() { return kRules; }

std::span<const ArgumentClause> clauses_of(const SyscallRow& row) {
  if (row.call_class != CallClass::Argument) return {};
  const auto rules = std::find_if(std::begin(kRules), std::end(kRules),
                                  [&](const ArgumentRules& entry) { return entry.syscall == row.name; });
  return rules == std::end(kRules) ? std::span<const ArgumentClause>{} : rules->clauses;
}

bool holds(const ArgumentClause& clause, const CallArguments& arguments) {
  return std::all_of(clause.tests.begin(), clause.tests.end(), [&](const ArgumentTest& test) {
    return (arguments[test.argument] & test.mask) == test.value;
  });
}

const SyscallRow* row_of_call(int number, const CallArguments& arguments) {
  const SyscallRow* row = find_syscall(number);
  if (row == nullptr || row->call_class != CallClass::Argument) return row;
  static const RefusedRows refused;
  for (std::size_t i = 0; i < std::size(kRules); ++i) {
    if (kRules[i].syscall != row->name) continue;
    const std::span<const ArgumentClause> clauses = kRules[i].clauses;
    for (std::size_t j = 0; j < clauses.size(); ++j) {
      if (!holds(clauses[j], arguments)) continue;
      return clauses[j].verdict == Verdict::Refuse ? refused.at(i, j) : row;
    }
  }
  return row;
}

}  // namespace secbox::broker
