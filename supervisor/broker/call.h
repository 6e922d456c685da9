// One held call on its way through the pipeline: what a handler is given, and what it may return.
//
// A handler decodes (reads the plugin's memory, once), resolves (asks the kernel, pins), judges and acts, in
// that order, and returns an Action. It never answers the call itself: the pipeline writes the record and
// then replies. Every early exit is a `return call.refuse(...)`: a reply starts life as a denial.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "supervisor/audit/record.h"
#include "supervisor/base/unique_fd.h"
#include "supervisor/broker/callers.h"
#include "supervisor/broker/syscall_table.h"
#include "supervisor/checker/decide.h"
#include "supervisor/sys/notify_fd.h"
#include "supervisor/sys/path_resolver.h"
#include "supervisor/sys/target.h"
#include "supervisor/sys/target_memory.h"

namespace secbox::broker {

class Services;

// Why letting the kernel read the plugin's memory again is harmless. Every Continue carries one.
enum class ContinueSafety : std::uint8_t {
  RegisterOnly,  // the decision used register values alone
  FloorBounded,  // the Landlock floor limits what a lost race can reach
  HandleOnly,    // a lost race reaches no more than the plugin holds already, or than stat(2) tells it
  NoDecision,    // recorded, never judged
};

struct ReplyErrno {
  int err;  // positive
};
struct ReplyValue {
  std::int64_t value;
};
// What opening does to the file waits until the caller has a number for it: a full table (EMFILE) must leave
// the file as it was.
struct InstallFd {
  UniqueFd fd;
  bool close_on_exec;
  bool truncate = false;                                      // to nothing, before the caller runs on
  std::optional<std::unique_lock<std::timed_mutex>> waits{};  // with truncate. See Call::may_wait
  std::move_only_function<void()> undo{};  // where it cannot be installed: what was created
};
struct Continue {
  ContinueSafety safety;
};
// The call may block: run the handler again, from the start, on a worker thread. Nothing of the first pass is
// kept.
struct NeedsWorker {};
// The exec verifier has taken the call over, with its record.
struct HandedOver {};

using Action = std::variant<ReplyErrno, ReplyValue, InstallFd, Continue, NeedsWorker, HandedOver>;

enum class Mode : std::uint8_t { Enforce, Audit };

// What is known of the process behind a thread; refreshed at exec and at least every second.
struct ProcessFacts {
  pid_t tgid = 0;
  pid_t ppid = 0;
  std::uint64_t started = 0;  // sys::Procfs::start_time()
  std::string exe;
  std::string comm;
};

class Call {
 public:
  Call(Services& services, const sys::Notification& notification, const SyscallRow& row, bool on_worker);

  const sys::Notification& notification() const { return notification_; }
  const SyscallRow& row() const { return row_; }
  Services& services() { return services_; }
  ThreadId tid() const { return notification_.tid; }
  [[nodiscard]] bool on_worker() const { return on_worker_; }
  [[nodiscard]] bool auditing() const;
  [[nodiscard]] int int_arg(std::size_t i) const { return notification_.int_arg(i); }
  [[nodiscard]] std::uint64_t arg(std::size_t i) const { return notification_.args[i]; }
  [[nodiscard]] TargetAddress address(std::size_t i) const { return TargetAddress{notification_.args[i]}; }

  // ---- decode: each memory location is read once ----
  // A path argument. 0 or the kernel's errno; an unreadable target is a refusal (EFAULT/EPERM), never a
  // Continue.
  [[nodiscard]] int read_path(std::size_t index, std::string& out);

  // ---- resolve ----
  [[nodiscard]] int resolve(int dirfd, std::string_view path, sys::LastLink last, sys::PinnedPath& out,
                            bool allow_empty = false, std::uint64_t resolve_flags = 0);
  // The directory that a relative path starts from, pinned, and its name. False where it has none (removed,
  // out of reach) or is not to be had: resolve() says why.
  [[nodiscard]] bool pin_base(int dirfd, std::string_view path, UniqueFd& base, std::string& name);
  // Reads /proc/<tid>/status, once a call.
  [[nodiscard]] int thread_facts(const sys::ThreadFacts*& out);
  // F_GETFL of the caller's own descriptor that the path named (held_as), where it still is this object's.
  [[nodiscard]] std::optional<int> held_flags(const sys::PinnedPath& path);
  // Takes the thread's own user for what follows, where the session has seen a change of identity; otherwise
  // free. Hold the result while acting. nullopt inside a value means "same identity".
  [[nodiscard]] Result<std::optional<sys::AssumedIdentity>> assume_identity();

  // ---- judge ----
  // Judges `verbs` on a resolved path and notes it for the record. True = go on: granted, or auditing.
  // False = refused: return call.denied().
  [[nodiscard]] bool permit(checker::VerbSet verbs, const sys::PinnedPath& path);
  // The same for a second path of the call (rename, link); the record keeps both.
  [[nodiscard]] bool permit_second(checker::VerbSet verbs, const sys::PinnedPath& path);
  // Net, unix, signal and other views.
  [[nodiscard]] bool permit(const checker::AccessView& view);
  // Notes an allowing decision that probe() made on exactly this name; the object was opened under it since.
  void accept(const checker::Decision& decision, checker::VerbSet verbs, std::string name,
              const struct stat& st);
  // The decision without noting anything: that of the plugin's rules, narrowed by those for the module that
  // calls.
  [[nodiscard]] checker::Decision probe(const checker::AccessView& view);
  // A denial by a built-in rule ("protected:block-device"). True = go on (auditing).
  [[nodiscard]] bool forbid(std::string_view rule_id, std::string_view reason, int err);
  // Of a process outside the session: what it refers to is nobody's to reach.
  [[nodiscard]] bool forbid_process(pid_t pid);
  // True where nothing says anything about reading or mapping this file, and it is the very program that the
  // caller runs: its bytes are in the caller's memory already. Then it is granted, and noted.
  [[nodiscard]] bool is_own_program(checker::VerbSet verbs, const sys::PinnedPath& path);
  // A grant by a built-in rule ("implied:held-descriptor").
  void grant(std::string_view rule_id, std::string_view reason);

