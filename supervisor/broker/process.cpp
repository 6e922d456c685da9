// Calls that name a process (signals, priorities, limits), identity changes, exits, the shim's hello,
// executable mappings, and whatever the table refuses.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <vector>

#include "preload/wire.h"
#include "supervisor/broker/call.h"
#include "supervisor/broker/callers.h"
#include "supervisor/broker/services.h"

namespace secbox::broker {

namespace {

using checker::Verb;

enum class Scope : std::uint8_t { Process, Group, User, Everyone };

// What the call does with whom it names, which says how it is carried out.
enum class Act : std::uint8_t {
  Signal,          // by number: kill and its family, F_SETOWN
  SignalByHandle,  // pidfd_send_signal
  OwnerByStruct,   // F_SETOWN_EX: the number is in memory
  Setting,         // limits, scheduling, priorities
};

struct Target {
  Scope scope = Scope::Process;
  pid_t number = 0;  // pid, tid, process group or user
  Act act = Act::Signal;
  UniqueFd handle;                // of SignalByHandle, ours
  std::vector<std::byte> copied;  // of Setting: what its pointer led to
  std::size_t copied_argument = 0;
};

// The entries of a directory of /proc that are numbers.
std::vector<pid_t> numbers_in(const sys::Procfs& proc, const std::string& name) {
  std::vector<pid_t> result;
  const sys::Directory dir = proc.open_directory(name);
  if (!dir) return result;
  while (const dirent* entry = ::readdir(dir.get())) {
    pid_t pid = 0;
    const std::string_view text = entry->d_name;
    if (std::from_chars(text.data(), text.data() + text.size(), pid).ec == std::errc{}) result.push_back(pid);
  }
  return result;
}

// The process group of a process, or 0.
pid_t group_of(const sys::Procfs& proc, pid_t pid) {
  std::string stat;
  if (proc.read_file(pid, "stat", stat) != 0) return 0;
  const std::size_t after = stat.rfind(')');  // the name may hold anything
  if (after == std::string::npos) return 0;
  // ") S ppid pgrp"
  const char* at = stat.data() + after + 4;
  const char* end = stat.data() + stat.size();
  pid_t ppid = 0;
  pid_t group = 0;
  const auto first = std::from_chars(at, end, ppid);
  if (first.ptr < end) (void)std::from_chars(first.ptr + 1, end, group);
  return group;
}

std::vector<pid_t> members_of(const Services& services, Scope scope, pid_t number) {
  std::vector<pid_t> result = numbers_in(services.proc, ".");
  std::erase_if(result, [&](pid_t pid) {
    if (scope == Scope::Group) return group_of(services.proc, pid) != number;
    sys::ThreadFacts facts;
    return services.proc.read_facts(ThreadId{pid}, facts) != 0 || facts.uid != static_cast<uid_t>(number);
  });
  return result;
}

// The process that a pidfd of ours stands for: -1 where it is gone, nothing where this is no pidfd. The
// kernel takes a descriptor of /proc/<pid> for one as well.
std::optional<pid_t> process_of_handle(const Services& services, int fd) {
  std::string text;
  pid_t pid = 0;
  const std::string entry = "fdinfo/" + std::to_string(fd);
  if (services.proc.read_file(services.supervisor_pid, entry.c_str(), text) != 0) return std::nullopt;
  if (const std::size_t at = text.find("\nPid:\t"); at != std::string::npos) {
    (void)std::from_chars(text.data() + at + 6, text.data() + text.size(), pid);
    return pid;
  }
  struct stat st{};
  if (::fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_dev != services.proc.device() ||
      services.proc.path_of(fd, text) != 0)
    return std::nullopt;
  const char* begin = text.data() + text.rfind('/') + 1;
  return std::from_chars(begin, text.data() + text.size(), pid).ec == std::errc{} ? std::optional(pid)
                                                                                  : std::nullopt;
}

// Copies what the call's pointer leads to, where it has one.
std::optional<Action> copy_setting(Call& call, Target& out) {
  constexpr std::size_t kFirstAttr = 48, kMaxAttr = 4096;  // include/uapi/linux/sched/types.h
  constexpr std::size_t kMaxMask = 1024;                   // bytes; the kernel reads no more than it has CPUs
  const std::string_view name = call.row().name;
  std::size_t size = 0;
  if (name == "setpriority" || name == "ioprio_set") return std::nullopt;
  if (name == "prlimit64") {
    out.copied_argument = 2;
    size = sizeof(rlimit);
  } else if (name == "sched_setaffinity") {
    out.copied_argument = 2;
    size = std::min<std::size_t>(static_cast<std::uint32_t>(call.arg(1)), kMaxMask);
  } else {
    out.copied_argument = name == "sched_setscheduler" ? 2 : 1;
    size = sizeof(sched_param);
  }
  const TargetAddress address = call.address(out.copied_argument);
  if (address.is_null()) return std::nullopt;  // the kernel's own EINVAL or EFAULT
  if (name == "sched_setattr") {
    std::uint32_t said = 0;
    if (sys::read_object(call.services().memory, call.tid(), address, said) != 0) return call.fails(EFAULT);
    size = said == 0 ? kFirstAttr : said;
    if (size < kFirstAttr || size > kMaxAttr) return call.fails(E2BIG);
  }
  out.copied.resize(size);
  if (call.services().memory.read(call.tid(), address, out.copied) != static_cast<std::int64_t>(size))
    return call.fails(EFAULT);
  return std::nullopt;
}

// F_SETOWN and F_SETOWN_EX.
std::optional<Action> decode_owner(Call& call, Target& out) {
  const auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{call.int_arg(0)});
  if (!copy && copy.error().code == EBADF) return call.fails(EBADF);
  if (call.int_arg(1) == F_SETOWN) {
    const int owner = call.int_arg(2);
    if (owner == 0 || owner == std::numeric_limits<int>::min()) return Continue{ContinueSafety::RegisterOnly};
    out.scope = owner < 0 ? Scope::Group : Scope::Process;
    out.number = owner < 0 ? -owner : owner;
    return std::nullopt;
  }
  // As f_owner_ex, whose `type` is an enumeration: any number may stand there.
  struct {
    int type;
    pid_t pid;
  } owner{};
  static_assert(sizeof owner == sizeof(f_owner_ex));
  if (sys::read_object(call.services().memory, call.tid(), call.address(2), owner) != 0)
    return call.fails(EFAULT);
  if (owner.type != F_OWNER_TID && owner.type != F_OWNER_PID && owner.type != F_OWNER_PGRP)
    return call.fails(EINVAL);
  if (owner.pid < 0) return call.fails(ESRCH);
  out.act = Act::OwnerByStruct;
  out.scope = owner.type == F_OWNER_PGRP && owner.pid != 0 ? Scope::Group : Scope::Process;
  out.number = owner.pid;
  return std::nullopt;
}

std::optional<Action> decode_handle(Call& call, Target& out) {
  auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{call.int_arg(0)});
  if (!copy)
    return copy.error().code == EBADF ? Action{call.fails(EBADF)}
                                      : call.refuse(EACCES, "the descriptor cannot be examined");
  const std::optional<pid_t> pid = process_of_handle(call.services(), copy->get());
  if (!pid) return call.fails(EBADF);
  if (*pid < 0) return call.fails(ESRCH);
  if (*pid == 0) return call.fails(EINVAL);  // of another PID namespace, as the kernel says
  constexpr int kProcessGroup = 4;           // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
  const bool group = (call.int_arg(3) & kProcessGroup) != 0;
  out.act = Act::SignalByHandle;
  out.scope = group ? Scope::Group : Scope::Process;
  out.number = group ? group_of(call.services().proc, *pid) : *pid;
  out.handle = std::move(*copy);
  return std::nullopt;
}

