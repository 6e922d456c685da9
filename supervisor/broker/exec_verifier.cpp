#include "supervisor/broker/exec_verifier.h"

#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <system_error>

#include "supervisor/base/errno_name.h"

namespace secbox::broker {

namespace {

// The value that the interrupted system call returned, or 0 where it cannot be read.
long syscall_result(pid_t tid) {
#if defined(__x86_64__)
  user_regs_struct regs{};
  iovec io{.iov_base = &regs, .iov_len = sizeof regs};
  if (::ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io) != 0) return 0;
  return static_cast<long>(regs.rax);
#elif defined(__aarch64__)
  user_regs_struct regs{};
  iovec io{.iov_base = &regs, .iov_len = sizeof regs};
  if (::ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io) != 0) return 0;
  return static_cast<long>(regs.regs[0]);
#endif
}

std::vector<std::string> split_nul(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    parts.emplace_back(text, at, end - at);
    at = end + 1;
  }
  return parts;
}

std::vector<std::string> variable_names(std::string_view environment) {
  std::vector<std::string> names;
  while (!environment.empty()) {
    const std::string_view variable = environment.substr(0, environment.find('\0'));
    names.emplace_back(variable.substr(0, variable.find('=')));
    environment.remove_prefix(std::min(variable.size() + 1, environment.size()));
  }
  return names;
}

// The name that the kernel itself kept of what was executed (AT_EXECFN): its own copy, not the caller's
// memory.
std::string executed_name(Services& services, pid_t tgid) {
  std::string auxv;
  if (services.proc.read_file(tgid, "auxv", auxv) != 0) return {};
  for (std::size_t at = 0; at + sizeof(Elf64_auxv_t) <= auxv.size(); at += sizeof(Elf64_auxv_t)) {
    Elf64_auxv_t entry;
    std::memcpy(&entry, auxv.data() + at, sizeof entry);
    if (entry.a_type != AT_EXECFN) continue;
    std::string name;
    if (sys::read_string(services.memory, ThreadId{tgid}, TargetAddress{entry.a_un.a_val}, sys::kMaxPath,
                         name) != 0)
      return {};
    return name;
  }
  return {};
}

// A file as one line of /proc/<pid>/maps names it.
struct MappedFile {
  dev_t dev = 0;
  ino_t ino = 0;
  std::string_view path;
};

// False for a line of memory without a file.
bool parse_mapping(const std::string& line, MappedFile& out) {
  unsigned major_number = 0;
  unsigned minor_number = 0;
  unsigned long ino = 0;
  int path_at = 0;
  if (std::sscanf(line.c_str(), "%*x-%*x %*s %*x %x:%x %lu %n", &major_number, &minor_number, &ino,
                  &path_at) != 3)
    return false;
  out = {makedev(major_number, minor_number), ino,
         std::string_view(line).substr(static_cast<std::size_t>(path_at))};
  return ino != 0;
}

// Where maps and stat(2) number the devices of a file system differently (btrfs, overlayfs) the canonical
// name decides: another file of that name would have to be mounted over it, which no plugin can.
bool is_file(const MappedFile& mapped, dev_t dev, ino_t ino, std::string_view path) {
  return mapped.dev == dev ? mapped.ino == ino : mapped.path == path;
}

}  // namespace

bool ExecVerifier::prepare() {
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  return wake_.valid() && signals_.valid();
}

bool ExecVerifier::start() {
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void ExecVerifier::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void ExecVerifier::submit(ExecTicket ticket) {
  if (ticket.caller_tgid == services_.first_process.load())
    ticket.in_flight = std::make_unique<InFlight>(services_.first_process_execs);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(ticket));
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

void ExecVerifier::run() {
  tid_.store(::gettid(), std::memory_order_release);
  while (true) {
    std::array<pollfd, 2> fds{pollfd{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                              pollfd{.fd = signals_.get(), .events = POLLIN, .revents = 0}};
    (void)::poll(fds.data(), fds.size(), -1);
    std::uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);
    signalfd_siginfo info{};
    bool child_event = false;
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      child_event = true;
    std::vector<ExecTicket> tickets;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;  // EXITKILL ends what is still attached
      tickets.swap(queue_);
    }
    for (ExecTicket& ticket : tickets) admit(std::move(ticket));
    reap();
    if (child_event && on_child_event) on_child_event();
  }
}

// A process that executes holds its cred_guard_mutex while it waits for its other threads to be gone, and one
// that is traced is gone only when its tracer has waited for it. PTRACE_SEIZE takes that mutex: attaching to
// a third thread then would never return, and no exec of the session would ever be verified again.
void ExecVerifier::admit(ExecTicket ticket) {
  const bool busy = std::any_of(active_.begin(), active_.end(), [&](const auto& entry) {
    return entry.second.caller_tgid == ticket.caller_tgid;
  });
  if (busy) {
    waiting_[ticket.caller_tgid].push_back(std::move(ticket));
  } else {
    attach(std::move(ticket));
  }
}

