// The program, run in user space over every number, ABI and class of arguments, and a few calls on the real
// kernel.
#include "supervisor/launch/filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/broker/argument_rules.h"
#include "supervisor/broker/syscall_table.h"
#include "tests/support/bpf_evaluator.h"

namespace secbox::launch {
namespace {

using broker::CallArguments;
using broker::CallClass;
using broker::SyscallRow;
using broker::Verdict;

using broker::Architecture;

constexpr std::uint32_t audit_arch(Architecture architecture) {
  return architecture == Architecture::X86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64;
}
constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kHold = SECCOMP_RET_USER_NOTIF;
constexpr std::uint32_t kKill = SECCOMP_RET_KILL_PROCESS;
constexpr std::uint32_t error_answer(int error) {
  return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error);
}

constexpr FilterOptions kEveryProgram[] = {
    {.can_read_undumpable = false, .architecture = Architecture::X86_64},
    {.can_read_undumpable = true, .architecture = Architecture::X86_64},
    {.can_read_undumpable = false, .architecture = Architecture::Aarch64},
    {.can_read_undumpable = true, .architecture = Architecture::Aarch64}};
constexpr std::uint32_t kNumbers = 1024;  // no architecture has as many

std::uint32_t answer_as(const FilterOptions& options, std::uint32_t arch, std::uint32_t number,
                        const CallArguments& arguments) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = arch;
  data.instruction_pointer = 0x400000;
  std::copy(arguments.begin(), arguments.end(), data.args);
  const auto result = test::evaluate(filter_program(options), data);
  EXPECT_TRUE(result.has_value()) << "the program goes astray at number " << number;
  return result.value_or(0xdeadbeef);
}

std::uint32_t answer_to(const FilterOptions& options, std::uint32_t number, const CallArguments& arguments) {
  return answer_as(options, audit_arch(options.architecture), number, arguments);
}

// By the table alone, not by the index that the program is made from.
const SyscallRow* row_on(Architecture architecture, std::uint32_t number) {
  const auto table = broker::syscall_table();
  const auto row = std::find_if(table.begin(), table.end(), [&](const SyscallRow& entry) {
    return broker::number_on(architecture, entry) == static_cast<int>(number);
  });
  return row == table.end() ? nullptr : &*row;
}

const SyscallRow& row_named(std::string_view name) {
  const auto table = broker::syscall_table();
  return *std::find_if(table.begin(), table.end(), [&](const auto& row) { return row.name == name; });
}

const CallArguments kPatterns[] = {{},
                                   {1, 2, 3, 4, 5, 6},
                                   {~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL},
                                   {0x100000000, 0x200000000, 0, 0, 0, 0},
                                   {broker::kHelloPrctl, 0, 0, 0, 0, 0}};

TEST(Filter, AnswersEveryNumberAsItsRowSays) {
  for (const FilterOptions& options : kEveryProgram) {
    for (std::uint32_t number = 0; number < kNumbers; ++number) {
      const SyscallRow* row = row_on(options.architecture, number);
      for (const CallArguments& arguments : kPatterns) {
        const std::uint32_t got = answer_to(options, number, arguments);
        if (row == nullptr) {
          EXPECT_EQ(got, kHold) << number;
        } else if (row->call_class == CallClass::Allow) {
          EXPECT_EQ(got, kAllow) << row->name;
        } else if (row->call_class == CallClass::Absent) {
          EXPECT_EQ(got, error_answer(row->deny_errno)) << row->name;
        } else if (row->call_class != CallClass::Argument) {
          EXPECT_EQ(got, kHold) << row->name;
        }
      }
    }
  }
}

TEST(Filter, HoldsNumbersThatNoTableHas) {
  for (const FilterOptions& options : kEveryProgram) {
    for (const std::uint32_t number : {kNumbers, 0xffffU, 0x10000U, 0x3fffffffU}) {
      for (const CallArguments& arguments : kPatterns)
        EXPECT_EQ(answer_to(options, number, arguments), kHold) << number;
    }
  }
}

TEST(Filter, HoldsNegativeNumbers) {
  for (const FilterOptions& options : kEveryProgram) {
    for (const CallArguments& arguments : kPatterns) {
      for (std::uint32_t number = 0; number < kNumbers; ++number) {
        EXPECT_EQ(answer_to(options, 0x80000000U | number, arguments), kHold) << number;
        EXPECT_EQ(answer_to(options, 0xc0000000U | number, arguments), kHold) << number;
      }
      EXPECT_EQ(answer_to(options, 0xffffffffU, arguments), kHold);
    }
  }
}