  // ---- answers ----
  // Refused by decision: EACCES, or what forbid() named.
  [[nodiscard]] Action denied() const { return ReplyErrno{deny_errno_}; }
  // An errno that the kernel itself would have given; no decision is implied ("nothing there").
  [[nodiscard]] Action fails(int err);
  // Our own failure, or unreadable input: recorded as a denial, `err` to the plugin.
  [[nodiscard]] Action refuse(int err, std::string_view why);
  // The result of a raw call made for the plugin: value >= 0, or -1 with errno.
  [[nodiscard]] Action result(std::int64_t value) const;

  // Before a system call that may wait for a lock of the file's, as during another thread's long write: one
  // receiver at a time goes on, the other stays free for other calls. Hold the result while acting; nullopt =
  // return NeedsWorker{}.
  [[nodiscard]] std::optional<std::unique_lock<std::timed_mutex>> may_wait() const;
  // True where parent and leaf still are what was judged: the parent by its name, the leaf by its identity,
  // or still absent. Proves it for as long as Services::names is held.
  [[nodiscard]] bool still_named(const sys::PinnedPath& path) const;
  static constexpr int kMaxAttempts = 16;  // at a name that others change meanwhile

  // ---- blocking work (only with on_worker()) ----
  // Runs `work` (a raw call returning -1/errno) so that it is interrupted when the caller is killed or has a
  // signal that would interrupt it. On interruption errno is EINTR and interrupted() is true: return
  // call.restart().
  template <typename F>
  std::int64_t blocking(F&& work) {
    begin_blocking();
    std::int64_t value;
    do {
      value = work();
    } while (value < 0 && errno == EINTR && !interrupted());
    const int saved = errno;
    end_blocking();
    errno = saved;
    return value;
  }
  [[nodiscard]] bool interrupted() const;
  // ERESTARTSYS: a handler with SA_RESTART makes the kernel call again, any other sees EINTR, as natively.
  [[nodiscard]] Action restart() { return ReplyErrno{512}; }

  // The call ends the plugin's first process: the session is ended before it is answered.
  void mark_final_exit() { final_exit_ = true; }

  // ---- record ----
  // The handler fills what it knows; strings must outlive the call (keep() copies one).
  audit::Record& record() { return record_; }
  std::string_view keep(std::string text);
  const ProcessFacts& process();
  // Which module made the call. Null where nothing is known. Looked up once.
  [[nodiscard]] const Caller* caller();
  // The end point that was judged last, if any.
  [[nodiscard]] const std::optional<checker::Endpoint>& endpoint() const { return endpoint_; }

 private:
  friend class Pipeline;
  void begin_blocking();
  void end_blocking();
  bool judge(const checker::AccessView& view);
  void note_rule(const checker::Decision& decision);
  void note_path(const sys::PinnedPath& path, bool second);
  void fill_permission(checker::VerbSet verbs);

  Services& services_;
  const sys::Notification& notification_;
  const SyscallRow& row_;
  const bool on_worker_;
  audit::Record record_;
  std::int64_t started_ns_;
  std::vector<std::unique_ptr<std::string>> kept_;
  std::optional<sys::ThreadFacts> facts_;
  std::shared_ptr<const ProcessFacts> process_;
  int deny_errno_ = 13;  // EACCES
  bool denied_ = false;
  bool failed_closed_ = false;    // by refuse()
  std::optional<pid_t> outside_;  // resolve() was kept from what this process refers to
  bool nameless_ = false;         // resolve() found no name short enough to be judged
  bool final_exit_ = false;
  bool looked_for_caller_ = false;
  std::optional<Caller> caller_;
  std::optional<checker::Endpoint> endpoint_;
  std::shared_ptr<struct Blocker> blocker_;
};

using HandlerFunction = Action (*)(Call&);

// One function a handler; one file a family.
Action handle_open(Call&);
Action handle_openat(Call&);
Action handle_openat2(Call&);
Action handle_creat(Call&);
Action handle_exec(Call&);
Action handle_execveat(Call&);
Action handle_unlink(Call&);
Action handle_rmdir(Call&);
Action handle_rename(Call&);
Action handle_link(Call&);
Action handle_symlink(Call&);
Action handle_mkdir(Call&);
Action handle_mknod(Call&);
Action handle_chmod(Call&);
Action handle_chown(Call&);
Action handle_truncate(Call&);
Action handle_utimes(Call&);
Action handle_xattr(Call&);
Action handle_fchmod(Call&);
Action handle_fchown(Call&);
Action handle_fxattr(Call&);
Action handle_inotify_add_watch(Call&);
Action handle_connect(Call&);
Action handle_bind(Call&);
Action handle_listen(Call&);
Action handle_sendto(Call&);
Action handle_sendmsg(Call&);
Action handle_sendmmsg(Call&);
Action handle_process_target(Call&);
Action handle_process_group(Call&);
Action handle_map_exec(Call&);
Action handle_prctl(Call&);
Action handle_cred_change(Call&);
Action handle_exit_group(Call&);
Action handle_refused(Call&);

}  // namespace secbox::broker
