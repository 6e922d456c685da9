// open, openat, openat2, creat: performed by the supervisor on a pinned object and put into the plugin.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "supervisor/broker/call.h"
#include "supervisor/broker/open_how.h"
#include "supervisor/broker/services.h"

namespace secbox::broker {

namespace {

using checker::Reason;
using checker::Verb;
using checker::VerbSet;
using sys::PinnedPath;

constexpr int kTmpfileBit = O_TMPFILE & ~O_DIRECTORY;

// A decoded open.
struct OpenRequest {
  int dirfd = AT_FDCWD;
  std::string path;
  int flags = 0;
  mode_t mode = 0;
  std::uint64_t resolve = 0;

  [[nodiscard]] bool has(int flag) const { return (flags & flag) == flag; }
  [[nodiscard]] bool creates() const { return has(O_CREAT); }
  [[nodiscard]] bool unnamed() const { return (flags & kTmpfileBit) != 0; }
  [[nodiscard]] bool writes() const { return (flags & O_ACCMODE) != O_RDONLY; }
  [[nodiscard]] int flags_to_open() const { return truncates_later() ? flags & ~O_TRUNC : flags; }
  // Left to InstallFd, but for O_RDONLY | O_TRUNC, which ftruncate(2) could not do.
  [[nodiscard]] bool truncates_later() const { return has(O_TRUNC) && writes(); }
};

VerbSet verbs_for_existing(const OpenRequest& request, bool directory) {
  VerbSet verbs;
  const int access = request.flags & O_ACCMODE;
  if (access == O_RDONLY || access == O_RDWR || access == O_ACCMODE)
    verbs |= directory ? Verb::FileList : Verb::FileRead;
  if (access != O_RDONLY || request.has(O_TRUNC)) verbs |= Verb::FileWrite;
  return verbs;
}

// No ".", "..", "//", and no slash at the end: as written it is what the kernel will walk.
bool is_plain(std::string_view path) {
  if (path.empty() || path.back() == '/') return false;
  std::size_t start = path.front() == '/' ? 1 : 0;
  while (start <= path.size()) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return true;
}

int open_how_at(int dir, const char* path, std::uint64_t flags, std::uint64_t mode, std::uint64_t resolve) {
  open_how how{.flags = flags, .mode = mode, .resolve = resolve};
  const auto fd = static_cast<int>(::syscall(SYS_openat2, dir, path, &how, sizeof how));
  return fd < 0 ? -errno : fd;
}

// Pseudo-terminals: opening one neither waits nor has an effect on others.
bool is_pseudo_terminal(const struct stat& st) {
  if (!S_ISCHR(st.st_mode)) return false;
  const unsigned device = major(st.st_rdev);
  return (device == 5 && minor(st.st_rdev) == 2) || (device >= 136 && device <= 143);
}

// /dev/tty: whoever opens it gets its own controlling terminal. The supervisor has none.
bool is_own_terminal(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 0); }

// The device number of the caller's controlling terminal, 0 where it has none. See proc(5), tty_nr.
dev_t controlling_terminal(Call& call) {
  std::string text;
  if (call.services().proc.read_file(call.tid().value, "stat", text) != 0) return 0;
  int number = 0;
  const std::size_t after = text.rfind(')');  // the name may hold anything
  if (after == std::string::npos || std::sscanf(text.c_str() + after, ") %*c %*d %*d %*d %d", &number) != 1)
    return 0;
  const auto bits = static_cast<unsigned>(number);
  return makedev((bits >> 8) & 0xfff, (bits & 0xff) | ((bits >> 12) & 0xfff00));
}

// Raw memory and ports of the machine.
bool is_machine_memory(const struct stat& st) {
  if (!S_ISCHR(st.st_mode) || major(st.st_rdev) != 1) return false;
  const unsigned device = minor(st.st_rdev);
  return device == 1 || device == 2 || device == 4;
}

// True where the descriptor that the path names gives the plugin at least this access already: opening it
// again widens nothing. Covers standard streams that the host opened (a log file, a terminal, a pipe).
bool holds_already(Call& call, const OpenRequest& request, const PinnedPath& path) {
  const std::optional<int> flags = call.held_flags(path);
  if (!flags) return false;
  const int held = *flags;
  const int have = held & O_ACCMODE;
  const int want = request.flags & O_ACCMODE;
  const bool truncates = request.has(O_TRUNC);
  if (S_ISDIR(path.st.st_mode)) return have == O_RDONLY && want == O_RDONLY;
  // A log opened to append stays append-only: the reopened description could overwrite it.
  if ((held & O_APPEND) != 0 && want != O_RDONLY && (truncates || !request.has(O_APPEND))) return false;
  if (have == O_RDWR) return want != O_ACCMODE;
  return have == want && (!truncates || have == O_WRONLY);
}

// /proc/<pid>/ns/*: entering one is refused, so that opening it tells no more than its number.
bool is_own_namespace(const PinnedPath& path) {
  struct statfs fs{};
  return path.via_pid && !path.resolved.starts_with('/') && S_ISREG(path.st.st_mode) &&
         ::fstatfs(path.object.get(), &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

// What is left to do with a descriptor opened O_NONBLOCK on the caller's behalf.
bool restore_blocking(int fd, const OpenRequest& request) {
  return request.has(O_NONBLOCK) || ::fcntl(fd, F_SETFL, request.flags & ~O_NONBLOCK) == 0;
}

// Opens a terminal by its number: under its name in /dev, or, where that is out of reach (another user's
// terminal, one that a container was given), as a standard stream that the caller has of it. An fd or -errno.
int open_terminal(Call& call, const OpenRequest& request, dev_t device) {
  const int flags = (request.flags & (O_ACCMODE | O_APPEND)) | O_NONBLOCK | O_NOCTTY;
  const auto is_it = [&](int fd) {
    struct stat st{};
    return ::fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == device;
  };
  std::string name = "/dev/pts/" + std::to_string(minor(device));
  if (major(device) < 136 || major(device) > 143) {
    const std::string link =
        "/sys/dev/char/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
    std::array<char, 512> text{};
    const ssize_t got = ::readlink(link.c_str(), text.data(), text.size());
    const std::string_view target(text.data(), got < 0 ? 0 : static_cast<std::size_t>(got));
    name = "/dev/" + std::string(target.substr(target.rfind('/') + 1));
  }
  int error = ENXIO;
  if (const UniqueFd handle(::open(name.c_str(), O_PATH | O_CLOEXEC));
      handle.valid() && is_it(handle.get())) {
    UniqueFd opened(call.services().proc.reopen(handle.get(), flags));
    error = opened.get() < 0 ? -opened.release() : 0;
    if (error == 0 && restore_blocking(opened.get(), request)) return opened.release();
  }
  for (int number = 0; number < 3; ++number) {
    auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{number});
    if (!copy || !is_it(copy->get())) continue;
    const int have = ::fcntl(copy->get(), F_GETFL) & O_ACCMODE;
    if (have == O_RDWR || have == (flags & O_ACCMODE)) return copy->release();
  }
  return -error;
}

// An existing regular file or directory named without links: one look-up that follows none proves that the
// name as written is the object's own, so one decision covers both spellings. Gives up (nullopt) on whatever
// is not that simple.
std::optional<Action> open_fast(Call& call, const OpenRequest& request) {
  if (request.resolve != 0 || request.creates() || request.unnamed() || request.has(O_PATH))
    return std::nullopt;
  if (!is_plain(request.path)) return std::nullopt;
  UniqueFd base;
  std::string name = request.path;
  if (name.front() != '/') {
    if (!call.pin_base(request.dirfd, request.path, base, name)) return std::nullopt;
    name += name == "/" ? request.path : "/" + request.path;
  }
  if (call.services().proc.covers(name)) return std::nullopt;
  const int from = base.valid() ? base.get() : AT_FDCWD;
  // What grants reading grants listing: one decision serves whatever is there.
  const VerbSet verbs = verbs_for_existing(request, false);
  const auto decision = call.probe({.verbs = verbs, .as_written = name, .resolved = name, .endpoint = {}});
  if (!decision.allowed()) return std::nullopt;
  const auto identity = call.assume_identity();
  if (!identity) return std::nullopt;
  // Only a hint: opening a FIFO or a device has effects, so those take the careful way.
  struct stat st{};
  if (::fstatat(from, request.path.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode) &&
      !S_ISDIR(st.st_mode)) {
    return std::nullopt;
  }
  std::optional<std::unique_lock<std::timed_mutex>> waits;
  if (request.truncates_later()) {
    waits = call.may_wait();
    if (!waits) return NeedsWorker{};
  }
  const auto flags = static_cast<std::uint64_t>(request.flags_to_open() | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  UniqueFd fd(open_how_at(from, request.path.c_str(), flags, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
  if (fd.get() < 0) {
    const int error = -fd.release();
    if (error == ELOOP || error == EAGAIN) return std::nullopt;
    call.accept(decision, verbs, std::move(name), {});
    return call.fails(error);
  }
  if (::fstat(fd.get(), &st) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) return std::nullopt;
  if (!restore_blocking(fd.get(), request)) return std::nullopt;
  call.accept(decision, S_ISDIR(st.st_mode) ? verbs_for_existing(request, true) : verbs, std::move(name), st);
  return InstallFd{std::move(fd), request.has(O_CLOEXEC), request.truncates_later(), std::move(waits), {}};
}

Action open_existing(Call& call, const OpenRequest& request, PinnedPath& path) {
  const bool directory = S_ISDIR(path.st.st_mode);
  if (request.has(O_CREAT | O_EXCL)) return call.fails(EEXIST);
  if (S_ISLNK(path.st.st_mode)) return call.fails(request.has(O_DIRECTORY) ? ENOTDIR : ELOOP);  // O_NOFOLLOW
  if (request.has(O_DIRECTORY) && !directory) return call.fails(ENOTDIR);

  if (holds_already(call, request, path)) {
    call.record().target.path = call.keep(path.as_written);
    call.record().resolved_target = call.keep(path.resolved);
    call.record().dev = path.st.st_dev;
    call.record().ino = path.st.st_ino;
    call.grant("implied:held-descriptor", "the plugin holds this object with the same access already");
  } else if (is_own_namespace(path) && path.as_written.starts_with('/')) {
    // The kernel's name ("mnt:[4026531840]") is no path: its place in /proc is judged, and whose that is.
    path.resolved = path.as_written;
    if (!call.permit(verbs_for_existing(request, directory), path)) return call.denied();
  } else if (!call.is_own_program(verbs_for_existing(request, directory), path)) {
    if (!call.permit(verbs_for_existing(request, directory), path)) return call.denied();
    if (S_ISBLK(path.st.st_mode) &&
        !call.forbid("protected:block-device", "a disk below the file system", EACCES)) {
      return call.denied();
    }
    if (is_machine_memory(path.st) &&
        !call.forbid("protected:machine-memory", "raw memory of the machine", EACCES)) {
      return call.denied();
    }
  }
  if (directory && (request.creates() || request.writes())) return call.fails(EISDIR);
  if (is_own_terminal(path.st)) {
    // Never the kernel's to open: the name may be another by the time that it reads it.
    const dev_t device = controlling_terminal(call);
    if (device == 0) return call.fails(ENXIO);
    UniqueFd terminal(open_terminal(call, request, device));
    if (terminal.get() < 0) return call.fails(-terminal.release());
    return InstallFd{std::move(terminal), request.has(O_CLOEXEC)};
  }

  const bool truncates = S_ISREG(path.st.st_mode) && request.truncates_later();
  std::optional<std::unique_lock<std::timed_mutex>> waits;
  if (truncates) {
    waits = call.may_wait();
    if (!waits) return NeedsWorker{};
  }
  int flags = (request.flags_to_open() & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_NOCTTY;
  const bool regular = S_ISREG(path.st.st_mode) || directory;
  const bool may_block =
      !request.has(O_NONBLOCK) && !regular && !is_pseudo_terminal(path.st) &&
      (S_ISCHR(path.st.st_mode) ? major(path.st.st_rdev) != 1 : (request.flags & O_ACCMODE) != O_RDWR);
  if (may_block && !call.on_worker()) return NeedsWorker{};
  if (regular && !call.on_worker()) flags |= O_NONBLOCK;  // a lease must not hold the receiver
  int fd;
  if (call.on_worker()) {
    fd = static_cast<int>(call.blocking([&] {
      const int opened = call.services().proc.reopen(path.object.get(), flags);
      if (opened < 0) errno = -opened;
      return std::int64_t{opened < 0 ? -1 : opened};
    }));
    if (fd < 0 && call.interrupted()) return call.restart();
    if (fd < 0) fd = -errno;
  } else {
    fd = call.services().proc.reopen(path.object.get(), flags);
    if (fd == -EAGAIN && !request.has(O_NONBLOCK)) return NeedsWorker{};
  }
  if (fd < 0) return call.fails(-fd);
  UniqueFd opened(fd);
  if ((flags & O_NONBLOCK) != 0 && !restore_blocking(opened.get(), request))
    return call.refuse(EIO, "fcntl failed");
  return InstallFd{std::move(opened), request.has(O_CLOEXEC), truncates, std::move(waits), {}};
}

// nullopt: the name is not what was judged any more, or somebody else made it first (EEXIST without O_EXCL).
std::optional<Action> open_new(Call& call, const OpenRequest& request, PinnedPath& path) {
  if (path.trailing_slash) return call.fails(EISDIR);  // of a link's text
  if (!call.permit(Verb::FileCreate, path)) return call.denied();
  if ((request.mode & (S_ISUID | S_ISGID)) != 0 &&
      !call.forbid("protected:setid-bit", "a set-user-ID or set-group-ID file", EPERM)) {
    return call.denied();
  }
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) != 0) return call.refuse(EACCES, "the caller's umask cannot be read");
  ::umask(facts->umask);  // this thread's own (CLONE_FS is unshared); the kernel then applies ACL defaults as
                          // natively
  const auto waits = call.may_wait();
  if (!waits) return NeedsWorker{};
  const std::lock_guard lock(call.services().names);
  if (!call.still_named(path)) return std::nullopt;
  // O_EXCL: a link that was put here meanwhile is never followed by us, who are not confined.
  const int flags = request.flags | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC;
  const int fd = ::openat(path.parent.get(), path.leaf.c_str(), flags, request.mode);
  if (fd < 0) {
    if (errno == EEXIST && !request.has(O_EXCL)) return std::nullopt;
    return call.fails(errno);
  }
  UniqueFd opened(fd);
  struct stat st{};
  if (::fstat(fd, &st) == 0) {
    call.record().dev = st.st_dev;
    call.record().ino = st.st_ino;
  }
  InstallFd install{std::move(opened), request.has(O_CLOEXEC)};
  install.undo = [&call, parent = std::move(path.parent), leaf = path.leaf, st] {
    const auto as_caller = call.assume_identity();
    const std::lock_guard names(call.services().names);
    struct stat now{};
    if (as_caller && ::fstatat(parent.get(), leaf.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0 &&
        now.st_dev == st.st_dev && now.st_ino == st.st_ino)
      (void)::unlinkat(parent.get(), leaf.c_str(), 0);
  };
  return install;
}

Action open_unnamed(Call& call, const OpenRequest& request, PinnedPath& path) {
  if (!path.exists()) return call.fails(ENOENT);
  if (!S_ISDIR(path.st.st_mode)) return call.fails(ENOTDIR);
  // Judged as an entry of the directory.
  PinnedPath entry;
  entry.as_written = path.as_written == "/" ? "/#unnamed" : path.as_written + "/#unnamed";
  entry.resolved = path.resolved == "/" ? "/#unnamed" : path.resolved + "/#unnamed";
  if (!call.permit(Verb::FileCreate, entry)) return call.denied();
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) != 0) return call.refuse(EACCES, "the caller's umask cannot be read");
  ::umask(facts->umask);
  if ((request.mode & (S_ISUID | S_ISGID)) != 0 &&
      !call.forbid("protected:setid-bit", "a set-user-ID or set-group-ID file", EPERM)) {
    return call.denied();
  }
  const int fd = ::openat(path.object.get(), ".", (request.flags & ~O_NOFOLLOW) | O_CLOEXEC, request.mode);
  if (fd < 0) return call.fails(errno);
  return InstallFd{UniqueFd(fd), request.has(O_CLOEXEC)};
}

// True where a grant would cover the object but for its own `except`.
bool is_excepted(Call& call, const PinnedPath& path) {
  const auto matches = [](const std::vector<checker::PathPattern>& patterns, const std::string& name) {
    return std::ranges::any_of(patterns,
                               [&](const auto& pattern) { return checker::glob_match(pattern, name); });
  };
  return std::ranges::any_of(call.services().rules().rules(), [&](const checker::Rule& rule) {
    return rule.effect == checker::Effect::Allow && !rule.except_paths.empty() &&
           rule.verbs.intersects(checker::kFileVerbs) &&
           (matches(rule.except_paths, path.resolved) || matches(rule.except_paths, path.as_written)) &&
           matches(rule.paths, path.resolved);
  });
}

// O_PATH cannot be put into the plugin (EBADF), so the kernel does it; a handle gives what stat(2) gives, and
// every call that acts through it is judged by itself. Rules that deny outright still do, and so does an
// `except`: it is a deny of the grant that it stands in.
Action open_handle(Call& call, const PinnedPath& path) {
  const auto decision = call.probe(
      {.verbs = Verb::FileRead, .as_written = path.as_written, .resolved = path.resolved, .endpoint = {}});
  const bool denied = decision.reason() == Reason::DeniedByRule ||
                      decision.reason() == Reason::ProtectedState ||
                      (decision.reason() == Reason::NoGrant && is_excepted(call, path));
  if (denied && !call.permit(Verb::FileRead, path)) return call.denied();
  call.record().target.path = call.keep(path.as_written);
  call.record().resolved_target = call.keep(path.resolved);
  call.grant("implied:handle-only", "an O_PATH handle gives no more than stat");
  return Continue{ContinueSafety::HandleOnly};
}

// Nothing is there: the kernel's own answer rather than a denial, which programs that probe would stumble
// over. A rule that denies the name outright still does.
Action open_absent(Call& call, const OpenRequest& request, const PinnedPath& path) {
  const auto verbs = verbs_for_existing(request, false);
  const auto decision =
      call.probe({.verbs = verbs, .as_written = path.as_written, .resolved = path.resolved, .endpoint = {}});
  if (decision.reason() != Reason::NoGrant && decision.reason() != Reason::NeedsConsent) {
    if (!call.permit(verbs, path)) return call.denied();
  } else {
    call.record().target.path = call.keep(path.as_written);
    call.record().resolved_target = call.keep(path.resolved);
    call.grant("implied:absent", "nothing is there");
  }
  return call.fails(ENOENT);
}

Action open_slow(Call& call, OpenRequest& request) {
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  // A slash behind a name that may be created: EISDIR, whatever is there, once the way to it is found.
  const bool names_directory = request.creates() && request.path.ends_with('/');
  if (names_directory && request.resolve != 0)
    request.path.resize(std::max(request.path.find_last_not_of('/') + 1, std::size_t{1}));
  const bool keep_link = request.has(O_NOFOLLOW) || request.has(O_CREAT | O_EXCL);
  const auto last = names_directory ? sys::LastLink::Entry
                    : keep_link     ? sys::LastLink::Keep
                                    : sys::LastLink::Follow;
  for (int attempt = 0; attempt < Call::kMaxAttempts; ++attempt) {
    PinnedPath path;
    const int error = call.resolve(request.dirfd, request.path, last, path, false, request.resolve);
    if (error != 0 && path.in_procfs && request.resolve != 0)
      return call.refuse(error, "/proc is not reached by a look-up with these limits");
    if (error != 0) return call.fails(error);
    if (names_directory && path.leaf != ".") return call.fails(EISDIR);
    if (request.has(O_PATH)) return open_handle(call, path);
    if (request.unnamed()) return open_unnamed(call, request, path);
    if (path.exists()) return open_existing(call, request, path);
    if (!request.creates()) return open_absent(call, request, path);
    if (std::optional<Action> action = open_new(call, request, path)) return std::move(*action);
  }
  return call.refuse(EAGAIN, "the name changed again and again");
}

Action open_file(Call& call, OpenRequest& request) {
  call.record().event = "file_open";
  call.record().flags = request.flags;
  if (request.has(O_PATH)) request.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (const int error = open_flags_error(static_cast<std::uint64_t>(request.flags)); error != 0)
    return call.fails(error);
  if (auto action = open_fast(call, request)) return std::move(*action);
  return open_slow(call, request);
}

// Reads the path; on failure the call ends with the kernel's own errno and a record.
std::optional<Action> decode_path(Call& call, std::size_t index, OpenRequest& request) {
  const int error = call.read_path(index, request.path);
  if (error == 0) return std::nullopt;
  call.record().event = "file_open";
  if (error == EPERM || error == EACCES) return call.refuse(EACCES, "the caller's memory cannot be read");
  return call.fails(error);
}

// What open(2) and openat(2) ignore: unknown bits, and a mode without O_CREAT.
void set_legacy_flags(OpenRequest& request, int flags, std::uint64_t mode) {
  constexpr int kKnown = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC |
                         O_ASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |
                         O_SYNC | O_PATH | O_TMPFILE;
  request.flags = flags & kKnown;
  if (request.creates() || request.unnamed()) request.mode = static_cast<mode_t>(mode & 07777);
}

}  // namespace

Action handle_open(Call& call) {
  OpenRequest request;
  set_legacy_flags(request, call.int_arg(1), call.arg(2));
  if (auto failed = decode_path(call, 0, request)) return std::move(*failed);
  return open_file(call, request);
}

Action handle_creat(Call& call) {
  OpenRequest request;
  set_legacy_flags(request, O_CREAT | O_WRONLY | O_TRUNC, call.arg(1));
  if (auto failed = decode_path(call, 0, request)) return std::move(*failed);
  return open_file(call, request);
}

Action handle_openat(Call& call) {
  OpenRequest request;
  request.dirfd = call.int_arg(0);
  set_legacy_flags(request, call.int_arg(2), call.arg(3));
  if (auto failed = decode_path(call, 1, request)) return std::move(*failed);
  return open_file(call, request);
}

Action handle_openat2(Call& call) {
  call.record().event = "file_open";
  OpenRequest request;
  request.dirfd = call.int_arg(0);
  const std::uint64_t size = call.arg(3);
  if (const int error = open_how_size_error(size); error != 0) return call.fails(error);
  std::array<std::byte, kMaxOpenHow> raw{};
  const auto bytes = std::span(raw).first(size);
  const std::int64_t got = call.services().memory.read(call.tid(), call.address(2), bytes);
  if (got < 0)
    return got == -EFAULT ? call.fails(EFAULT) : call.refuse(EACCES, "the caller's memory cannot be read");
  if (static_cast<std::uint64_t>(got) != size) return call.fails(EFAULT);
  open_how how{};
  if (const int error = decode_open_how(bytes, how); error != 0) return call.fails(error);
  request.flags = static_cast<int>(how.flags);
  request.mode = static_cast<mode_t>(how.mode);
  request.resolve = how.resolve & ~std::uint64_t{RESOLVE_CACHED};
  if (auto failed = decode_path(call, 1, request)) return std::move(*failed);
  // A handle is opened by the kernel, which would read open_how again: by then it may ask for the file's
  // content. openat(2) has its flags in a register, and callers fall back to it.
  if (request.has(O_PATH) && !call.auditing()) {
    call.record().target.path = call.keep(request.path);
    call.grant("implied:handle-by-openat", "O_PATH is not served here: openat(2) is to be used");
    return call.fails(ENOSYS);
  }
  return open_file(call, request);
}

}  // namespace secbox::broker