TEST(Filter, KillsX32WhereThereIsOne) {
  for (const FilterOptions& options : kEveryProgram) {
    const bool x86_64 = options.architecture == Architecture::X86_64;
    for (const CallArguments& arguments : kPatterns) {
      for (std::uint32_t number = 0; number < kNumbers; ++number)
        EXPECT_EQ(answer_to(options, 0x40000000U | number, arguments), x86_64 ? kKill : kHold) << number;
      EXPECT_EQ(answer_to(options, 0x7fffffffU, arguments), x86_64 ? kKill : kHold);
    }
  }
}

TEST(Filter, KillsEveryOtherArchitecture) {
  for (const FilterOptions& options : kEveryProgram) {
    for (const std::uint32_t arch :
         {std::uint32_t{AUDIT_ARCH_I386}, std::uint32_t{AUDIT_ARCH_X86_64}, std::uint32_t{AUDIT_ARCH_AARCH64},
          std::uint32_t{AUDIT_ARCH_ARM}, std::uint32_t{AUDIT_ARCH_RISCV64}, 0U, ~0U}) {
      if (arch == audit_arch(options.architecture)) continue;
      for (std::uint32_t number = 0; number < kNumbers; ++number)
        EXPECT_EQ(answer_as(options, arch, number, {}), kKill) << number;
      for (const std::uint32_t number : {0x40000000U, 0x80000000U, 0xffffffffU})
        EXPECT_EQ(answer_as(options, arch, number, {}), kKill) << number;
    }
  }
}

// What the clauses say, evaluated one by one.
std::uint32_t by_the_clauses(const broker::ArgumentRules& rules, const FilterOptions& options,
                             const CallArguments& arguments) {
  for (const auto& clause : rules.clauses) {
    if (clause.applies == broker::Applies::WhenBlindable && options.can_read_undumpable) continue;
    if (!broker::holds(clause, arguments)) continue;
    return clause.verdict == Verdict::Allow    ? kAllow
           : clause.verdict == Verdict::Answer ? error_answer(clause.deny_errno)
                                               : kHold;
  }
  return kHold;
}

// Each constant that a clause names for the argument: alone, with every other bit, off by one, as its
// complement, and with noise in the half that an int has not.
std::vector<std::uint64_t> values_near(const broker::ArgumentRules& rules, unsigned argument) {
  std::set<std::uint64_t> values;
  for (const auto& clause : rules.clauses) {
    for (const auto& test : clause.tests) {
      if (test.mask == 0 || test.argument != argument) continue;
      for (const std::uint64_t value :
           {test.value, test.value | ~test.mask, test.value ^ (test.mask & (~test.mask + 1)), ~test.value,
            test.value ^ test.mask, test.value | 0x100000000, test.value | 0xffffffff00000000})
        values.insert(value);
    }
  }
  if (values.empty()) values = {0, ~0ULL};
  return {values.begin(), values.end()};
}

// Calls visit(arguments) for every combination of such values.
template <typename Visit>
void for_every_class(const broker::ArgumentRules& rules, const Visit& visit) {
  std::array<std::vector<std::uint64_t>, 6> values;
  for (unsigned i = 0; i < values.size(); ++i) values[i] = values_near(rules, i);
  std::array<std::size_t, 6> at{};
  while (true) {
    CallArguments arguments;
    for (std::size_t i = 0; i < at.size(); ++i) arguments[i] = values[i][at[i]];
    visit(arguments);
    std::size_t i = 0;
    while (i < at.size() && ++at[i] == values[i].size()) at[i++] = 0;
    if (i == at.size()) return;
  }
}

TEST(Filter, AgreesWithTheArgumentRules) {
  for (const FilterOptions& options : kEveryProgram) {
    for (const broker::ArgumentRules& rules : broker::argument_rules()) {
      const int number = broker::number_on(options.architecture, row_named(rules.syscall));
      if (number < 0) continue;
      for_every_class(rules, [&](const CallArguments& arguments) {
        const std::uint32_t expected = by_the_clauses(rules, options, arguments);
        ASSERT_EQ(answer_to(options, static_cast<std::uint32_t>(number), arguments), expected)
            << rules.syscall << " " << std::hex << arguments[0] << " " << arguments[1] << " " << arguments[2]
            << " " << arguments[3] << " " << arguments[4];
        if (options.architecture != broker::kNative) return;
        // What is held is dispatched by the same list; nothing that BPF lets pass is ever asked about.
        const SyscallRow* row = broker::row_of_call(number, arguments);
        ASSERT_NE(row, nullptr);
        ASSERT_TRUE(row->call_class != CallClass::Refuse || expected == kHold);
      });
    }
  }
}

