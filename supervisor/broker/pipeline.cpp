#include "supervisor/broker/pipeline.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <optional>
#include <utility>

#include "supervisor/audit/denial_message.h"
#include "supervisor/base/errno_name.h"
#include "supervisor/broker/argument_rules.h"
#include "supervisor/broker/blocking.h"
#include "supervisor/broker/callers.h"

namespace secbox::broker {

namespace {

HandlerFunction handler_of(Handler handler) {
  switch (handler) {
    case Handler::Open:
      return handle_open;
    case Handler::Openat:
      return handle_openat;
    case Handler::Openat2:
      return handle_openat2;
    case Handler::Creat:
      return handle_creat;
    case Handler::Exec:
      return handle_exec;
    case Handler::Execveat:
      return handle_execveat;
    case Handler::Unlink:
      return handle_unlink;
    case Handler::Rmdir:
      return handle_rmdir;
    case Handler::Rename:
      return handle_rename;
    case Handler::Link:
      return handle_link;
    case Handler::Symlink:
      return handle_symlink;
    case Handler::Mkdir:
      return handle_mkdir;
    case Handler::Mknod:
      return handle_mknod;
    case Handler::Chmod:
      return handle_chmod;
    case Handler::Chown:
      return handle_chown;
    case Handler::Truncate:
      return handle_truncate;
    case Handler::Utimes:
      return handle_utimes;
    case Handler::Xattr:
      return handle_xattr;
    case Handler::Fchmod:
      return handle_fchmod;
    case Handler::Fchown:
      return handle_fchown;
    case Handler::Fxattr:
      return handle_fxattr;
    case Handler::InotifyAddWatch:
      return handle_inotify_add_watch;
    case Handler::Connect:
      return handle_connect;
    case Handler::Bind:
      return handle_bind;
    case Handler::Listen:
      return handle_listen;
    case Handler::Sendto:
      return handle_sendto;
    case Handler::Sendmsg:
      return handle_sendmsg;
    case Handler::Sendmmsg:
      return handle_sendmmsg;
    case Handler::ProcessTarget:
      return handle_process_target;
    case Handler::ProcessGroup:
      return handle_process_group;
    case Handler::MapExec:
      return handle_map_exec;
    case Handler::Prctl:
      return handle_prctl;
    case Handler::CredChange:
      return handle_cred_change;
    case Handler::ExitGroup:
      return handle_exit_group;
    case Handler::None:
    case Handler::Refused:
      return handle_refused;
  }
  return handle_refused;
}

// Numbers that no table row has: newer than this build, or nonsense.
constexpr SyscallRow kUnknownRow{.name = "unknown",
                                 .number_x86_64 = -1,
                                 .number_aarch64 = -1,
                                 .call_class = CallClass::Refuse,
                                 .handler = Handler::Refused,
                                 .operation = "unknown-syscall",
                                 .deny_errno = ENOSYS,
                                 .note = "not in the table"};

audit::Enforcement enforcement_of(const Action& action) {
  if (const auto* go_on = std::get_if<Continue>(&action)) {
    switch (go_on->safety) {
      case ContinueSafety::RegisterOnly:
        return audit::Enforcement::RegisterOnly;
      case ContinueSafety::FloorBounded:
        return audit::Enforcement::FloorBounded;
      case ContinueSafety::HandleOnly:
        return audit::Enforcement::HandleOnly;
      case ContinueSafety::NoDecision:
        return audit::Enforcement::NoDecision;
    }
  }
  return audit::Enforcement::SameObject;
}

std::int64_t now_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

void UnderWay::close(std::chrono::nanoseconds patience) {
  closed_.store(true);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (count_.load() > 0 && std::chrono::steady_clock::now() < deadline) {
    const timespec pause{.tv_sec = 0, .tv_nsec = 50'000};
    (void)::nanosleep(&pause, nullptr);
  }
}

void Pipeline::receive_loop() {
  BlockingCalls::prepare_thread();
  sys::Notification notification;
  while (!stopping_.load(std::memory_order_acquire)) {
    switch (services_.channel.receive(notification)) {
      case sys::ReceiveStatus::Received:
        handle(notification, false);
        break;
      case sys::ReceiveStatus::Retry:
        break;
      case sys::ReceiveStatus::Ended:
        return;
    }
  }
}

Action Pipeline::act(Call& call) {
  // A caller that has no number here cannot be looked at: refuse.
  if (call.tid().value == 0) return call.refuse(EPERM, "the caller is not visible from here");
  const Handler handler = call.row().handler;
  if (services_.views_differ.load() && handler != Handler::ExitGroup &&
      !services_.proc.shares_view(call.tid())) {
    call.record().event = "foreign_view";
    call.record().target.name = call.row().name;
    call.grant("audit:foreign-view", "the caller has other mounts or another root: not looked at");
    return Continue{ContinueSafety::NoDecision};
  }
  try {
    std::optional<InFlight> exec;
    if ((handler == Handler::Exec || handler == Handler::Execveat) &&
        call.process().tgid == services_.first_process.load()) {
      exec.emplace(services_.first_process_execs);
      // Another thread's exit_group was taken for the end of the session: natively this one would be dying.
      if (services_.ending.load()) return call.fails(EAGAIN);
    }
    Action action = handler_of(handler)(call);
    if (call.auditing() && handler == Handler::Refused && std::holds_alternative<Continue>(action))
      services_.views_differ.store(true);
    return action;
  } catch (const std::exception&) {
    return call.refuse(ENOMEM, "the supervisor has no more memory or threads");
  }
}

// The first process has called exit_group: true where it really ends. One of its threads may be on its way
// through exec, which ends the caller instead.
bool Pipeline::is_the_end(std::uint64_t id) {
  services_.ending.store(true);
  const std::int64_t deadline = now_ns() + 2'000'000'000;
  while (services_.first_process_execs.load() > 0 && services_.channel.alive(id) && now_ns() < deadline) {
    const timespec pause{.tv_sec = 0, .tv_nsec = 100'000};
    (void)::nanosleep(&pause, nullptr);
  }
  if (services_.channel.alive(id)) return true;
  services_.ending.store(false);
  return false;
}

void Pipeline::handle(const sys::Notification& notification, bool on_worker) {
  UnderWay::Pass pass(services_.under_way);
  // The session is over, and what calls here is about to be gone with it: nothing is done for it any more.
  if (!pass.open()) return;
  const SyscallRow* row = row_of_call(notification.number, notification.args);
  Call call(services_, notification, row != nullptr ? *row : kUnknownRow, on_worker);
  Action action = act(call);
  if (std::holds_alternative<HandedOver>(action)) return;
  if (std::holds_alternative<NeedsWorker>(action)) {
    if (services_.blocking->start([this, notification] { handle(notification, true); })) return;
    action = call.refuse(EAGAIN, "too many calls are blocked already");
  }
  finish(call, std::move(action), pass);
}

Pipeline::Recorded Pipeline::write_record(Call& call, const Action& action) {
  audit::Record& record = call.record();
  if (record.event.empty() && record.verdict != audit::Verdict::Deny)
    return Recorded::Written;  // nothing was judged
  if (record.event.empty()) record.event = "violation";
  const ProcessFacts& process = call.process();
  record.op = record.op.empty() ? call.row().operation : record.op;
  record.syscall = call.row().name;
  record.pid = process.tgid;
  record.tid = call.tid().value;
  record.ppid = process.ppid;
  record.exe = process.exe;
  record.comm = process.comm;
  if (const auto* reply = std::get_if<ReplyErrno>(&action)) {
    record.err = reply->err;
    record.result = reply->err == 0 ? "ok" : errno_name(reply->err);
  } else {
    record.result = "ok";
  }
  if (record.verdict == audit::Verdict::None) call.grant("kernel", "the kernel's own answer");
  record.enforcement = enforcement_of(action);
  if (const Caller* caller = call.caller(); caller != nullptr) record.caller = caller->ref();
  record.duration_ns = now_ns() - call.started_ns_;
  const auto written = services_.sink.write(record);
  if (!written) {
    if (services_.on_audit_failure) services_.on_audit_failure();
    return Recorded::Failed;
  }
  if (*written == 0) return Recorded::Over;
  if (call.denied_ && services_.on_denial) services_.on_denial(record, *written);
  return Recorded::Written;
}

int Pipeline::install(Call& call, InstallFd& install) {
  const std::uint64_t id = call.notification().id;
  struct stat st{};
  const int fd = install.fd.get();
  const bool written = call.row().handler != Handler::Prctl &&
                       (::fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY && ::fstat(fd, &st) == 0 &&
                       S_ISREG(st.st_mode);
  if (!written) {
    const sys::InstallResult sent = services_.channel.install_fd(id, fd, install.close_on_exec);
    return sent.status == sys::ReplyStatus::Failed ? sent.error : 0;
  }
  const sys::InstallResult added = services_.channel.add_fd(id, fd, install.close_on_exec);
  if (added.status != sys::ReplyStatus::Sent)
    return added.status == sys::ReplyStatus::Failed ? added.error : 0;
  if (install.truncate && ::ftruncate(fd, 0) != 0) return errno;
  const audit::Record& record = call.record();
  if (services_.on_written)
    services_.on_written(record.resolved_target.empty() ? record.target.path : record.resolved_target,
                         st.st_dev, st.st_ino, install.truncate ? 0 : static_cast<std::uint64_t>(st.st_size));
  // Our copy goes before the caller runs on: a program that it writes, closes and starts is not busy
  // (ETXTBSY).
  install.fd.reset();
  (void)services_.channel.reply_value(id, added.number);
  return 0;
}

void Pipeline::finish(Call& call, Action action, UnderWay::Pass& pass) {
  const std::uint64_t id = call.notification().id;
  // Killed meanwhile, and so not to be looked at: it was refused nothing.
  if (call.failed_closed_ && !services_.channel.alive(id)) return;
  const Recorded recorded = write_record(call, action);
  // It took longer than the end of the session was ready to wait.
  if (recorded == Recorded::Over) return;
  if (recorded == Recorded::Failed) action = ReplyErrno{EIO};
  if (call.denied_ && services_.callers != nullptr)
    services_.callers->explain(call, [&] { return audit::explanation(call.record()); });
  if (call.final_exit_ && services_.on_first_process_exit) {
    pass.leave();
    if (is_the_end(id)) services_.on_first_process_exit();
  }
  if (auto* reply = std::get_if<ReplyErrno>(&action)) {
    (void)services_.channel.reply_errno(id, reply->err);
  } else if (auto* value = std::get_if<ReplyValue>(&action)) {
    (void)services_.channel.reply_value(id, value->value);
  } else if (auto* install = std::get_if<InstallFd>(&action)) {
    const int error = this->install(call, *install);
    if (error != 0) {
      // The caller's table is full (EMFILE): its own error, never a Continue. The record is put right by a
      // second one.
      install->fd.reset();
      if (install->undo) install->undo();
      (void)write_record(call, ReplyErrno{error});
      (void)services_.channel.reply_errno(id, error);
    }
  } else if (std::holds_alternative<Continue>(action)) {
    (void)services_.channel.reply_continue(id);
  }
}

void serve_only_the_end(sys::NotifyChannel& channel, const std::function<void()>& before_end) {
  sys::Notification call;
  while (true) {
    const sys::ReceiveStatus status = channel.receive(call);
    if (status == sys::ReceiveStatus::Ended) return;
    if (status != sys::ReceiveStatus::Received) continue;
    const SyscallRow* row = row_of_call(call.number, call.args);
    if (row != nullptr && row->name == "exit_group") {
      before_end();
      (void)channel.reply_continue(call.id);  // Continue: RegisterOnly
      return;
    }
    (void)channel.reply_errno(call.id, EPERM);
  }
}

}  // namespace secbox::broker
