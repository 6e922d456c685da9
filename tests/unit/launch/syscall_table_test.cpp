#include "supervisor/broker/syscall_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <string>

#include "supervisor/broker/argument_rules.h"
#include "tests/unit/launch/kernel_numbers.h"

namespace secbox::broker {
namespace {

const SyscallRow* row_named(std::string_view name) {
  const auto table = syscall_table();
  const auto row =
      std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.name == name; });
  return row == table.end() ? nullptr : &*row;
}

TEST(SyscallTable, KnowsEveryNumberOfTheKernelHeaders) {
  const auto check = [](const std::vector<KernelNumber>& kernel, int SyscallRow::* number) {
    for (const KernelNumber& entry : kernel) {
      const SyscallRow* row = row_named(entry.name);
      ASSERT_NE(row, nullptr) << entry.name << " is not in the table";
      EXPECT_EQ(row->*number, entry.number) << entry.name;
    }
  };
  check(kernel_numbers_x86_64(), &SyscallRow::number_x86_64);
  check(kernel_numbers_aarch64(), &SyscallRow::number_aarch64);
  EXPECT_GT(kernel_numbers_x86_64().size() + kernel_numbers_aarch64().size(), 300U);
}

// What Debian 12's headers (Linux 6.1) do not know yet.
TEST(SyscallTable, KnowsTheNewerOnesUpToLinux70) {
  const std::map<std::string_view, int> newer{
      {"cachestat", 451},         {"fchmodat2", 452},        {"map_shadow_stack", 453},
      {"futex_wake", 454},        {"futex_wait", 455},       {"futex_requeue", 456},
      {"statmount", 457},         {"listmount", 458},        {"lsm_get_self_attr", 459},
      {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
      {"setxattrat", 463},        {"getxattrat", 464},       {"listxattrat", 465},
      {"removexattrat", 466},     {"open_tree_attr", 467},   {"file_getattr", 468},
      {"file_setattr", 469},      {"listns", 470},           {"rseq_slice_yield", 471}};
  for (const auto& [name, number] : newer) {
    const SyscallRow* row = row_named(name);
    ASSERT_NE(row, nullptr) << name;
    EXPECT_EQ(row->number_x86_64, number) << name;
    EXPECT_EQ(row->number_aarch64, number) << name;
  }
  EXPECT_EQ(row_named("uretprobe")->number_x86_64, 335);
  EXPECT_EQ(row_named("uprobe")->number_x86_64, 336);
}

// Numbers are given one after another; what lies between has never been a call of a 64-bit program.
TEST(SyscallTable, HasNoHole) {
  const auto every = [](int first, int last, int SyscallRow::* number) {
    for (int wanted = first; wanted <= last; ++wanted) {
      const auto table = syscall_table();
      EXPECT_EQ(std::count_if(table.begin(), table.end(),
                              [&](const SyscallRow& row) { return row.*number == wanted; }),
                1)
          << wanted;
    }
  };
  every(0, 336, &SyscallRow::number_x86_64);
  every(424, 471, &SyscallRow::number_x86_64);
  every(0, 243, &SyscallRow::number_aarch64);
  every(260, 294, &SyscallRow::number_aarch64);
  every(424, 471, &SyscallRow::number_aarch64);
}

TEST(SyscallTable, NamesAndNumbersAreUnique) {
  std::set<std::string_view> names;
  std::set<int> x86_64;
  std::set<int> aarch64;
  for (const SyscallRow& row : syscall_table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.number_x86_64 < 0 || x86_64.insert(row.number_x86_64).second) << row.name;
    EXPECT_TRUE(row.number_aarch64 < 0 || aarch64.insert(row.number_aarch64).second) << row.name;
    EXPECT_TRUE(row.number_x86_64 >= 0 || row.number_aarch64 >= 0) << row.name;
    // Since 5.x the architectures share their new numbers.
    if (row.number_x86_64 >= 424 || row.number_aarch64 >= 424) {
      EXPECT_EQ(row.number_x86_64, row.number_aarch64) << row.name;
    }
  }
}