// The upper half of an int is noise to the kernel, so it must be to us. Whole words: pointers, and the value
// of PR_SET_DUMPABLE, an unsigned long.
TEST(Filter, LooksAtNoUpperHalfOfAnInt) {
  const std::set<std::pair<std::string_view, unsigned>> words{{"prctl", 1}, {"prlimit64", 2}, {"sendto", 4}};
  std::set<std::pair<std::string_view, unsigned>> whole;
  for (const FilterOptions& options : kEveryProgram) {
    for (const broker::ArgumentRules& rules : broker::argument_rules()) {
      const int number = broker::number_on(options.architecture, row_named(rules.syscall));
      if (number < 0) continue;
      for (unsigned i = 0; i < 6; ++i) {
        if (words.contains({rules.syscall, i})) continue;
        for_every_class(rules, [&](CallArguments arguments) {
          const std::uint32_t before = answer_to(options, static_cast<std::uint32_t>(number), arguments);
          arguments[i] ^= 0xdeadbeef00000000;
          ASSERT_EQ(answer_to(options, static_cast<std::uint32_t>(number), arguments), before)
              << rules.syscall << " argument " << i;
        });
      }
      for (const auto& clause : rules.clauses) {
        for (const auto& test : clause.tests) {
          if (test.mask >> 32 != 0) whole.insert({rules.syscall, test.argument});
        }
      }
    }
  }
  EXPECT_EQ(whole, words);
}

// Written by hand from the manual pages, not from the rules.
struct Case {
  const char* name;
  std::string_view syscall;
  CallArguments arguments;
  unsigned int_arguments;  // bit i: the kernel takes argument i as int, so its upper half is noise
  std::uint32_t expected;
  int deny_errno = 0;  // of the row that the broker finds
};

constexpr std::uint64_t kPointer = 0x7fff12345678;
constexpr std::uint64_t kHighPointer = 0x7fff00000000;  // low half zero