// Whom a call's arguments name; or how it ends, where that is nobody: registers that name nobody are the
// kernel's own to refuse.
std::optional<Action> decode_target(Call& call, Target& out) {
  const std::string_view name = call.row().name;
  if (name == "fcntl") return decode_owner(call, out);
  if (name == "pidfd_send_signal") return decode_handle(call, out);
  const int first = call.int_arg(0);
  if (name == "kill") {
    if (first == std::numeric_limits<int>::min()) return Continue{ContinueSafety::RegisterOnly};
    out.scope = first > 0 ? Scope::Process : first == -1 ? Scope::Everyone : Scope::Group;
    out.number = first > 0 ? first : first == -1 ? 0 : -first;
  } else if (name == "setpriority" || name == "ioprio_set") {
    // which: process, group, user; IOPRIO_WHO_* counts from 1, PRIO_* from 0.
    const int which = first - (name == "ioprio_set" ? 1 : 0);
    if (which < PRIO_PROCESS || which > PRIO_USER) return Continue{ContinueSafety::RegisterOnly};
    out.act = Act::Setting;
    out.scope = which == PRIO_PROCESS ? Scope::Process : which == PRIO_PGRP ? Scope::Group : Scope::User;
    out.number = call.int_arg(1);
  } else {
    // tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo; prlimit64, sched_*.
    out.act = call.row().operation == "signal" ? Act::Signal : Act::Setting;
    out.number = first;
  }
  if (out.scope == Scope::Process && out.number < 0) return Continue{ContinueSafety::RegisterOnly};
  return out.act == Act::Setting ? copy_setting(call, out) : std::nullopt;
}