TEST(SyscallTable, FindsRowsByNumberAndNothingElse) {
  std::set<int> known;
  for (const SyscallRow& row : syscall_table()) {
    const int number = native_number(row);
    if (number < 0) continue;
    known.insert(number);
    EXPECT_EQ(find_syscall(number), &row) << row.name;
  }
  for (int number = -2; number < 600; ++number) {
    EXPECT_EQ(find_syscall(number) != nullptr, known.contains(number)) << number;
  }
  EXPECT_EQ(find_syscall(INT32_MIN), nullptr);
  EXPECT_EQ(find_syscall(INT32_MAX), nullptr);
}

TEST(SyscallTable, EveryRowSaysWhyAndIsWhole) {
  for (const SyscallRow& row : syscall_table()) {
    EXPECT_GE(row.note.size(), 10U) << row.name;
    switch (row.call_class) {
      case CallClass::Allow:
        EXPECT_EQ(row.handler, Handler::None) << row.name;
        EXPECT_EQ(row.deny_errno, 0) << row.name;
        break;
      case CallClass::Mediate:
        EXPECT_NE(row.handler, Handler::None) << row.name;
        EXPECT_NE(row.handler, Handler::Refused) << row.name;
        EXPECT_FALSE(row.operation.empty()) << row.name;
        break;
      case CallClass::Refuse:
        EXPECT_EQ(row.handler, Handler::Refused) << row.name;
        EXPECT_GT(row.deny_errno, 0) << row.name;
        EXPECT_FALSE(row.operation.empty()) << row.name;
        break;
      case CallClass::Absent:
        EXPECT_EQ(row.handler, Handler::None) << row.name;
        EXPECT_GT(row.deny_errno, 0) << row.name;
        break;
      case CallClass::Argument:
        EXPECT_NE(row.handler, Handler::None) << row.name;
        EXPECT_FALSE(row.operation.empty()) << row.name;
        EXPECT_FALSE(clauses_of(row).empty()) << row.name;
        break;
    }
  }
}

struct Family {
  const char* act;
  std::vector<std::string_view> members;
  std::vector<CallClass> classes;
};

// Whoever forgets a sibling leaves a way round: the act by another name must not be in a weaker class.
TEST(SyscallTable, FamiliesAreComplete) {
  using enum CallClass;
  const Family families[] = {
      {"open", {"open", "openat", "openat2", "creat"}, {Mediate}},
      {"open without a name", {"open_by_handle_at", "open_tree", "open_tree_attr", "uselib"}, {Refuse}},
      {"execute", {"execve", "execveat"}, {Mediate}},
      {"delete", {"unlink", "unlinkat", "rmdir"}, {Mediate}},
      {"rename", {"rename", "renameat", "renameat2"}, {Mediate}},
      {"link", {"link", "linkat", "symlink", "symlinkat"}, {Mediate}},
      {"create", {"mkdir", "mkdirat", "mknod", "mknodat"}, {Mediate}},
      {"mode", {"chmod", "fchmod", "fchmodat", "fchmodat2"}, {Mediate}},
      {"owner", {"chown", "lchown", "fchown", "fchownat"}, {Mediate}},
      {"times", {"utime", "utimes", "futimesat", "utimensat"}, {Mediate}},
      {"size", {"truncate"}, {Mediate}},
      {"attributes",
       {"setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr",
        "removexattrat"},
       {Mediate}},
      {"inode flags", {"file_setattr"}, {Refuse}},
      {"watch", {"inotify_add_watch"}, {Mediate}},
      {"watch others", {"fanotify_init", "fanotify_mark"}, {Refuse}},
      {"endpoint", {"connect", "bind", "listen"}, {Mediate}},
      {"send", {"sendto", "sendmsg", "sendmmsg"}, {Mediate, Argument}},
      {"make sockets", {"socket", "socketpair"}, {Argument}},
      {"signal",
       {"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"},
       {Mediate}},
      {"priority",
       {"setpriority", "sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity",
        "ioprio_set"},
       {Argument}},
      {"limits", {"setrlimit", "prlimit64"}, {Argument}},
      {"other memory",
       {"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp",
        "pidfd_getfd"},
       {Refuse}},
      {"other memory by number", {"migrate_pages", "move_pages", "get_robust_list"}, {Argument}},
      {"namespaces", {"setns"}, {Refuse}},
      {"new namespaces", {"clone", "unshare", "clone3"}, {Argument, Absent}},
      {"mounts",
       {"mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount",
        "open_tree", "open_tree_attr", "mount_setattr"},
       {Refuse}},
      {"identity",
       {"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
        "setgroups", "capset"},
       {Mediate}},
      {"end", {"exit", "exit_group"}, {Mediate}},
      {"past the filter", {"io_uring_setup", "io_uring_enter", "io_uring_register"}, {Refuse}},
      {"blind the supervisor", {"userfaultfd", "memfd_secret"}, {Refuse}},
      {"kernel",
       {"bpf", "perf_event_open", "init_module", "finit_module", "delete_module", "create_module",
        "kexec_load", "kexec_file_load", "reboot", "syslog", "iopl", "ioperm", "lookup_dcookie"},
       {Refuse}},
      {"machine",
       {"swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "sethostname", "setdomainname",
        "settimeofday", "clock_settime", "vhangup"},
       {Refuse}},
      {"keys", {"add_key", "request_key", "keyctl"}, {Refuse}},
      {"system V IPC",
       {"shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd",
        "msgrcv", "msgctl"},
       {Refuse}},
      {"message queues", {"mq_open", "mq_unlink"}, {Refuse}},
      {"security labels", {"lsm_set_self_attr"}, {Refuse}},
  };
  for (const Family& family : families) {
    for (const std::string_view name : family.members) {
      const SyscallRow* row = row_named(name);
      ASSERT_NE(row, nullptr) << family.act << ": " << name;
      EXPECT_NE(std::find(family.classes.begin(), family.classes.end(), row->call_class),
                family.classes.end())
          << family.act << ": " << name;
    }
  }
}

