// execve, execveat: judged here on the pinned file and on everything that the kernel will read to start it
// (the script's interpreters, the ELF loader), then verified by exec_verifier.cpp.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "supervisor/broker/call.h"
#include "supervisor/broker/exec_verifier.h"
#include "supervisor/broker/services.h"
#include "supervisor/sys/elf_file.h"

namespace secbox::broker {

namespace {

using checker::Verb;
using sys::PinnedPath;

constexpr std::size_t kHeadSize = 256;  // BINPRM_BUF_SIZE: how far the kernel itself looks
constexpr int kMaxInterpreters = 5;
constexpr int kExecveCheck = 0x10000;  // AT_EXECVE_CHECK, Linux 6.14; EINVAL by the kernel before

// What "#! /path arg" names, by the kernel's rules (fs/binfmt_script.c): spaces and tabs around it, ended by
// the line.
std::string_view script_interpreter(std::string_view head) {
  if (!head.starts_with("#!")) return {};
  const bool cut = head.size() == kHeadSize && head.find('\n') == std::string_view::npos;
  head.remove_prefix(2);
  if (cut) {  // within the name: no interpreter, and ENOEXEC
    const std::size_t name = head.find_first_not_of(" \t");
    if (name == std::string_view::npos ||
        head.find_first_of(std::string_view(" \t\0", 3), name) == std::string_view::npos)
      return {};
  }
  head = head.substr(0, head.find('\n'));
  head = head.substr(0, head.find('\0'));
  while (!head.empty() && (head.front() == ' ' || head.front() == '\t')) head.remove_prefix(1);
  return head.substr(0, head.find_first_of(" \t"));
}

// What the record says of the decision, for when the call's own strings are gone.
void note_decision(const audit::Record& record, ExecTicket& ticket) {
  ticket.as_written = record.target.path;
  ticket.resolved = record.resolved_target;
  ticket.name = record.target.name;
  ticket.permission = record.permission;
  ticket.reason = record.reason;
  ticket.verdict = record.verdict;
  if (record.rule) {
    ticket.rule_id = record.rule->id;
    ticket.rule_layer = record.rule->layer;
    ticket.rule_file = record.rule->file;
    ticket.rule_text = record.rule->text;
    ticket.rule_line = record.rule->line;
  }
}

ExecTicket make_ticket(Call& call, const PinnedPath& file) {
  ExecTicket ticket;
  ticket.id = call.notification().id;
  ticket.tid = call.tid();
  note_decision(call.record(), ticket);
  ticket.file_dev = file.st.st_dev;
  ticket.file_ino = file.st.st_ino;
  ticket.syscall = call.row().name;
  const ProcessFacts& process = call.process();
  ticket.caller_exe = process.exe;
  ticket.caller_tgid = process.tgid;
  ticket.caller_ppid = process.ppid;
  if (const Caller* caller = call.caller(); caller != nullptr) ticket.caller = *caller;
  ticket.enforce = !call.auditing();
  return ticket;
}

// Judges an interpreter or a loader. Where it is refused it is the object of the record: a grant of the
// program would change nothing. The program is named beside it.
bool permit_part(Call& call, Verb verb, const PinnedPath& part, const PinnedPath& program,
                 ExecTicket& ticket) {
  audit::Record& record = call.record();
  const bool first_refusal = record.verdict == audit::Verdict::Allow;
  const bool go_on = call.permit_second(verb, part);
  if (record.verdict == audit::Verdict::Allow || !first_refusal) return go_on;
  record.target.name = call.keep(program.as_written);
  record.target.path = std::exchange(record.target.path2, {});
  record.resolved_target = std::exchange(record.resolved_target2, {});
  record.dev = part.st.st_dev;
  record.ino = part.st.st_ino;
  if (go_on) note_decision(record, ticket);
  return go_on;
}

// The name as the kernel will keep it in AT_EXECFN (fs/exec.c, alloc_bprm).
std::string kernel_name(int dirfd, const std::string& path) {
  if (dirfd == AT_FDCWD || path.starts_with('/')) return path;
  return path.empty() ? "/dev/fd/" + std::to_string(dirfd) : "/dev/fd/" + std::to_string(dirfd) + "/" + path;
}

Action exec_file(Call& call, int dirfd, const std::string& path, int flags) {
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | kExecveCheck)) != 0) return call.fails(EINVAL);
  PinnedPath file;
  const auto last = (flags & AT_SYMLINK_NOFOLLOW) != 0 ? sys::LastLink::Keep : sys::LastLink::Follow;
  if (const int error = call.resolve(dirfd, path, last, file, (flags & AT_EMPTY_PATH) != 0); error != 0)
    return call.fails(error);
  if (!file.exists()) {
    call.record().target.path = call.keep(file.as_written);
    return call.fails(ENOENT);
  }
  if (S_ISLNK(file.st.st_mode)) return call.fails(ELOOP);
  if (!S_ISREG(file.st.st_mode)) return call.fails(EACCES);
  if (!call.permit(Verb::ExecRun, file)) return call.denied();
  // Starts nothing, by a flag in a register: the kernel says whether it would.
  if ((flags & kExecveCheck) != 0) return Continue{ContinueSafety::RegisterOnly};

  // A file that we may not read would make the process unreadable to us (PR_SET_DUMPABLE is cleared): never
  // let through.
  const int readable = call.services().proc.reopen(file.object.get(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (readable < 0) {
    if ((file.st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0) return call.fails(EACCES);
    return call.refuse(EACCES, "a program that the supervisor may not read cannot be verified");
  }
  ExecTicket ticket = make_ticket(call, file);
  ticket.dev = file.st.st_dev;
  ticket.ino = file.st.st_ino;

  UniqueFd image(readable);
  PinnedPath interpreter;
  for (int depth = 0;; ++depth) {
    std::array<char, kHeadSize> buffer{};
    const ssize_t got = ::pread(image.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) return call.fails(errno);
    const std::string_view head(buffer.data(), static_cast<std::size_t>(got));
    ticket.elf = sys::read_elf(image.get(), head);
    if (const std::string& loader = ticket.elf.loader; !loader.empty()) {
      PinnedPath pinned;
      // Not there, or not to be reached: it could be by the time that the kernel looks.
      if (const int error = call.resolve(AT_FDCWD, loader, sys::LastLink::Follow, pinned); error != 0)
        return call.fails(error);
      if (!pinned.exists()) return call.fails(ENOENT);
      if (!S_ISREG(pinned.st.st_mode)) return call.fails(EACCES);
      if (!permit_part(call, Verb::FileLoad, pinned, file, ticket)) return call.denied();
      ticket.loader = pinned.resolved;
      ticket.loader_dev = pinned.st.st_dev;
      ticket.loader_ino = pinned.st.st_ino;
      break;
    }
    const std::string_view name = script_interpreter(head);
    if (name.empty())
      break;  // not ours to know: the kernel answers ENOEXEC, or binfmt_misc picks a program to verify
    if (depth == kMaxInterpreters) return call.fails(ELOOP);
    if (depth == 0) ticket.script = kernel_name(dirfd, path);
    PinnedPath next;
    if (const int error = call.resolve(AT_FDCWD, std::string(name), sys::LastLink::Follow, next); error != 0)
      return call.fails(error);
    if (!next.exists()) return call.fails(ENOENT);
    if (!S_ISREG(next.st.st_mode)) return call.fails(EACCES);
    if (!permit_part(call, Verb::ExecRun, next, file, ticket)) return call.denied();
    const int fd = call.services().proc.reopen(next.object.get(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
      return call.refuse(EACCES, "an interpreter that the supervisor may not read cannot be verified");
    image.reset(fd);
    interpreter = std::move(next);
    ticket.dev = interpreter.st.st_dev;
    ticket.ino = interpreter.st.st_ino;
  }
  call.services().execs->submit(std::move(ticket));
  return HandedOver{};
}

}  // namespace

Action handle_exec(Call& call) {
  call.record().event = "exec";
  std::string path;
  if (const int error = call.read_path(0, path); error != 0) {
    return error == EFAULT || error == ENAMETOOLONG
               ? Action{call.fails(error)}
               : call.refuse(EACCES, "the caller's memory cannot be read");
  }
  return exec_file(call, AT_FDCWD, path, 0);
}

Action handle_execveat(Call& call) {
  call.record().event = "exec";
  std::string path;
  if (const int error = call.read_path(1, path); error != 0) {
    return error == EFAULT || error == ENAMETOOLONG
               ? Action{call.fails(error)}
               : call.refuse(EACCES, "the caller's memory cannot be read");
  }
  return exec_file(call, call.int_arg(0), path, call.int_arg(4));
}

}  // namespace secbox::broker
