#include "supervisor/launch/filter_rules.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "supervisor/broker/syscall_table.h"

namespace secbox::launch {

namespace {

constexpr std::uint64_t kInt = 0xffffffff;

Condition equals(unsigned argument, std::uint64_t value, std::uint64_t mask = kInt) {
  return {argument, Condition::Kind::MaskedEqual, mask, value & mask};
}
Condition any_bit(unsigned argument, unsigned bit) {
  return equals(argument, std::uint64_t{1} << bit, std::uint64_t{1} << bit);
}
Condition not_zero(unsigned argument) { return {argument, Condition::Kind::NotZero, ~std::uint64_t{0}, 0}; }

// Notifies every value of an int argument that is not in `allowed` (all of them below 2^bits), with `extra`
// as well.
template <std::size_t N>
void notify_others(std::vector<ArgumentRule>& rules, std::string_view name, unsigned argument, unsigned bits,
                   const std::array<unsigned, N>& allowed, std::uint64_t mask, std::vector<Condition> extra) {
  for (unsigned value = 0; value < (1U << bits); ++value) {
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) continue;
    std::vector<Condition> conditions = extra;
    conditions.push_back(equals(argument, value, mask));
    rules.push_back({name, std::move(conditions), Verdict::Notify});
  }
  for (unsigned bit = bits; bit < 32; ++bit) {
    if ((mask >> bit & 1) == 0) continue;
    std::vector<Condition> conditions = extra;
    conditions.push_back(any_bit(argument, bit));
    rules.push_back({name, std::move(conditions), Verdict::Notify});
  }
}

}  // namespace

std::vector<ArgumentRule> argument_rules(bool can_read_undumpable) {
  std::vector<ArgumentRule> rules;
  const auto notify = [&](std::string_view name, std::vector<Condition> conditions) {
    rules.push_back({name, std::move(conditions), Verdict::Notify});
  };

  notify("sendto", {not_zero(4)});
  notify("sendto", {equals(3, MSG_FASTOPEN, MSG_FASTOPEN)});

  notify("mmap", {equals(2, PROT_EXEC, PROT_EXEC), equals(3, 0, MAP_ANONYMOUS)});

  notify("prctl", {equals(0, broker::kHelloPrctl)});
  for (const unsigned option : {unsigned{PR_SET_PTRACER}, unsigned{PR_SET_MM}, unsigned{PR_SET_SECUREBITS}}) {
    notify("prctl", {equals(0, option)});
  }
  if (!can_read_undumpable)
    rules.push_back({"prctl", {equals(0, PR_SET_DUMPABLE), equals(1, 0)}, Verdict::Success});

  // Families, then kinds (the low four bits; SOCK_NONBLOCK and SOCK_CLOEXEC are above), then protocols of
  // inet.
  constexpr std::array<unsigned, 4> kFamilies{AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
  notify_others(rules, "socket", 0, 6, kFamilies, kInt, {});
  constexpr std::array<unsigned, 3> kKinds{SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  for (const unsigned family : {unsigned{AF_UNIX}, unsigned{AF_INET}, unsigned{AF_INET6}}) {
    notify_others(rules, "socket", 1, 4, kKinds, 0xf, {equals(0, family)});
  }
  constexpr std::array<unsigned, 3> kProtocols{0, IPPROTO_TCP, IPPROTO_UDP};
  for (const unsigned family : {unsigned{AF_INET}, unsigned{AF_INET6}}) {
    notify_others(rules, "socket", 2, 5, kProtocols, kInt, {equals(0, family)});
  }
  constexpr std::array<unsigned, 1> kNetlink{NETLINK_ROUTE};
  notify_others(rules, "socket", 2, 5, kNetlink, kInt, {equals(0, AF_NETLINK)});

  for (const unsigned flag :
       {unsigned{CLONE_NEWNS}, unsigned{CLONE_NEWUTS}, unsigned{CLONE_NEWIPC}, unsigned{CLONE_NEWUSER},
        unsigned{CLONE_NEWPID}, unsigned{CLONE_NEWNET}, unsigned{CLONE_NEWCGROUP}}) {
    notify("clone", {equals(0, flag, flag)});
  }
  constexpr std::uint64_t kUnshare = CLONE_FILES | CLONE_FS | CLONE_SYSVSEM;
  for (unsigned bit = 0; bit < 32; ++bit) {
    if ((kUnshare >> bit & 1) == 0) notify("unshare", {any_bit(0, bit)});
  }

  for (const std::uint64_t request :
       {std::uint64_t{TIOCSTI}, std::uint64_t{0x541C} /* TIOCLINUX */, std::uint64_t{TIOCSETD},
        std::uint64_t{TIOCCONS}, std::uint64_t{FS_IOC_SETFLAGS}, std::uint64_t{FS_IOC32_SETFLAGS},
        std::uint64_t{FS_IOC_FSSETXATTR}}) {
    notify("ioctl", {equals(1, request)});
  }
  notify("ioctl", {equals(1, TIOCSCTTY), not_zero(2)});

  notify("fcntl", {equals(1, F_SETOWN)});
  notify("fcntl", {equals(1, F_SETOWN_EX)});

  notify("prlimit64", {not_zero(0), not_zero(2)});
  notify("prlimit64", {equals(1, RLIMIT_MSGQUEUE), not_zero(2)});
  notify("setrlimit", {equals(0, RLIMIT_MSGQUEUE)});
  // which is PRIO_PROCESS = 0, IOPRIO_WHO_PROCESS = 1; who is 0 for the caller.
  notify("setpriority", {not_zero(0)});
  notify("setpriority", {not_zero(1)});
  notify("ioprio_set", {any_bit(0, 1)});
  notify("ioprio_set", {not_zero(1)});
  for (const std::string_view name : {"sched_setscheduler", "sched_setparam", "sched_setattr",
                                      "sched_setaffinity", "migrate_pages", "move_pages"}) {
    notify(name, {not_zero(0)});
  }
  notify("seccomp", {equals(0, SECCOMP_SET_MODE_FILTER),
                     equals(1, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_NEW_LISTENER)});
  return rules;
}

}  // namespace secbox::launch