// Whoever may signal others may still not end, stop or starve the one that watches it.
bool reaches_supervisor(const Services& services, const Target& target) {
  if (target.scope == Scope::Process) return services.is_supervisor(target.number);
  return target.scope != Scope::Group || group_of(services.proc, services.supervisor_pid) == target.number ||
         group_of(services.proc, services.guardian_pid) == target.number;
}

// `shown` is a pid, or a process group as a negative number.
bool permit_signal(Call& call, pid_t shown) {
  call.record().event = "signal";
  call.record().target.pid = shown;
  const std::string name = std::to_string(shown < 0 ? -shown : shown);
  const checker::AccessView view{
      .verbs = Verb::SignalSend, .as_written = name, .resolved = name, .endpoint = {}};
  return call.permit(view);
}

// Settings have no floor, and by the time that the kernel would look the number up again it could be another
// process's: the plugin chooses how late its thread gets to run. So they are made here, at once. What is left
// is a process of its own that ends, and whose number is given away, between two calls of the supervisor.
Action change_setting(Call& call, Target& target) {
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  auto a = call.notification().args;
  const bool tells_old = call.row().name == "prlimit64" && a[3] != 0;
  rlimit old{};
  if (!target.copied.empty())
    a[target.copied_argument] = reinterpret_cast<std::uint64_t>(target.copied.data());
  if (tells_old) a[3] = reinterpret_cast<std::uint64_t>(&old);
  const long result = ::syscall(call.notification().number, a[0], a[1], a[2], a[3]);
  if (result < 0 || !tells_old) return call.result(result);
  const auto bytes = std::as_bytes(std::span(&old, 1));
  return call.services().memory.write(call.tid(), call.address(3), bytes) == 0 ? call.result(result)
                                                                               : call.fails(EFAULT);
}

// Priorities of a group or a user: every process that is not the session's own needs a grant. The supervisor
// is left out.
Action change_priorities(Call& call, const Target& target) {
  Services& services = call.services();
  pid_t number = target.number;
  if (number == 0) {
    const sys::ThreadFacts* facts = nullptr;
    if (call.thread_facts(facts) != 0) return call.refuse(EACCES, "the caller could not be identified");
    number = target.scope == Scope::Group ? group_of(services.proc, call.tid().value)
                                          : static_cast<pid_t>(facts->uid);
  }
  std::vector<pid_t> members = members_of(services, target.scope, number);
  std::erase_if(members, [&](pid_t pid) { return services.is_supervisor(pid); });
  for (const pid_t pid : members) {
    if (!services.is_own_process(pid) && !permit_signal(call, pid)) return ReplyErrno{EPERM};
  }
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  const int one_process = call.row().name == "ioprio_set" ? 1 : PRIO_PROCESS;
  int error = ESRCH;  // as the kernel counts: any success, but the last failure
  for (const pid_t pid : members) {
    for (const pid_t tid : numbers_in(services.proc, std::to_string(pid) + "/task")) {
      if (::syscall(call.notification().number, one_process, tid, call.int_arg(2)) != 0) {
        error = errno;
      } else if (error == ESRCH) {
        error = 0;
      }
    }
  }
  return error == 0 ? Action{ReplyValue{0}} : call.fails(error);
}