const Case kCases[] = {
    {"mmap of anonymous code",
     "mmap",
     {0, 4096, PROT_EXEC | PROT_READ, MAP_ANONYMOUS | MAP_PRIVATE},
     0,
     kAllow},
    {"mmap of data", "mmap", {0, 4096, PROT_READ, MAP_PRIVATE, 3}, 0, kAllow},
    {"mmap of a writable file", "mmap", {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3}, 0, kAllow},
    {"mmap of code", "mmap", {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, 3}, 0, kHold},
    {"mmap of code, all", "mmap", {0, 4096, 7, MAP_SHARED, 3}, 0, kHold},
    {"mmap of code at a fixed place",
     "mmap",
     {kPointer, 4096, PROT_EXEC, MAP_PRIVATE | MAP_FIXED, 3},
     0,
     kHold},

    {"clone of a thread", "clone", {0x3d0f00, 0, 0, 0, 0}, 0, kAllow},
    {"clone like fork", "clone", {CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD}, 0, kAllow},
    {"clone like vfork", "clone", {CLONE_VM | CLONE_VFORK | SIGCHLD}, 0, kAllow},
    {"clone with a user namespace", "clone", {CLONE_NEWUSER | SIGCHLD}, 0, kHold, EPERM},
    {"clone with a mount namespace", "clone", {CLONE_NEWNS | SIGCHLD}, 0, kHold, EPERM},
    {"clone with a net namespace", "clone", {CLONE_NEWNET | SIGCHLD}, 0, kHold, EPERM},
    {"clone with a pid namespace", "clone", {CLONE_NEWPID | SIGCHLD}, 0, kHold, EPERM},
    {"clone with an ipc namespace", "clone", {CLONE_NEWIPC | SIGCHLD}, 0, kHold, EPERM},
    {"clone with a uts namespace", "clone", {CLONE_NEWUTS | SIGCHLD}, 0, kHold, EPERM},
    {"clone with a cgroup namespace", "clone", {CLONE_NEWCGROUP | SIGCHLD}, 0, kHold, EPERM},
    {"clone for the parent", "clone", {CLONE_PARENT | SIGCHLD}, 0, kHold, EPERM},

    {"unshare of descriptors", "unshare", {CLONE_FILES}, 0, kAllow},
    {"unshare of the directory", "unshare", {CLONE_FS | CLONE_FILES | CLONE_SYSVSEM}, 0, kAllow},
    {"unshare of nothing", "unshare", {0}, 0, kAllow},
    {"unshare of users", "unshare", {CLONE_NEWUSER}, 0, kHold, EPERM},
    {"unshare of users among others", "unshare", {CLONE_FILES | CLONE_NEWUSER}, 0, kHold, EPERM},
    {"unshare of time", "unshare", {0x80 /* CLONE_NEWTIME */}, 0, kHold, EPERM},

    {"personality: query", "personality", {0xffffffff}, 1, kAllow},
    {"personality: default", "personality", {0}, 1, kAllow},
    {"personality: no randomisation", "personality", {0x0040000}, 1, kHold, EPERM},
    {"personality: READ_IMPLIES_EXEC", "personality", {0x0400000}, 1, kHold, EPERM},

    {"prctl: name", "prctl", {PR_SET_NAME, kPointer}, 1, kAllow},
    {"prctl: no_new_privs", "prctl", {PR_SET_NO_NEW_PRIVS, 1}, 1, kAllow},
    {"prctl: seccomp", "prctl", {PR_SET_SECCOMP, 2, kPointer}, 1, kAllow},
    {"prctl: dumpable", "prctl", {PR_SET_DUMPABLE, 1}, 1, kAllow},
    {"prctl: hello", "prctl", {broker::kHelloPrctl}, 1, kHold},
    {"prctl: bounding set", "prctl", {PR_CAPBSET_DROP, 3}, 1, kHold},
    {"prctl: ptracer", "prctl", {PR_SET_PTRACER, ~0ULL}, 1, kHold, EPERM},
    {"prctl: memory map", "prctl", {PR_SET_MM, PR_SET_MM_EXE_FILE, 3}, 1, kHold, EPERM},
    {"prctl: securebits", "prctl", {PR_SET_SECUREBITS, 0}, 1, kHold, EPERM},
    {"prctl: core scheduling", "prctl", {62 /* PR_SCHED_CORE */, 2, 1}, 1, kHold, EPERM},

    {"seccomp: filter", "seccomp", {SECCOMP_SET_MODE_FILTER, 0, kPointer}, 3, kAllow},
    {"seccomp: filter for all threads", "seccomp", {SECCOMP_SET_MODE_FILTER, 1, kPointer}, 3, kAllow},
    {"seccomp: sizes", "seccomp", {SECCOMP_GET_NOTIF_SIZES, 0, kPointer}, 3, kAllow},
    {"seccomp: listener", "seccomp", {SECCOMP_SET_MODE_FILTER, 8, kPointer}, 3, kHold, EBUSY},
    {"seccomp: listener among others", "seccomp", {SECCOMP_SET_MODE_FILTER, 0x3f, kPointer}, 3, kHold, EBUSY},

    {"prlimit64: own", "prlimit64", {0, RLIMIT_NOFILE, kPointer, 0}, 3, kAllow},
    {"prlimit64: asks about another", "prlimit64", {1, RLIMIT_NOFILE, 0, kPointer}, 3, kAllow},
    {"prlimit64: another", "prlimit64", {1, RLIMIT_NOFILE, kPointer, 0}, 3, kHold},
    {"prlimit64: another, low half of the pointer zero",
     "prlimit64",
     {1, RLIMIT_NOFILE, kHighPointer, 0},
     3,
     kHold},
    {"prlimit64: asks for the mark", "prlimit64", {0, RLIMIT_MSGQUEUE, 0, kPointer}, 3, kAllow},
    {"prlimit64: the mark", "prlimit64", {0, RLIMIT_MSGQUEUE, kPointer, 0}, 3, kHold, EPERM},
    {"prlimit64: the mark of another", "prlimit64", {1, RLIMIT_MSGQUEUE, kPointer, 0}, 3, kHold, EPERM},
    {"setrlimit", "setrlimit", {RLIMIT_NOFILE, kPointer}, 1, kAllow},
    {"setrlimit: the mark", "setrlimit", {RLIMIT_MSGQUEUE, kPointer}, 1, kHold, EPERM},

    {"setpriority: own", "setpriority", {PRIO_PROCESS, 0, 5}, 7, kAllow},
    {"setpriority: another", "setpriority", {PRIO_PROCESS, 1, 5}, 7, kHold},
    {"setpriority: own group", "setpriority", {PRIO_PGRP, 0, 5}, 7, kHold},
    {"setpriority: own user", "setpriority", {PRIO_USER, 0, 5}, 7, kHold},
    {"ioprio_set: own", "ioprio_set", {1, 0, 5}, 7, kAllow},
    {"ioprio_set: another", "ioprio_set", {1, 1, 5}, 7, kHold},
    {"ioprio_set: own user", "ioprio_set", {3, 0, 5}, 7, kHold},
    {"sched_setscheduler: own", "sched_setscheduler", {0, 1, kPointer}, 3, kAllow},
    {"sched_setscheduler: another", "sched_setscheduler", {77, 1, kPointer}, 3, kHold},
    {"sched_setparam: own", "sched_setparam", {0, kPointer}, 1, kAllow},
    {"sched_setparam: another", "sched_setparam", {77, kPointer}, 1, kHold},
    {"sched_setaffinity: own", "sched_setaffinity", {0, 8, kPointer}, 3, kAllow},
    {"sched_setaffinity: another", "sched_setaffinity", {77, 8, kPointer}, 3, kHold},
    {"sched_setattr: own", "sched_setattr", {0, kPointer}, 1, kAllow},
    {"sched_setattr: another", "sched_setattr", {77, kPointer}, 1, kHold},
    {"migrate_pages: own", "migrate_pages", {0, 64, kPointer, kPointer}, 1, kAllow},
    {"migrate_pages: another", "migrate_pages", {77, 64, kPointer, kPointer}, 1, kHold, EPERM},
    {"move_pages: own", "move_pages", {0, 1, kPointer}, 1, kAllow},
    {"move_pages: another", "move_pages", {77, 1, kPointer}, 1, kHold, EPERM},
    {"get_robust_list: own", "get_robust_list", {0, kPointer, kPointer}, 1, kAllow},
    {"get_robust_list: another", "get_robust_list", {77, kPointer, kPointer}, 1, kHold, EPERM},

    {"fcntl: close on exec", "fcntl", {3, F_SETFD, FD_CLOEXEC}, 3, kAllow},
    {"fcntl: lock", "fcntl", {3, F_SETLKW, kPointer}, 3, kAllow},
    {"fcntl: owner", "fcntl", {3, F_SETOWN, 1}, 3, kHold},
    {"fcntl: owner by struct", "fcntl", {3, F_SETOWN_EX, kPointer}, 3, kHold},
    {"fcntl: asks for the owner", "fcntl", {3, F_GETOWN}, 3, kAllow},

    {"ioctl: terminal size", "ioctl", {0, TIOCGWINSZ, kPointer}, 3, kAllow},
    {"ioctl: terminal mode", "ioctl", {0, 0x5401 /* TCGETS */, kPointer}, 3, kAllow},
    {"ioctl: bytes waiting", "ioctl", {0, FIONREAD, kPointer}, 3, kAllow},
    {"ioctl: own terminal", "ioctl", {0, TIOCSCTTY, 0}, 7, kAllow},
    // Needs CAP_SYS_ADMIN, which no session has.
    {"ioctl: stolen terminal", "ioctl", {0, TIOCSCTTY, 1}, 7, kAllow},
    {"ioctl: typed by another", "ioctl", {0, TIOCSTI, kPointer}, 3, kHold, EPERM},
    {"ioctl: console paste", "ioctl", {0, 0x541c, kPointer}, 3, kHold, EPERM},
    {"ioctl: line discipline", "ioctl", {0, TIOCSETD, kPointer}, 3, kHold, EPERM},
    {"ioctl: socket owner", "ioctl", {3, 0x8901, kPointer}, 3, kHold, EPERM},
    {"ioctl: socket group", "ioctl", {3, 0x8902, kPointer}, 3, kHold, EPERM},
    {"ioctl: inode flags", "ioctl", {3, 0x40086602, kPointer}, 3, kHold, EPERM},
    {"ioctl: asks for inode flags", "ioctl", {3, 0x80086601, kPointer}, 3, kAllow},
    {"ioctl: inode flags, 32 bits", "ioctl", {3, 0x40046602, kPointer}, 3, kHold, EPERM},
    {"ioctl: extended inode flags", "ioctl", {3, 0x401c5820, kPointer}, 3, kHold, EPERM},
    {"ioctl: console output", "ioctl", {0, 0x541d, 0}, 3, kHold, EPERM},
    {"ioctl: inode generation", "ioctl", {3, 0x40087602, kPointer}, 3, kHold, EPERM},
    {"ioctl: inode generation, 32 bits", "ioctl", {3, 0x40047602, kPointer}, 3, kHold, EPERM},
    {"ioctl: FAT attributes", "ioctl", {3, 0x40047211, kPointer}, 3, kHold, EPERM},
    {"ioctl: encryption policy", "ioctl", {3, 0x800c6613, kPointer}, 3, kHold, EPERM},
    {"ioctl: encryption key", "ioctl", {3, 0xc0506617, kPointer}, 3, kHold, EPERM},
    {"ioctl: encryption key taken away", "ioctl", {3, 0xc0406618, kPointer}, 3, kHold, EPERM},
    {"ioctl: verity", "ioctl", {3, 0x40806685, kPointer}, 3, kHold, EPERM},
    {"ioctl: clone of a file", "ioctl", {3, 0x40049409, 4}, 3, kAllow},
    {"ioctl: clone of a range", "ioctl", {3, 0x4020940d, kPointer}, 3, kAllow},
    {"ioctl: equal blocks", "ioctl", {3, 0xc0189436, kPointer}, 3, kAllow},
    {"ioctl: btrfs snapshot", "ioctl", {3, 0x50009417, kPointer}, 3, kHold, ENOTTY},
    {"ioctl: btrfs subvolume", "ioctl", {3, 0x5000940e, kPointer}, 3, kHold, ENOTTY},

    {"socket: unix stream", "socket", {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0}, 7, kAllow},
    {"socket: unix datagram", "socket", {AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0}, 7, kAllow},
    {"socket: unix packets", "socket", {AF_UNIX, SOCK_SEQPACKET, 0}, 7, kAllow},
    {"socket: unix raw", "socket", {AF_UNIX, SOCK_RAW, 0}, 7, kHold, EPERM},
    {"socket: TCP", "socket", {AF_INET, SOCK_STREAM, IPPROTO_TCP}, 7, kAllow},
    {"socket: TCP over IPv6", "socket", {AF_INET6, SOCK_STREAM, IPPROTO_TCP}, 7, kAllow},
    {"socket: TCP over IPv4 by default", "socket", {AF_INET, SOCK_STREAM, 0}, 7, kAllow},
    {"socket: UDP over IPv4", "socket", {AF_INET, SOCK_DGRAM, IPPROTO_UDP}, 7, kAllow},
    {"socket: UDP over IPv6 by default", "socket", {AF_INET6, SOCK_DGRAM, 0}, 7, kAllow},
    {"socket: TCP by default",
     "socket",
     {AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0},
     7,
     kAllow},
    {"socket: UDP", "socket", {AF_INET6, SOCK_DGRAM, IPPROTO_UDP}, 7, kAllow},
    {"socket: UDP by default", "socket", {AF_INET, SOCK_DGRAM, 0}, 7, kAllow},
    {"socket: MPTCP", "socket", {AF_INET, SOCK_STREAM, 262}, 7, kHold, EPROTONOSUPPORT},
    {"socket: SCTP", "socket", {AF_INET6, SOCK_STREAM, IPPROTO_SCTP}, 7, kHold, EPROTONOSUPPORT},
    {"socket: SCTP by default", "socket", {AF_INET, SOCK_SEQPACKET, 0}, 7, kHold, ESOCKTNOSUPPORT},
    {"socket: UDP-Lite", "socket", {AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE}, 7, kHold, EPROTONOSUPPORT},
    {"socket: ping", "socket", {AF_INET, SOCK_DGRAM, IPPROTO_ICMP}, 7, kHold, EPROTONOSUPPORT},
    {"socket: raw", "socket", {AF_INET, SOCK_RAW, IPPROTO_RAW}, 7, kHold, EPERM},
    {"socket: ping over IPv6", "socket", {AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6}, 7, kHold, EPROTONOSUPPORT},
    {"socket: raw over IPv6", "socket", {AF_INET6, SOCK_RAW, IPPROTO_ICMPV6}, 7, kHold, EPERM},
    {"socket: SCTP over IPv6 by default", "socket", {AF_INET6, SOCK_SEQPACKET, 0}, 7, kHold, ESOCKTNOSUPPORT},
    {"socket: DCCP", "socket", {AF_INET, SOCK_DCCP, 0}, 7, kHold, ESOCKTNOSUPPORT},
    {"socket: old packet", "socket", {AF_INET, SOCK_PACKET, 0x300}, 7, kHold, ESOCKTNOSUPPORT},
    {"socket: routes", "socket", {AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0}, 7, kAllow},
    {"socket: routes, as datagrams", "socket", {AF_NETLINK, SOCK_DGRAM, 0}, 7, kAllow},
    {"socket: audit", "socket", {AF_NETLINK, SOCK_RAW, 9}, 7, kHold, EPROTONOSUPPORT},
    {"socket: packet", "socket", {AF_PACKET, SOCK_RAW, 0x300}, 7, kHold, EAFNOSUPPORT},
    {"socket: vsock", "socket", {40, SOCK_STREAM, 0}, 7, kHold, EAFNOSUPPORT},
    {"socket: alg", "socket", {38, SOCK_SEQPACKET, 0}, 7, kHold, EAFNOSUPPORT},
    {"socket: SMC", "socket", {43, SOCK_STREAM, 0}, 7, kHold, EAFNOSUPPORT},
    {"socketpair: unix", "socketpair", {AF_UNIX, SOCK_DGRAM, 0, kPointer}, 7, kAllow},
    {"socketpair: TIPC", "socketpair", {30, SOCK_STREAM, 0, kPointer}, 7, kHold, EOPNOTSUPP},

    {"setsockopt: reuse", "setsockopt", {3, SOL_SOCKET, SO_REUSEADDR, kPointer, 4}, 0x17, kAllow},
    {"setsockopt: no delay", "setsockopt", {3, IPPROTO_TCP, 1, kPointer, 4}, 0x17, kAllow},
    {"setsockopt: source route", "setsockopt", {3, IPPROTO_IP, IP_OPTIONS, kPointer, 8}, 0x17, kHold, EPERM},
    {"setsockopt: no source route", "setsockopt", {3, IPPROTO_IP, IP_OPTIONS, 0, 0}, 0x17, kAllow},
    {"setsockopt: segment route",
     "setsockopt",
     {3, IPPROTO_IPV6, IPV6_RTHDR, kPointer, 24},
     0x17,
     kHold,
     EPERM},
    {"setsockopt: segment route, as of 1998",
     "setsockopt",
     {3, IPPROTO_IPV6, 5, kPointer, 24},
     0x17,
     kHold,
     EPERM},
    {"setsockopt: options, as of 1998", "setsockopt", {3, IPPROTO_IPV6, 6, kPointer, 24}, 0x17, kHold, EPERM},
    {"setsockopt: flow label", "setsockopt", {3, IPPROTO_IPV6, 32, kPointer, 32}, 0x17, kHold, EPERM},
    {"setsockopt: v6 only", "setsockopt", {3, IPPROTO_IPV6, IPV6_V6ONLY, kPointer, 4}, 0x17, kAllow},

    {"sendto: connected", "sendto", {3, kPointer, 5, MSG_NOSIGNAL, 0, 0}, 9, kAllow},
    {"sendto: connected, with a length", "sendto", {3, kPointer, 5, 0, 0, 16}, 9, kAllow},
    {"sendto: addressed", "sendto", {3, kPointer, 5, 0, kPointer, 16}, 9, kHold},
    {"sendto: addressed, low half zero", "sendto", {3, kPointer, 5, 0, kHighPointer, 16}, 9, kHold},
    {"sendto: fast open", "sendto", {3, kPointer, 5, MSG_FASTOPEN, 0, 0}, 9, kHold},
};