// The exec of `tid` came to its end, or died with it: the next of its process. Whoever was ended by an exec
// that succeeded is not there any more, which attach() finds out.
void ExecVerifier::done(pid_t tid) {
  const auto found = active_.find(tid);
  if (found == active_.end()) return;
  const auto queue = waiting_.extract(found->second.caller_tgid);
  active_.erase(found);
  if (queue.empty()) return;
  for (ExecTicket& ticket : queue.mapped()) admit(std::move(ticket));
}

void ExecVerifier::attach(ExecTicket ticket) {
  const pid_t tid = ticket.tid.value;
  if (::ptrace(PTRACE_SEIZE, tid, nullptr, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) != 0) {
    // One that was killed meanwhile is no longer there, or is on its way out and gives EPERM.
    if (errno == ESRCH || !services_.channel.alive(ticket.id)) return;
    if (ticket.enforce) {
      write_denial(ticket, ticket.caller_tgid, "the exec cannot be verified (ptrace is not permitted)", {});
      (void)services_.channel.reply_errno(ticket.id, EACCES);
      return;
    }
    audit::Record record = base_record(ticket);
    record.enforcement = audit::Enforcement::None;
    if (write(record, false)) {
      if (on_image)
        on_image({.tgid = ticket.caller_tgid, .exe = ticket.resolved, .shim = {.why = kNotVerified}});
      (void)services_.channel.reply_continue(ticket.id);  // Continue: auditing, nothing is to be refused
    } else {
      (void)services_.channel.reply_errno(ticket.id, EIO);
    }
    return;
  }
  (void)::ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  const std::uint64_t id = ticket.id;
  active_.insert_or_assign(tid, std::move(ticket));
  (void)services_.channel.reply_continue(
      id);  // Continue: ExecVerified; what the kernel then runs is checked at its first stop
}

void ExecVerifier::reap() {
  while (true) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG);
    if (pid <= 0) return;
    if (WIFSTOPPED(status)) {
      on_stop(pid, status);
    } else {
      if (pid == services_.first_process.load()) first_process_end_ = status;
      done(pid);  // killed on the way
    }
  }
}

void ExecVerifier::on_stop(pid_t pid, int status) {
  const int event = status >> 16;
  if (event == PTRACE_EVENT_EXEC) {
    // A thread that is not the leader takes the leader's number over; its old one is the event's message.
    unsigned long old_tid = 0;
    (void)::ptrace(PTRACE_GETEVENTMSG, pid, nullptr, &old_tid);
    auto found = active_.find(static_cast<pid_t>(old_tid));
    if (found == active_.end()) found = active_.find(pid);
    if (found == active_.end()) {
      (void)::kill(pid, SIGKILL);  // an exec that nobody approved
      (void)::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
      return;
    }
    const pid_t caller = found->first;
    verify(pid, found->second);
    done(caller);
    return;
  }
  if (event == PTRACE_EVENT_STOP) {
    const auto found = active_.find(pid);
    if (found != active_.end()) {
      const long result = syscall_result(pid);
      // 512 and above never reach the plugin: the kernel calls again, and we are asked again.
      if (result < 0 && result > -512) write_failure(found->second, static_cast<int>(-result));
    }
    (void)::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
    done(pid);
    return;
  }
  (void)::ptrace(PTRACE_CONT, pid, nullptr, static_cast<long>(WSTOPSIG(status)));
}

audit::Record ExecVerifier::base_record(const ExecTicket& ticket) const {
  audit::Record record;
  record.event = "exec";
  record.op = "exec";
  record.syscall = ticket.syscall;
  record.permission = ticket.permission;
  record.verdict = ticket.verdict;
  record.reason = ticket.reason;
  record.rule = audit::RuleRef{.id = ticket.rule_id,
                               .layer = ticket.rule_layer,
                               .file = ticket.rule_file,
                               .line = ticket.rule_line,
                               .text = ticket.rule_text};
  record.target.path = ticket.as_written;
  record.resolved_target = ticket.resolved;
  record.target.name = ticket.name;
  record.dev = ticket.file_dev;
  record.ino = ticket.file_ino;
  record.pid = ticket.caller_tgid;
  record.tid = ticket.tid.value;
  record.ppid = ticket.caller_ppid;
  record.exe = ticket.caller_exe;
  if (ticket.caller) record.caller = ticket.caller->ref();
  record.result = "ok";
  return record;
}

bool ExecVerifier::write(const audit::Record& record, bool denial) {
  const auto written = services_.sink.write(record);
  if (!written) {
    if (services_.on_audit_failure) services_.on_audit_failure();
    return false;
  }
  if (*written == 0) return false;
  if (denial && services_.on_denial) services_.on_denial(record, *written);
  return true;
}