// The members of a family by the letters of their name: a new sibling of a guarded call must not arrive as
// Allow.
TEST(SyscallTable, NoGuardedWordIsInAnAllowedName) {
  const std::string_view words[] = {
      "open",   "exec",    "unlink",   "rename",      "link",     "chmod",  "chown",    "mkdir",    "mknod",
      "mount",  "connect", "bind",     "kill",        "ptrace",   "module", "kexec",    "io_uring", "setuid",
      "setgid", "setres",  "setxattr", "removexattr", "truncate", "utime",  "sigqueue", "setns",    "handle"};
  // Held descriptors, reading, or another meaning of the word.
  const std::set<std::string_view> allowed{"readlink",  "readlinkat",       "ftruncate",  "listmount",
                                           "statmount", "lsm_list_modules", "pidfd_open", "mbind"};
  for (const SyscallRow& row : syscall_table()) {
    if (row.call_class != CallClass::Allow || allowed.contains(row.name)) continue;
    for (const std::string_view word : words) EXPECT_FALSE(row.name.contains(word)) << row.name;
  }
}

// Held for no reason they would cost every program 2 us a call, and a held close or fork meets EINTR.
TEST(SyscallTable, BusyCallsAreNeverHeld) {
  for (const std::string_view name :
       {"read",        "write",           "close",          "dup",          "dup2",   "dup3",
        "fork",        "vfork",           "futex",          "wait4",        "waitid", "munmap",
        "brk",         "rt_sigaction",    "rt_sigprocmask", "rt_sigreturn", "poll",   "epoll_wait",
        "epoll_pwait", "newfstatat",      "statx",          "fstat",        "lseek",  "recvmsg",
        "recvfrom",    "restart_syscall", "clock_gettime",  "nanosleep"}) {
    EXPECT_EQ(row_named(name)->call_class, CallClass::Allow) << name;
  }
}

// ---- argument rules ----

TEST(ArgumentRules, NameArgumentRowsOnceEach) {
  std::set<std::string_view> seen;
  for (const ArgumentRules& rules : argument_rules()) {
    EXPECT_TRUE(seen.insert(rules.syscall).second) << rules.syscall;
    const SyscallRow* row = row_named(rules.syscall);
    ASSERT_NE(row, nullptr) << rules.syscall;
    EXPECT_EQ(row->call_class, CallClass::Argument) << rules.syscall;
    EXPECT_EQ(clauses_of(*row).data(), rules.clauses.data());
  }
}