TEST(Filter, AnswersNamedCases) {
  for (const Case& entry : kCases) {
    const SyscallRow& row = row_named(entry.syscall);
    for (const std::uint64_t garbage : {0ULL, 0x100000000ULL, 0xffffffff00000000ULL, 0xdeadbeef00000000ULL}) {
      CallArguments arguments = entry.arguments;
      for (unsigned i = 0; i < 6; ++i) {
        if ((entry.int_arguments >> i & 1) != 0) arguments[i] |= garbage;
      }
      for (const FilterOptions& options : kEveryProgram) {
        const int number = broker::number_on(options.architecture, row);
        ASSERT_GE(number, 0) << "what looks at arguments is there on both architectures";
        EXPECT_EQ(answer_to(options, static_cast<std::uint32_t>(number), arguments), entry.expected)
            << entry.name << " with garbage " << std::hex << garbage;
      }
      if (entry.expected != kHold) continue;
      const int number = broker::native_number(row);
      const SyscallRow* found = broker::row_of_call(number, arguments);
      ASSERT_NE(found, nullptr);
      if (entry.deny_errno == 0) {
        EXPECT_EQ(found, &row) << entry.name;
      } else {
        EXPECT_EQ(found->handler, broker::Handler::Refused) << entry.name;
        EXPECT_EQ(found->deny_errno, entry.deny_errno) << entry.name;
      }
    }
  }
}