void ExecVerifier::write_failure(const ExecTicket& ticket, int err) {
  audit::Record record = base_record(ticket);
  record.err = err;
  record.result = errno_name(err);
  record.enforcement = audit::Enforcement::Verified;
  (void)write(record, false);
}

void ExecVerifier::write_denial(const ExecTicket& ticket, pid_t tgid, std::string_view why,
                                std::string_view actual) {
  audit::Record record = base_record(ticket);
  record.event = "escape_attempt";
  record.verdict = audit::Verdict::Deny;
  record.rule = audit::RuleRef{
      .id = "protected:exec-verified", .layer = "protected", .file = {}, .line = 0, .text = {}};
  record.reason = why;
  record.err = EACCES;
  record.result = errno_name(EACCES);
  record.pid = tgid;
  record.resolved_target = actual.empty() ? std::string_view(ticket.resolved) : actual;
  record.enforcement = audit::Enforcement::Verified;
  (void)write(record, true);
}

// The script that the kernel was given, looked up once more from where the process stands. What the plugin
// can change meanwhile (a link, or the working directory that it shares with another task) it may have
// changed back: docs/threat-model.md.
bool ExecVerifier::is_script(pid_t tgid, const ExecTicket& ticket) const {
  if (executed_name(services_, tgid) != ticket.script) return false;
  sys::PinnedPath path;
  const sys::PathQuery query{.tid = ThreadId{tgid}, .path = ticket.script};
  return services_.resolver.resolve(query, path) == 0 && path.exists() && path.st.st_dev == ticket.file_dev &&
         path.st.st_ino == ticket.file_ino;
}

std::string_view ExecVerifier::mismatch(pid_t tgid, const ExecTicket& ticket, const std::string& exe) const {
  struct stat st{};
  const auto image = services_.proc.open_exe(ProcessId{tgid});
  if (!image || ::fstat(image->get(), &st) != 0) return "the new image cannot be examined";
  if (st.st_dev != ticket.dev || st.st_ino != ticket.ino)
    return "another program was started than the one that was approved";
  // At this stop the kernel has mapped the program and its loader, and nothing else.
  std::string maps;
  constexpr std::size_t kMaxMaps = 1U << 20;  // a thousand segments must not hide the last
  if (services_.proc.read_file(tgid, "maps", maps, kMaxMaps) != 0 || maps.size() >= kMaxMaps)
    return "the new image cannot be examined";
  std::istringstream lines(maps);
  for (std::string line; std::getline(lines, line);) {
    MappedFile file;
    if (parse_mapping(line, file) && !is_file(file, ticket.dev, ticket.ino, exe) &&
        (ticket.loader.empty() || !is_file(file, ticket.loader_dev, ticket.loader_ino, ticket.loader)))
      return "another loader was started than the one that was approved";
  }
  if (!ticket.script.empty() && !is_script(tgid, ticket))
    return "another script was started than the one that was approved";
  return {};
}

void ExecVerifier::verify(pid_t tgid, const ExecTicket& ticket) {
  services_.exec_epoch.fetch_add(1, std::memory_order_acq_rel);
  std::string exe;
  (void)services_.proc.read_link(tgid, "exe", exe);
  const std::string_view why = mismatch(tgid, ticket, exe);
  if (!why.empty() && ticket.enforce) {
    write_denial(ticket, tgid, why, exe);
    (void)::kill(tgid, SIGKILL);
    (void)::ptrace(PTRACE_DETACH, tgid, nullptr, nullptr);
    return;
  }
  constexpr std::size_t kMaxEnvironment = 256U << 10;
  // The kernel's own copies, taken before the new image can change them.
  std::string text;
  (void)services_.proc.read_file(tgid, "cmdline", text, 256U << 10);
  const std::vector<std::string> argv = split_nul(text);
  text.reserve(kMaxEnvironment);  // what grows leaves copies behind
  (void)services_.proc.read_file(tgid, "environ", text, kMaxEnvironment);
  const std::vector<std::string> names = variable_names(text);
  ::explicit_bzero(text.data(), text.size());
  audit::Record record = base_record(ticket);
  record.pid = tgid;
  record.argv = argv;
  record.env_names = names;
  record.exe = exe;
  record.enforcement = audit::Enforcement::Verified;
  if (!write(record, false)) (void)::kill(tgid, SIGKILL);
  const ShimGiven shim =
      why.empty() ? inject_shim(services_, tgid, ticket.elf, exe) : ShimGiven{.why = kNotVerified};
  if (on_image) on_image({.tgid = tgid, .exe = exe, .shim = shim});
  (void)::ptrace(PTRACE_DETACH, tgid, nullptr, nullptr);
}

}  // namespace secbox::broker