TEST(ArgumentRules, EndWithAClauseForEveryCallAndOnlyThere) {
  for (const ArgumentRules& rules : argument_rules()) {
    for (std::size_t i = 0; i < rules.clauses.size(); ++i) {
      const auto& tests = rules.clauses[i].tests;
      const bool unconditional =
          std::all_of(tests.begin(), tests.end(), [](const ArgumentTest& test) { return test.mask == 0; });
      EXPECT_EQ(unconditional, i + 1 == rules.clauses.size()) << rules.syscall << " clause " << i;
    }
  }
}

TEST(ArgumentRules, EveryClauseIsWholeAndReachable) {
  for (const ArgumentRules& rules : argument_rules()) {
    for (std::size_t i = 0; i < rules.clauses.size(); ++i) {
      const ArgumentClause& clause = rules.clauses[i];
      EXPECT_FALSE(clause.note.empty()) << rules.syscall << " clause " << i;
      EXPECT_EQ(clause.verdict == Verdict::Refuse, clause.deny_errno > 0) << rules.syscall << " clause " << i;
      EXPECT_LT(clause.deny_errno, 4096);
      bool reached = false;
      for (const std::uint64_t filler : {0ULL, 1ULL, 2ULL, 7ULL, 0x70ULL, ~0ULL}) {
        CallArguments arguments;
        arguments.fill(filler);
        for (const ArgumentTest& test : clause.tests) {
          EXPECT_EQ(test.value & ~test.mask, 0U) << rules.syscall << " clause " << i;
          arguments[test.argument] = (arguments[test.argument] & ~test.mask) | test.value;
        }
        const auto first = std::find_if(rules.clauses.begin(), rules.clauses.end(),
                                        [&](const ArgumentClause& entry) { return holds(entry, arguments); });
        reached |= static_cast<std::size_t>(first - rules.clauses.begin()) == i;
      }
      EXPECT_TRUE(reached) << rules.syscall << " clause " << i;
    }
  }
}

TEST(ArgumentRules, RefusedArgumentsHaveARowOfTheirOwn) {
  const SyscallRow& row = *row_named("socket");
  const int number = native_number(row);
  const SyscallRow* sctp = row_of_call(number, {2, 1, 132});
  ASSERT_NE(sctp, nullptr);
  EXPECT_EQ(sctp->name, "socket");
  EXPECT_EQ(sctp->call_class, CallClass::Refuse);
  EXPECT_EQ(sctp->handler, Handler::Refused);
  EXPECT_EQ(sctp->deny_errno, EPROTONOSUPPORT);
  EXPECT_EQ(row_of_call(number, {17, 3, 0})->deny_errno, EAFNOSUPPORT);
  EXPECT_EQ(row_of_call(number, {2, 3, 1})->deny_errno, EPERM);

  const int prlimit = native_number(*row_named("prlimit64"));
  EXPECT_EQ(row_of_call(prlimit, {1, 7, 0x1000, 0})->handler, Handler::ProcessTarget);
  EXPECT_EQ(row_of_call(prlimit, {0, 12, 0x1000, 0})->handler, Handler::Refused);
  const int prctl = native_number(*row_named("prctl"));
  EXPECT_EQ(row_of_call(prctl, {kHelloPrctl})->handler, Handler::Prctl);
  EXPECT_EQ(row_of_call(prctl, {0x59616d61, ~0ULL})->handler, Handler::Refused);  // PR_SET_PTRACER
}

TEST(ArgumentRules, OtherRowsKeepTheirOwn) {
  for (const SyscallRow& row : syscall_table()) {
    if (native_number(row) < 0 || row.call_class == CallClass::Argument) continue;
    EXPECT_EQ(row_of_call(native_number(row), {~0ULL, 0, 1, 2, 3, 4}), &row) << row.name;
  }
  EXPECT_EQ(row_of_call(599, {}), nullptr);
  EXPECT_EQ(row_of_call(-1, {}), nullptr);
}

}  // namespace
}  // namespace secbox::broker