TEST(Filter, NamedCasesNameEveryClause) {
  for (const broker::ArgumentRules& rules : broker::argument_rules()) {
    for (const auto& clause : rules.clauses) {
      if (clause.applies == broker::Applies::WhenBlindable) continue;  // a test of its own
      EXPECT_TRUE(std::any_of(std::begin(kCases), std::end(kCases),
                              [&](const Case& entry) {
                                if (entry.syscall != rules.syscall) return false;
                                const auto first = std::find_if(
                                    rules.clauses.begin(), rules.clauses.end(),
                                    [&](const auto& other) { return broker::holds(other, entry.arguments); });
                                return &*first == &clause;
                              }))
          << rules.syscall << ": " << clause.note << ", clause " << &clause - rules.clauses.data();
    }
  }
}

TEST(Filter, HidesNoProcessFromASupervisorThatNeedsToSeeIt) {
  const auto number = static_cast<std::uint32_t>(broker::native_number(row_named("prctl")));
  EXPECT_EQ(answer_to({.can_read_undumpable = false}, number, {PR_SET_DUMPABLE, 0}), error_answer(0));
  EXPECT_EQ(answer_to({.can_read_undumpable = true}, number, {PR_SET_DUMPABLE, 0}), kAllow);
  EXPECT_EQ(answer_to({.can_read_undumpable = false}, number, {0xff00000000ULL | PR_SET_DUMPABLE, 0}),
            error_answer(0));
}