// On the handle that was judged: the plugin could exchange its own, and no floor would hold the signal. It is
// queued in the plugin's name; the kernel lets nobody claim kill(2) for another.
Action send_by_handle(Call& call, const Target& target) {
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) != 0) return call.refuse(EACCES, "the caller could not be identified");
  siginfo_t info{};
  if (call.address(2).is_null()) {
    info.si_signo = call.int_arg(1);
    info.si_code = SI_QUEUE;
    info.si_pid = facts->tgid;
    info.si_uid = facts->uid;
  } else if (sys::read_object(call.services().memory, call.tid(), call.address(2), info) != 0) {
    return call.fails(EFAULT);
  }
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  return call.result(
      ::syscall(SYS_pidfd_send_signal, target.handle.get(), call.int_arg(1), &info, call.int_arg(3)));
}

Action carry_out(Call& call, Target& target) {
  const bool bounded = call.services().floor_scopes_signals;
  switch (target.act) {
    case Act::Setting:
      // The caller's own number is nobody else's while it waits here.
      if (target.number == 0 || target.number == call.tid().value)
        return Continue{ContinueSafety::RegisterOnly};
      return change_setting(call, target);
    case Act::SignalByHandle:
      if (!bounded) return send_by_handle(call, target);
      break;
    case Act::OwnerByStruct:
      // Never set from here: the signals would then be sent with the supervisor's rights, outside the floor.
      if (!bounded && !call.forbid("protected:signal-owner",
                                   "the kernel would read the owner again, after it was judged; F_SETOWN "
                                   "passes it by value",
                                   EPERM))
        return call.denied();
      break;
    case Act::Signal:
      // Done by the kernel, so that the receiver sees who sent it. With a grant for signals there is no floor
      // below: a process of its own that ends, and whose number is given away, before the kernel looks it up
      // again leads the signal to its successor (docs/threat-model.md).
      break;
  }
  if (bounded) return Continue{ContinueSafety::FloorBounded};
  return Continue{ContinueSafety::RegisterOnly};
}

}  // namespace

Action handle_process_target(Call& call) {
  Services& services = call.services();
  Target target;
  if (auto ended = decode_target(call, target)) return std::move(*ended);
  if (target.act == Act::Setting && target.scope != Scope::Process) return change_priorities(call, target);

  const bool bounded = services.floor_scopes_signals && target.act != Act::Setting;
  bool inside = false;
  if (target.scope == Scope::Process) {
    inside =
        target.number == 0 || target.number == call.tid().value || services.is_own_process(target.number);
    // Nobody's number may be a new process's by the time the kernel looks: never left to it.
    if (!inside && ::kill(target.number, 0) != 0 && errno == ESRCH) return call.fails(ESRCH);
  } else if (target.scope == Scope::Group) {
    if (target.number == 0) target.number = group_of(services.proc, call.tid().value);
    const std::vector<pid_t> members = members_of(services, Scope::Group, target.number);
    if (members.empty()) return call.fails(ESRCH);
    const auto own = [&](pid_t pid) { return services.is_own_process(pid); };
    inside = bounded ? std::any_of(members.begin(), members.end(), own)
                     : std::all_of(members.begin(), members.end(), own);
  } else {
    inside = bounded;  // kill(-1): the floor leaves only the session's own to be hit
  }
  if (!inside) {
    const pid_t shown = target.scope == Scope::Process ? target.number : -target.number;
    call.record().event = "signal";
    call.record().target.pid = shown;
    if (reaches_supervisor(services, target) &&
        !call.forbid("protected:supervisor", "the supervisor is among those it would reach", EPERM)) {
      return call.denied();
    }
    if (!permit_signal(call, shown)) return ReplyErrno{EPERM};
  }
  return carry_out(call, target);
}

