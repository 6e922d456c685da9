#include "supervisor/broker/call.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

#include "supervisor/broker/blocking.h"
#include "supervisor/broker/services.h"

namespace secbox::broker {

namespace {

using checker::AccessView;
using checker::Decision;
using checker::Reason;
using checker::Verb;
using checker::VerbSet;

std::int64_t now_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

constexpr std::array kVerbs{Verb::FileRead,   Verb::FileList,   Verb::FileWrite,  Verb::FileCreate,
                            Verb::FileDelete, Verb::FileLoad,   Verb::ExecRun,    Verb::NetConnect,
                            Verb::NetBind,    Verb::UnixSocket, Verb::SignalSend, Verb::EnvRead};

// What anyone may read of another's /proc/<pid>; all else there is the process's own business.
bool is_public_proc_entry(std::string_view entry) {
  static constexpr std::array<std::string_view, 14> kPublic{
      "",       "stat", "statm", "status",    "cmdline",   "comm",          "cgroup",
      "limits", "io",   "wchan", "schedstat", "oom_score", "oom_score_adj", "task"};
  if (std::find(kPublic.begin(), kPublic.end(), entry) != kPublic.end()) return true;
  if (!entry.starts_with("task/")) return false;
  const std::size_t slash = entry.find('/', 5);
  return slash == std::string_view::npos || is_public_proc_entry(entry.substr(slash + 1));
}

bool is_descriptor_name(std::string_view name) {
  return name.starts_with("/proc/") || name.starts_with("/dev/fd/") || name.starts_with("/dev/std");
}

// What the kernel itself answers with ENAMETOOLONG.
bool has_long_component(std::string_view path) {
  while (!path.empty()) {
    const std::size_t size = std::min(path.find('/'), path.size());
    if (size > NAME_MAX) return true;
    path.remove_prefix(std::min(size + 1, path.size()));
  }
  return false;
}

bool denied_outright(const Decision& decision) {
  return decision.reason() == Reason::DeniedByRule || decision.reason() == Reason::ProtectedState;
}

// "/proc/<pid>/x" -> {"/proc", "x"}; the mount point is found by the pid's own place in the text.
struct ProcName {
  std::string_view mount;
  std::string_view entry;
};
ProcName split_proc_name(const sys::Procfs& proc, std::string_view path) {
  for (const std::string& mount : proc.mount_points()) {
    if (!path.starts_with(mount) || path.size() <= mount.size() || path[mount.size()] != '/') continue;
    const std::string_view rest = path.substr(mount.size() + 1);
    const std::size_t slash = rest.find('/');
    return {path.substr(0, mount.size()),
            slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1)};
  }
  return {};
}

}  // namespace

Call::Call(Services& services, const sys::Notification& notification, const SyscallRow& row, bool on_worker)
    : services_(services),
      notification_(notification),
      row_(row),
      on_worker_(on_worker),
      started_ns_(now_ns()) {}

bool Call::auditing() const { return services_.mode == Mode::Audit; }

std::string_view Call::keep(std::string text) {
  kept_.push_back(std::make_unique<std::string>(std::move(text)));
  return *kept_.back();
}

int Call::read_path(std::size_t index, std::string& out) {
  return sys::read_string(services_.memory, tid(), address(index), sys::kMaxPath, out);
}

int Call::resolve(int dirfd, std::string_view path, sys::LastLink last, sys::PinnedPath& out,
                  bool allow_empty, std::uint64_t resolve_flags) {
  const int error = services_.resolver.resolve({.tid = tid(),
                                                .dirfd = dirfd,
                                                .path = path,
                                                .last = last,
                                                .allow_empty = allow_empty,
                                                .resolve = resolve_flags},
                                               out);
  // What was looked up through the thread's number was its own only if the call is still held.
  if (!services_.channel.alive(notification_.id)) return ESRCH;
  nameless_ = error == ENAMETOOLONG && !has_long_component(path);
  // The layer that this process shares with the plugin keeps both from what processes outside refer to.
  outside_.reset();
  if ((error == EACCES || error == EPERM) && out.via_pid && !services_.is_own_process(*out.via_pid))
    outside_ = out.via_pid;
  if (error != 0 && record_.target.path.empty()) {
    record_.target.path = keep(out.as_written.empty() ? std::string(path) : out.as_written);
  }
  return error;
}

