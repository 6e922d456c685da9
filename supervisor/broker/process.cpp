// Calls that name a process (signals, priorities, limits), identity changes, exits, the shim's hello,
// executable mappings, and whatever the table refuses.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>

#include "supervisor/broker/call.h"
#include "supervisor/broker/services.h"

namespace secbox::broker {

namespace {

using checker::Verb;

enum class Scope : std::uint8_t { Process, Group, User, Everyone };

struct Target {
  Scope scope = Scope::Process;
  pid_t number = 0;  // pid, tid or process group
};

// From a kill(2)-style argument.
Target from_signed(pid_t pid) {
  if (pid > 0) return {Scope::Process, pid};
  if (pid == -1) return {Scope::Everyone, 0};
  return {Scope::Group, -pid};
}

// pid, session and group of a process, or 0.
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

struct GroupMembers {
  bool inside = false;
  bool outside = false;
};

GroupMembers members_of_group(const Services& services, pid_t group) {
  GroupMembers result;
  const int fd = ::openat(services.proc.root(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* dir = fd < 0 ? nullptr : ::fdopendir(fd);
  if (dir == nullptr) return {.inside = false, .outside = true};
  while (const dirent* entry = ::readdir(dir)) {
    pid_t pid = 0;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) continue;
    if (group_of(services.proc, pid) != group) continue;
    (services.is_own_process(pid) ? result.inside : result.outside) = true;
  }
  ::closedir(dir);
  return result;
}

// Which process a call's arguments name. False where the call cannot be read.
bool decode_target(Call& call, Target& out) {
  const std::string_view name = call.row().name;
  if (name == "prlimit64" && static_cast<unsigned>(call.int_arg(1)) == RLIMIT_MSGQUEUE && call.arg(2) != 0) {
    out = {Scope::Everyone, 0};  // the mark of the session: never to be changed, whoever is named
    return true;
  }
  if (name == "kill") {
    out = from_signed(call.int_arg(0));
  } else if (name == "tkill" || name == "tgkill" || name == "rt_sigqueueinfo" ||
             name == "rt_tgsigqueueinfo") {
    out = {Scope::Process, call.int_arg(0)};
  } else if (name == "pidfd_send_signal") {
    std::string text;
    const std::string entry = "fdinfo/" + std::to_string(call.int_arg(0));
    if (call.services().proc.read_file(call.tid().value, entry.c_str(), text) != 0) return false;
    const std::size_t at = text.find("\nPid:\t");
    if (at == std::string::npos) return false;
    pid_t pid = 0;
    (void)std::from_chars(text.data() + at + 6, text.data() + text.size(), pid);
    constexpr int kProcessGroup = 4;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
    out = {Scope::Process, pid};
    if ((call.int_arg(3) & kProcessGroup) != 0) out = {Scope::Group, group_of(call.services().proc, pid)};
  } else if (name == "setpriority" || name == "ioprio_set") {
    // which: process, group, user; IOPRIO_WHO_* counts from 1, PRIO_* from 0.
    const int which = call.int_arg(0) - (name == "ioprio_set" ? 1 : 0);
    out.scope = which == PRIO_PROCESS ? Scope::Process : which == PRIO_PGRP ? Scope::Group : Scope::User;
    out.number = call.int_arg(1);
  } else if (name == "fcntl") {
    if (call.int_arg(1) == F_SETOWN) {
      out = from_signed(call.int_arg(2));
      if (call.int_arg(2) == 0) out.scope = Scope::Process;
      return true;
    }
    f_owner_ex owner{};
    if (sys::read_object(call.services().memory, call.tid(), call.address(2), owner) != 0) return false;
    out.scope = owner.type == F_OWNER_PGRP ? Scope::Group : Scope::Process;
    out.number = owner.pid;
  } else {
    out = {Scope::Process, call.int_arg(0)};  // prlimit64, sched_*
  }
  return true;
}

// Whoever may signal others may still not end, stop or starve the one that watches it.
bool reaches_supervisor(const Services& services, const Target& target) {
  if (target.scope == Scope::Process) return services.is_supervisor(target.number);
  return target.scope != Scope::Group || group_of(services.proc, services.supervisor_pid) == target.number;
}

// F_SETOWN_EX reads its struct from memory: performed here, on the copy that was judged.
Action set_owner(Call& call, const Target& target) {
  auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{call.int_arg(0)});
  if (!copy) return call.fails(copy.error().code);
  f_owner_ex owner{.type = target.scope == Scope::Group ? F_OWNER_PGRP : F_OWNER_PID, .pid = target.number};
  return call.result(::fcntl(copy->get(), F_SETOWN_EX, &owner));
}

}  // namespace

Action handle_process_target(Call& call) {
  Services& services = call.services();
  Target target;
  if (!decode_target(call, target)) {
    // A bad descriptor or pointer is the kernel's to refuse: nothing was named.
    return call.row().name == "fcntl" ? Action{call.fails(EFAULT)} : Action{call.fails(EBADF)};
  }
  const bool owner_by_struct = call.row().name == "fcntl" && call.int_arg(1) != F_SETOWN;
  const auto go_on = [&]() -> Action {
    if (owner_by_struct) return set_owner(call, target);
    if (call.row().name == "pidfd_send_signal" || target.scope != Scope::Process) {
      return Continue{ContinueSafety::FloorBounded};
    }
    return Continue{ContinueSafety::RegisterOnly};
  };

  bool inside = false;
  if (target.scope == Scope::Process) {
    if (target.number < 0) return call.fails(ESRCH);  // a pidfd whose process is gone
    inside = target.number == 0 || target.number == call.tid().value ||
             services.is_own_process(target.number) ||
             (target.number > 0 && ::kill(target.number, 0) != 0 && errno == ESRCH);
    // Without the floor a descriptor could be exchanged after this look.
    if (call.row().name == "pidfd_send_signal" && !services.floor_scopes_signals && !call.auditing())
      inside = false;
  } else if (target.scope == Scope::Group) {
    if (target.number == 0) target.number = group_of(services.proc, call.tid().value);
    const GroupMembers members = members_of_group(services, target.number);
    inside = (members.inside && (services.floor_scopes_signals || !members.outside)) ||
             (!members.inside && !members.outside);
    // Priorities have no floor: every member must be ours.
    if (call.row().name == "setpriority" || call.row().name == "ioprio_set") inside = !members.outside;
  } else {
    // kill(-1): the floor leaves only the session's own to be hit.
    inside = target.scope == Scope::Everyone && call.row().name == "kill" && services.floor_scopes_signals;
  }
  if (inside) return go_on();

  if (target.scope == Scope::Everyone && call.row().name == "prlimit64") return handle_refused(call);
  call.record().event = "signal";
  call.record().target.pid = target.scope == Scope::Process ? target.number : -target.number;
  if (reaches_supervisor(services, target) &&
      !call.forbid("protected:supervisor", "the supervisor is among those it would reach", EPERM)) {
    return call.denied();
  }
  const std::string name = std::to_string(target.number);
  const checker::AccessView view{
      .verbs = Verb::SignalSend, .as_written = name, .resolved = name, .endpoint = {}};
  if (!call.permit(view)) return ReplyErrno{EPERM};
  return go_on();
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
  if (call.services().on_hello) call.services().on_hello(call.process().tgid);
  return ReplyValue{0};
}

// mmap(PROT_EXEC) of a file. Memory may always be made executable, so what a lost race (the descriptor
// exchanged after this look) reaches is the content of a file that the plugin may read anyway.
Action handle_map_exec(Call& call) {
  call.record().event = "module_load";
  auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{call.int_arg(4)});
  if (!copy) return call.fails(copy.error().code == EBADF ? EBADF : EACCES);
  sys::PinnedPath path;
  if (::fstat(copy->get(), &path.st) != 0) return call.fails(errno);
  if (const int error = call.services().proc.path_of(copy->get(), path.resolved); error != 0)
    return call.fails(error);
  path.as_written = path.resolved;
  path.object = std::move(*copy);
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