// setpgid. A member of a group that stops for the terminal (SIGTTIN) stops the whole group, and no floor
// holds the kernel's own signals: a group of the host is not to be joined.
Action handle_process_group(Call& call) {
  Services& services = call.services();
  if (services.started_group == 0)
    services.started_group = group_of(services.proc, services.first_process.load(std::memory_order_acquire));
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) != 0) return call.refuse(EACCES, "the caller could not be identified");
  const pid_t joins = call.int_arg(0) == 0 ? facts->tgid : call.int_arg(0);
  const pid_t group = call.int_arg(1);
  // A group of its own; that of a process of the session, living or not yet waited for; where it came from.
  if (group <= 0 || group == joins || services.is_own_process(group) || group == services.started_group)
    return Continue{ContinueSafety::RegisterOnly};
  const std::vector<pid_t> members = members_of(services, Scope::Group, group);
  if (members.empty()) return call.fails(EPERM);
  const bool foreign =
      std::any_of(members.begin(), members.end(), [&](pid_t pid) { return !services.is_own_process(pid); });
  if (foreign) {
    call.record().event = "signal";
    call.record().target.pid = -group;
    if (!call.forbid("protected:outside-group", "a process group of the host", EPERM)) return call.denied();
  }
  return Continue{ContinueSafety::RegisterOnly};
}

Action handle_cred_change(Call& call) {
  Services& services = call.services();
  if (services.can_change_identity) services.identities_differ.store(true, std::memory_order_release);
  call.record().event = "identity_change";
  return Continue{ContinueSafety::NoDecision};
}

Action handle_exit_group(Call& call) {
  Services& services = call.services();
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) != 0) return Continue{ContinueSafety::RegisterOnly};
  const bool ends_process = call.row().name == "exit_group" || facts->threads == 1;
  if (!ends_process) return Continue{ContinueSafety::RegisterOnly};
  if (facts->tgid == services.first_process.load(std::memory_order_acquire)) {
    call.mark_final_exit();
  }
  call.record().event = "process_exit";
  call.record().flags = call.int_arg(0) & 0xff;
  return Continue{ContinueSafety::RegisterOnly};
}

Action handle_prctl(Call& call) {
  if (call.int_arg(0) == PR_CAPBSET_DROP) return handle_cred_change(call);
  if (static_cast<std::uint32_t>(call.arg(0)) != kHelloPrctl) return handle_refused(call);
  if (call.arg(1) != SECBOX_WIRE_VERSION || call.services().callers == nullptr) return ReplyErrno{EINVAL};
  auto board = call.services().callers->make_board(call.process().tgid);
  if (!board) return ReplyErrno{EAGAIN};
  if (call.services().on_hello) call.services().on_hello(call.process().tgid);
  // Made in place: of one that is moved GCC 12 says, with sanitizers, that it is not initialised.
  return Action(std::in_place_type<InstallFd>, std::move(*board), true, false, std::nullopt, nullptr);
}

// mmap(PROT_EXEC) of a file. Memory may always be made executable, so what a lost race (the descriptor
// exchanged after this look) reaches is the content of a file that the plugin may read anyway.
Action handle_map_exec(Call& call) {
  call.record().event = "module_load";
  auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{call.int_arg(4)});
  if (!copy)
    return copy.error().code == EBADF ? Action{call.fails(EBADF)}
                                      : call.refuse(EACCES, "the descriptor cannot be examined");
  sys::PinnedPath path;
  if (::fstat(copy->get(), &path.st) != 0) return call.fails(errno);
  if (const int error = call.services().proc.path_of(copy->get(), path.resolved); error != 0)
    return call.refuse(error, "the descriptor's file has no name that could be judged");
  path.as_written = path.resolved;
  path.object = std::move(*copy);
  if (call.services().callers != nullptr)
    call.services().callers->note_mapping(call.process().tgid, call.arg(0), call.arg(1));
  if (path.resolved.starts_with("/memfd:") && path.st.st_nlink == 0) {
    call.record().target.path = call.keep(path.resolved);
    call.grant("implied:anonymous-memory", "executable memory of the plugin's own");
    return Continue{ContinueSafety::HandleOnly};
  }
  if (!call.is_own_program(Verb::FileLoad, path) && !call.permit(Verb::FileLoad, path)) return call.denied();
  return Continue{ContinueSafety::HandleOnly};
}

Action handle_refused(Call& call) {
  call.record().event = "violation";
  call.record().target.name = call.row().name;
  call.record().flags = call.notification().number;
  // Even an audit run must know its own processes: their mark stays.
  const bool mark = call.row().operation == "prlimit";
  if (call.forbid("refused:syscall", call.row().note, call.row().deny_errno) && !mark) {
    return Continue{ContinueSafety::NoDecision};
  }
  return call.denied();
}

}  // namespace secbox::broker