bool Call::pin_base(int dirfd, std::string_view path, UniqueFd& base, std::string& name) {
  if (services_.resolver.open_base({.tid = tid(), .dirfd = dirfd, .path = path}, base, name) != 0)
    return false;
  // A removed directory's name may be somebody else's by now.
  struct stat st{};
  return name.starts_with('/') && ::fstat(base.get(), &st) == 0 && st.st_nlink != 0 &&
         services_.channel.alive(notification_.id);
}

int Call::thread_facts(const sys::ThreadFacts*& out) {
  if (!facts_) {
    sys::ThreadFacts facts;
    if (const int error = services_.proc.read_facts(tid(), facts); error != 0) return error;
    facts_ = std::move(facts);
  }
  out = &*facts_;
  return 0;
}

std::optional<int> Call::held_flags(const sys::PinnedPath& path) {
  if (!path.held_as) return std::nullopt;
  // The duplicate is compared with what was pinned: the number may have been given to another file in
  // between, and that one's access says nothing about this object.
  const auto copy = sys::duplicate_descriptor(services_.proc, tid(), *path.held_as);
  struct stat st{};
  if (!copy || ::fstat(copy->get(), &st) != 0 || st.st_dev != path.st.st_dev || st.st_ino != path.st.st_ino)
    return std::nullopt;
  const int flags = ::fcntl(copy->get(), F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return std::nullopt;
  return flags;
}

Result<std::optional<sys::AssumedIdentity>> Call::assume_identity() {
  if (!services_.identities_differ.load(std::memory_order_acquire))
    return std::optional<sys::AssumedIdentity>{};
  const sys::ThreadFacts* facts = nullptr;
  if (const int error = thread_facts(facts); error != 0) return failure("read the caller's identity", error);
  auto identity = sys::AssumedIdentity::assume(*facts);
  if (!identity) return std::unexpected(identity.error());
  return std::optional<sys::AssumedIdentity>(std::move(*identity));
}

void Call::fill_permission(VerbSet verbs) {
  std::string text;
  for (const Verb verb : kVerbs) {
    if (!verbs.contains(verb)) continue;
    const std::string_view name = verb_name(verb);
    if (text.empty()) {
      if (verbs == VerbSet(verb)) {
        record_.permission = name;  // the common case borrows the constant
        return;
      }
      text = name;
    } else {
      text += '|';
      text += name.substr(name.find(':') + 1);
    }
  }
  record_.permission = keep(std::move(text));
}

void Call::note_rule(const Decision& decision) {
  record_.reason = reason_text(decision.reason());
  if (const checker::Rule* rule = decision.rule(); rule != nullptr) {
    record_.rule = audit::RuleRef{.id = rule->id,
                                  .layer = layer_name(rule->layer),
                                  .file = rule->source.file,
                                  .line = rule->source.line,
                                  .text = rule->source.text};
  } else {
    record_.rule = audit::RuleRef{.id = "default", .layer = "default", .file = {}, .line = 0, .text = {}};
  }
}

void Call::accept(const Decision& decision, VerbSet verbs, std::string name, const struct stat& st) {
  fill_permission(verbs);
  note_rule(decision);
  record_.verdict = audit::Verdict::Allow;
  record_.target.path = record_.resolved_target = keep(std::move(name));
  record_.dev = st.st_dev;
  record_.ino = st.st_ino;
}

bool Call::judge(const AccessView& view) {
  if (view.endpoint) endpoint_ = view.endpoint;
  const Decision decision = probe(view);
  const bool first = record_.verdict == audit::Verdict::None;
  if (decision.allowed() && (!first && record_.verdict != audit::Verdict::Allow))
    return true;  // keep the denial
  fill_permission(decision.allowed() ? view.verbs : VerbSet(decision.verb()));
  note_rule(decision);
  if (decision.allowed()) {
    record_.verdict = audit::Verdict::Allow;
    return true;
  }
  record_.verdict = auditing() ? audit::Verdict::WouldDeny : audit::Verdict::Deny;
  denied_ = !auditing();
  deny_errno_ = EACCES;
  return auditing();
}

void Call::note_path(const sys::PinnedPath& path, bool second) {
  const std::string_view written = keep(path.as_written);
  const std::string_view resolved = path.resolved == path.as_written ? written : keep(path.resolved);
  if (second) {
    record_.target.path2 = written;
    record_.resolved_target2 = resolved;
    return;
  }
  record_.target.path = written;
  record_.resolved_target = resolved;
  if (path.exists()) {
    record_.dev = path.st.st_dev;
    record_.ino = path.st.st_ino;
  }
}

bool Call::permit(const AccessView& view) { return judge(view); }

Decision Call::probe(const AccessView& view) {
  const Decision decision = checker::decide(services_.rules(), view);
  if (!decision.allowed() || services_.module_rules == nullptr || services_.module_rules->empty())
    return decision;
  const Caller* who = caller();
  if (who == nullptr || !who->checked()) return decision;
  return services_.module_rules->denies(who->module->path, view).value_or(decision);
}

bool Call::permit_second(VerbSet verbs, const sys::PinnedPath& path) {
  note_path(path, true);
  const AccessView view{
      .verbs = verbs, .as_written = path.as_written, .resolved = path.resolved, .endpoint = {}};
  return judge(view);
}

bool Call::permit(VerbSet verbs, const sys::PinnedPath& path) {
  note_path(path, false);
  AccessView view{.verbs = verbs, .as_written = path.as_written, .resolved = path.resolved, .endpoint = {}};
  if (!path.proc_pid && !path.via_pid) return judge(view);

  // /proc/<pid>: whose?
  const sys::ThreadFacts* facts = nullptr;
  if (thread_facts(facts) != 0)
    return forbid("protected:unreadable-caller", "the caller could not be identified", EACCES);
  const auto is_caller = [&](pid_t pid) { return pid == facts->tgid || pid == tid().value; };
  if (path.via_pid && !is_caller(*path.via_pid) && !services_.is_own_process(*path.via_pid))
    return forbid_process(*path.via_pid);
  if (!path.proc_pid) {
    // A descriptor's name in /proc or /dev is none of the object's own: held_as says that it is the caller's.
    const bool by_descriptor = path.held_as && is_descriptor_name(path.as_written) &&
                               path.resolved.starts_with('/') && !denied_outright(probe(view));
    if (by_descriptor) view.as_written = path.resolved;
    return judge(view);
  }
  const pid_t owner = *path.proc_pid;
  const ProcName name = split_proc_name(services_.proc, path.resolved);
  if (!is_caller(owner)) {
    const bool sensitive = !is_public_proc_entry(name.entry) || verbs.contains(Verb::FileWrite);
    if (services_.is_supervisor(owner) || (sensitive && !services_.is_own_process(owner)))
      return forbid_process(owner);
    if (name.entry == "mem" || name.entry.ends_with("/mem")) {
      return forbid("protected:process-memory", "memory of another process", EACCES);
    }
    return judge(view);
  }
  if (name.mount.empty()) return judge(view);
  // The caller's own entry is "/proc/self/..." to the rules, however it was spelled; a rule may also name it
  // by number.
  std::string self(name.mount);
  self += "/self";
  if (!name.entry.empty()) {
    self += '/';
    self += name.entry;
  }
  const AccessView as_self{.verbs = verbs, .as_written = self, .resolved = self, .endpoint = {}};
  const Decision by_number = probe(view);
  if (by_number.allowed() || denied_outright(by_number)) return judge(view);
  return judge(as_self);
}

bool Call::forbid_process(pid_t pid) {
  return services_.is_supervisor(pid)
             ? forbid("protected:supervisor", "the supervisor's own /proc", EACCES)
             : forbid("protected:outside-process",
                      "memory, descriptors or environment of a process outside the session", EACCES);
}

bool Call::forbid(std::string_view rule_id, std::string_view reason, int err) {
  record_.rule = audit::RuleRef{.id = rule_id, .layer = "protected", .file = {}, .line = 0, .text = {}};
  record_.reason = reason;
  record_.verdict = auditing() ? audit::Verdict::WouldDeny : audit::Verdict::Deny;
  denied_ = !auditing();
  deny_errno_ = err;
  return auditing();
}

void Call::grant(std::string_view rule_id, std::string_view reason) {
  if (record_.verdict != audit::Verdict::None && record_.verdict != audit::Verdict::Allow) return;
  record_.rule = audit::RuleRef{.id = rule_id, .layer = "implied", .file = {}, .line = 0, .text = {}};
  record_.reason = reason;
  record_.verdict = audit::Verdict::Allow;
}

bool Call::is_own_program(VerbSet verbs, const sys::PinnedPath& path) {
  if (!(Verb::FileRead | Verb::FileLoad).contains(verbs) || !S_ISREG(path.st.st_mode)) return false;
  const Decision decision =
      probe({.verbs = verbs, .as_written = path.as_written, .resolved = path.resolved, .endpoint = {}});
  if (decision.allowed() || decision.reason() != Reason::NoGrant) return false;
  const sys::ThreadFacts* facts = nullptr;
  struct stat st{};
  if (thread_facts(facts) != 0) return false;
  const auto image = services_.proc.open_exe(ProcessId{facts->tgid});
  if (!image || ::fstat(image->get(), &st) != 0 || st.st_dev != path.st.st_dev || st.st_ino != path.st.st_ino)
    return false;
  note_path(path, false);
  fill_permission(verbs);
  grant("implied:own-program", "the program that the caller runs");
  return true;
}

Action Call::fails(int err) {
  if (nameless_ && err == ENAMETOOLONG)
    return refuse(err, "it lies deeper than a path can reach, where no rule can name it");
  if (outside_ && (err == EACCES || err == EPERM)) {
    return forbid_process(*outside_) ? Action{ReplyErrno{err}} : denied();
  }
  return ReplyErrno{err};
}

Action Call::refuse(int err, std::string_view why) {
  failed_closed_ = true;
  record_.rule =
      audit::RuleRef{.id = "failed-closed", .layer = "protected", .file = {}, .line = 0, .text = {}};
  record_.reason = why;
  record_.verdict = audit::Verdict::Deny;
  denied_ = true;
  deny_errno_ = err;
  return ReplyErrno{err};
}

Action Call::result(std::int64_t value) const {
  if (value < 0) return ReplyErrno{errno};
  return ReplyValue{value};
}

std::optional<std::unique_lock<std::timed_mutex>> Call::may_wait() const {
  if (on_worker_) return std::unique_lock<std::timed_mutex>();
  std::unique_lock lock(services_.receiver_waits, std::chrono::milliseconds(2));
  if (!lock.owns_lock()) return std::nullopt;
  return lock;
}

bool Call::still_named(const sys::PinnedPath& path) const {
  if (!path.parent.valid()) return true;  // by a magic link: acted on by itself, or not at all
  std::string name;
  if (services_.proc.path_of(path.parent.get(), name) != 0) return false;
  if (path.leaf != ".") name += name == "/" ? path.leaf : "/" + path.leaf;
  if (name != path.resolved) return false;
  struct stat now{};
  if (::fstatat(path.parent.get(), path.leaf.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT && !path.exists();
  return path.exists() && now.st_dev == path.st.st_dev && now.st_ino == path.st.st_ino;
}

void Call::begin_blocking() { blocker_ = services_.blocking->enter(notification_.id, tid()); }
void Call::end_blocking() {
  if (blocker_) services_.blocking->leave(blocker_);
}
bool Call::interrupted() const { return blocker_ && blocker_->interrupted.load(std::memory_order_acquire); }

const Caller* Call::caller() {
  if (!std::exchange(looked_for_caller_, true) && services_.callers != nullptr)
    caller_ = services_.callers->of(*this);
  return caller_ ? &*caller_ : nullptr;
}

const ProcessFacts& Call::process() {
  if (process_) return *process_;
  // A cache of this thread's own: no lock. One second bounds how long a reused pid could wear an old name.
  struct Entry {
    pid_t tid = 0;
    std::uint32_t epoch = 0;
    std::int64_t until_ns = 0;
    std::shared_ptr<const ProcessFacts> facts;
  };
  thread_local std::array<Entry, 64> cache;
  Entry& entry = cache[static_cast<std::size_t>(tid().value) % cache.size()];
  const std::uint32_t epoch = services_.exec_epoch.load(std::memory_order_acquire);
  if (entry.tid == tid().value && entry.epoch == epoch && started_ns_ < entry.until_ns)
    return *(process_ = entry.facts);
  auto fresh = std::make_shared<ProcessFacts>();
  process_ = fresh;
  const sys::ThreadFacts* facts = nullptr;
  if (thread_facts(facts) != 0) return *process_;
  fresh->tgid = facts->tgid;
  fresh->ppid = facts->ppid;
  fresh->comm = facts->comm;
  fresh->started = services_.proc.start_time(facts->tgid);
  (void)services_.proc.read_link(facts->tgid, "exe", fresh->exe);  // stays empty where it cannot be read
  if (services_.channel.alive(notification_.id)) {
    entry =
        Entry{.tid = tid().value, .epoch = epoch, .until_ns = started_ns_ + 1'000'000'000, .facts = process_};
  }
  return *process_;
}

}  // namespace secbox::broker