TEST(Filter, IsDeterministicAndSmall) {
  for (const FilterOptions& options : kEveryProgram) {
    const auto once = filter_program(options);
    EXPECT_EQ(once.data(), filter_program(options).data());
    EXPECT_LT(once.size(), 900U);
  }
}

// ---- on the real kernel, without a listener: a held call is answered ENOSYS ----

struct Made {
  long result;
  int error;
};

// Makes one call in a process under the program; its answer comes back through shared memory.
Made under_filter(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  auto* shared = static_cast<Made*>(
      ::mmap(nullptr, sizeof(Made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  *shared = {-2, 0};
  const pid_t child = ::fork();
  if (child == 0) {
    const auto program = filter_program({});
    sock_fprog loadable{.len = static_cast<unsigned short>(program.size()),
                        .filter = const_cast<sock_filter*>(program.data())};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &loadable) != 0) {
      *shared = {-3, errno};
    } else {
      const long result = ::syscall(number, a, b, c, d, e);
      *shared = {result, result < 0 ? errno : 0};
    }
    ::syscall(SYS_exit_group, 0);  // held, and so answered ENOSYS
    __builtin_trap();
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const Made made = *shared;
  ::munmap(shared, sizeof(Made));
  return made;
}

TEST(FilterOnTheKernel, IsAcceptedAndAnswers) {
  EXPECT_GT(under_filter(SYS_getppid).result, 0);
  EXPECT_EQ(under_filter(SYS_kill, 0, 0).error, ENOSYS);
  EXPECT_EQ(under_filter(SYS_openat, AT_FDCWD, 0, 0).error, ENOSYS);
  EXPECT_EQ(under_filter(SYS_clone3, 0, 0).error, ENOSYS);
  EXPECT_EQ(under_filter(600).error, ENOSYS);
  EXPECT_EQ(under_filter(SYS_prctl, PR_SET_DUMPABLE, 0).result, 0);
  EXPECT_GE(under_filter(SYS_socket, AF_UNIX, SOCK_STREAM, 0).result, 0);
  EXPECT_EQ(under_filter(SYS_socket, AF_PACKET, SOCK_RAW, 0).error, ENOSYS);
  EXPECT_EQ(under_filter(SYS_ioctl, -1, static_cast<long>(0xffffffff00000000UL | TIOCSTI)).error, ENOSYS);
  EXPECT_EQ(under_filter(SYS_ioctl, -1, TIOCGWINSZ).error, EBADF);
}

#if defined(__x86_64__)
TEST(FilterOnTheKernel, KillsX32) { EXPECT_EQ(under_filter(0x40000000L | SYS_getppid).result, -2); }
TEST(FilterOnTheKernel, AnswersMinusOneAsNatively) { EXPECT_EQ(under_filter(-1).error, ENOSYS); }
#endif

}  // namespace
}  // namespace secbox::launch
