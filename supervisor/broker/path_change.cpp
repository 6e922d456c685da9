// Calls that change names or what is behind them: each is performed by an *at call on the pinned parent
// directory, or on the pinned object itself, never by the plugin's string.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <string>

#include "supervisor/broker/call.h"
#include "supervisor/broker/object_change.h"
#include "supervisor/broker/services.h"

// Linux 6.6, include/uapi/asm-generic/unistd.h; missing from the 6.1 headers of Debian 12.
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace secbox::broker {

namespace {

using checker::Reason;
using checker::Verb;
using checker::VerbSet;
using sys::LastLink;
using sys::PinnedPath;

// A dirfd and path argument, decoded. `dir_index` < 0: a call without dirfd.
struct PathArgument {
  int dirfd = AT_FDCWD;
  std::string path;
};

// Reads the path; the Action to end with where that fails.
std::optional<Action> decode(Call& call, int dir_index, std::size_t path_index, PathArgument& out) {
  call.record().event = "file_change";
  if (dir_index >= 0) out.dirfd = call.int_arg(static_cast<std::size_t>(dir_index));
  const int error = call.read_path(path_index, out.path);
  if (error == 0) return std::nullopt;
  if (error == EPERM || error == EACCES) return call.refuse(EACCES, "the caller's memory cannot be read");
  return call.fails(error);
}

// The name for an *at call: a slash at the end means something to the kernel.
std::string leaf_of(const PinnedPath& path) { return path.trailing_slash ? path.leaf + "/" : path.leaf; }

bool denied_outright(Call& call, VerbSet verbs, const PinnedPath& path) {
  const auto reason =
      call.probe({.verbs = verbs, .as_written = path.as_written, .resolved = path.resolved, .endpoint = {}})
          .reason();
  return reason == Reason::DeniedByRule || reason == Reason::ProtectedState;
}

// Nothing is there to act on: the kernel's own answer, unless a rule denies the name outright.
Action absent(Call& call, VerbSet verbs, const PinnedPath& path) {
  if (denied_outright(call, verbs, path) && !call.permit(verbs, path)) return call.denied();
  call.record().target.path = call.keep(path.as_written);
  call.grant("implied:absent", "nothing is there");
  return call.fails(ENOENT);
}

// The name is taken already: as natively, unless a rule denies the name outright.
Action taken(Call& call, const PinnedPath& path) {
  if (denied_outright(call, Verb::FileCreate, path) && !call.permit(Verb::FileCreate, path))
    return call.denied();
  call.record().target.path = call.keep(path.as_written);
  call.grant("implied:exists", "the name is taken: nothing is created");
  return call.fails(EEXIST);
}

// A new name must not give the plugin what it lacks under the old one. Judged for the object itself and, for
// a directory, for all that may be in it.
bool widens(Call& call, const PinnedPath& from, const PinnedPath& to) {
  constexpr std::array kVerbs{Verb::FileRead, Verb::FileList, Verb::FileWrite, Verb::FileLoad, Verb::ExecRun};
  const auto allowed = [&](Verb verb, const PinnedPath& path) {
    return call
        .probe({.verbs = verb, .as_written = path.as_written, .resolved = path.resolved, .endpoint = {}})
        .allowed();
  };
  VerbSet all = Verb::UnixSocket;
  for (const Verb verb : kVerbs) {
    all |= verb;
    if (allowed(verb, to) && !allowed(verb, from)) return true;
  }
  if (S_ISSOCK(from.st.st_mode) && allowed(Verb::UnixSocket, to) && !allowed(Verb::UnixSocket, from))
    return true;
  return from.exists() && S_ISDIR(from.st.st_mode) &&
         call.services().rules().grant_gained_below(all, from.resolved, to.resolved) != nullptr;
}

// A directory with a denied tree in it must not be moved away from the rule that denies it. True = go on.
bool may_move(Call& call, const PinnedPath& path) {
  if (!path.exists() || !S_ISDIR(path.st.st_mode)) return true;
  const checker::Rule* rule =
      call.services().rules().deny_below(checker::kFileVerbs | Verb::ExecRun, path.resolved);
  return rule == nullptr ||
         call.forbid("protected:moves-denied-tree", "something below it is denied by its name", EACCES);
}

// A directory, or a link to one, must not bring what it holds to where the plugin could not have made it.
// True = go on.
bool may_arrive(Call& call, mode_t mode, std::string_view from, const PinnedPath& to) {
  if (!S_ISDIR(mode) && !S_ISLNK(mode)) return true;
  const VerbSet makes = Verb::FileCreate | Verb::FileWrite;
  return call.services().rules().ban_gained_below(makes, from, to.resolved) == nullptr ||
         call.forbid("protected:fills-denied-tree", "what may not be made there would be below it", EACCES);
}

// Applies the calling thread's umask to what this thread makes next.
bool take_umask(Call& call) {
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) != 0) return false;
  ::umask(facts->umask);
  return true;
}

// The last component as written: "" for the root.
std::string_view last_component(std::string_view path) {
  path = path.substr(0, path.find_last_not_of('/') + 1);
  return path.substr(path.rfind('/') + 1);
}

// A change of names. `attempt` resolves and judges; nullopt: what it judged was not there any more when it
// came to act.
template <typename Attempt>
Action change_names(Call& call, Attempt&& attempt) {
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  for (int count = 0; count < Call::kMaxAttempts; ++count) {
    if (std::optional<Action> action = attempt()) return std::move(*action);
  }
  return call.refuse(EAGAIN, "the name changed again and again");
}

// Acts where the judged names still hold, and nothing of the plugin can change them meanwhile.
template <typename Act>
std::optional<Action> act_on_names(Call& call, std::initializer_list<const PinnedPath*> paths, Act&& act) {
  const auto waits = call.may_wait();
  if (!waits) return NeedsWorker{};
  const std::lock_guard lock(call.services().names);
  for (const PinnedPath* path : paths) {
    if (!call.still_named(*path)) return std::nullopt;
  }
  return act();
}

// mkdir, mknod, symlink: a new entry. `act` performs it on (parent, leaf).
template <typename Act>
Action create_entry(Call& call, const PathArgument& argument, Act&& act) {
  return change_names(call, [&]() -> std::optional<Action> {
    PinnedPath path;
    if (const int error = call.resolve(argument.dirfd, argument.path, LastLink::Entry, path); error != 0)
      return call.fails(error);
    if (path.exists()) return taken(call, path);
    if (!call.permit(Verb::FileCreate, path)) return call.denied();
    return act_on_names(call, {&path}, [&] { return act(path); });
  });
}

// A change of an existing object's content or metadata.
template <typename Act>
Action change_object(Call& call, const PathArgument& argument, LastLink last, bool allow_empty, Act&& act) {
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  PinnedPath path;
  if (const int error = call.resolve(argument.dirfd, argument.path, last, path, allow_empty); error != 0)
    return call.fails(error);
  if (!path.exists()) return absent(call, Verb::FileWrite, path);
  if (is_unnamed(call, path)) {
    call.record().target.path = call.keep(path.resolved);
    call.grant("implied:unnamed-object", "no name leads to it: the plugin's own");
  } else if (!call.permit(Verb::FileWrite, path)) {
    return call.denied();
  }
  const auto waits = call.may_wait();
  if (!waits) return NeedsWorker{};
  return act(path);
}

Action remove_entry(Call& call, const PathArgument& argument, int flags) {
  return change_names(call, [&]() -> std::optional<Action> {
    PinnedPath path;
    if (const int error = call.resolve(argument.dirfd, argument.path, LastLink::Entry, path); error != 0)
      return call.fails(error);
    if (!path.exists()) return absent(call, Verb::FileDelete, path);
    if (path.leaf == ".") {
      const std::string_view last = last_component(argument.path);
      if (flags != AT_REMOVEDIR) return call.fails(EISDIR);
      return call.fails(last.empty() ? EBUSY : last == ".." ? ENOTEMPTY : EINVAL);
    }
    if (!call.permit(Verb::FileDelete, path)) return call.denied();
    if (!path.parent.valid()) return call.fails(EPERM);
    return act_on_names(call, {&path}, [&] {
      return call.result(::unlinkat(path.parent.get(), leaf_of(path).c_str(), flags));
    });
  });
}

// The kernel would apply our own RLIMIT_FSIZE. See setrlimit(2): too large a file is answered with a signal
// too.
bool passes_size_limit(Call& call, off_t size, off_t length) {
  rlimit limit{};
  if (length <= size || ::prlimit(call.tid().value, RLIMIT_FSIZE, nullptr, &limit) != 0) return false;
  if (limit.rlim_cur == RLIM_INFINITY || static_cast<rlim_t>(length) <= limit.rlim_cur) return false;
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) == 0 && call.services().channel.alive(call.notification().id))
    (void)::syscall(SYS_tgkill, facts->tgid, call.tid().value, SIGXFSZ);
  return true;
}

// See xattr(7).
bool is_known_namespace(std::string_view name) {
  return name.starts_with("user.") || name.starts_with("trusted.") || name.starts_with("security.") ||
         name.starts_with("system.");
}

timespec from_microseconds(const timeval& value) {
  return {.tv_sec = value.tv_sec, .tv_nsec = value.tv_usec * 1000};
}

}  // namespace

Action handle_unlink(Call& call) {
  const bool at = call.row().name == "unlinkat";
  PathArgument argument;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, argument)) return std::move(*failed);
  const int flags = at ? call.int_arg(2) : 0;
  if ((flags & ~AT_REMOVEDIR) != 0) return call.fails(EINVAL);
  if (flags != 0) call.record().op = "rmdir";
  return remove_entry(call, argument, flags);
}

Action handle_rmdir(Call& call) {
  PathArgument argument;
  if (auto failed = decode(call, -1, 0, argument)) return std::move(*failed);
  return remove_entry(call, argument, AT_REMOVEDIR);
}

Action handle_rename(Call& call) {
  const bool at = call.row().name != "rename";
  PathArgument from;
  PathArgument to;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, from)) return std::move(*failed);
  if (auto failed = decode(call, at ? 2 : -1, at ? 3 : 1, to)) return std::move(*failed);
  const auto flags = call.row().name == "renameat2" ? static_cast<unsigned>(call.int_arg(4)) : 0U;
  call.record().flags = flags;
  if ((flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT}) != 0)
    return call.fails(EINVAL);
  if ((flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) != 0 && (flags & RENAME_EXCHANGE) != 0)
    return call.fails(EINVAL);
  return change_names(call, [&]() -> std::optional<Action> {
    PinnedPath source;
    PinnedPath target;
    if (const int error = call.resolve(from.dirfd, from.path, LastLink::Entry, source); error != 0)
      return call.fails(error);
    if (const int error = call.resolve(to.dirfd, to.path, LastLink::Entry, target); error != 0)
      return call.fails(error);
    if (source.leaf == "." || target.leaf == ".") return call.fails(EBUSY);
    if (!source.exists()) return absent(call, Verb::FileDelete, source);
    if ((flags & RENAME_WHITEOUT) != 0 &&
        !call.forbid("protected:device-node", "a whiteout is a device node", EPERM))
      return call.denied();
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    if (exchange && !target.exists()) return absent(call, Verb::FileDelete, target);
    const VerbSet both = Verb::FileDelete | Verb::FileCreate;
    if (!call.permit(exchange ? both : VerbSet(Verb::FileDelete), source)) return call.denied();
    if (!call.permit_second(exchange || target.exists() ? both : VerbSet(Verb::FileCreate), target))
      return call.denied();
    if ((widens(call, source, target) || (exchange && widens(call, target, source))) &&
        !call.forbid("protected:alias-widens", "under the new name the plugin could do more with it",
                     EACCES)) {
      return call.denied();
    }
    if (!may_move(call, source) || !may_move(call, target)) return call.denied();
    if (!may_arrive(call, source.st.st_mode, source.resolved, target) ||
        (exchange && !may_arrive(call, target.st.st_mode, target.resolved, source)))
      return call.denied();
    if (!source.parent.valid() || !target.parent.valid()) return call.fails(EXDEV);
    return act_on_names(call, {&source, &target}, [&] {
      return call.result(::syscall(SYS_renameat2, source.parent.get(), leaf_of(source).c_str(),
                                   target.parent.get(), leaf_of(target).c_str(), flags));
    });
  });
}

Action handle_link(Call& call) {
  const bool at = call.row().name == "linkat";
  PathArgument from;
  PathArgument to;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, from)) return std::move(*failed);
  if (auto failed = decode(call, at ? 2 : -1, at ? 3 : 1, to)) return std::move(*failed);
  const int flags = at ? call.int_arg(4) : 0;
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) return call.fails(EINVAL);
  return change_names(call, [&]() -> std::optional<Action> {
    PinnedPath source;
    PinnedPath target;
    const auto last = (flags & AT_SYMLINK_FOLLOW) != 0 ? LastLink::Follow : LastLink::Keep;
    if (const int error = call.resolve(from.dirfd, from.path, last, source, (flags & AT_EMPTY_PATH) != 0);
        error != 0)
      return call.fails(error);
    if (!source.exists()) return absent(call, Verb::FileRead, source);
    if (const int error = call.resolve(to.dirfd, to.path, LastLink::Keep, target); error != 0)
      return call.fails(error);
    if (target.exists()) return taken(call, target);
    call.record().resolved_target2 = {};
    if (!call.permit(Verb::FileCreate, target)) return call.denied();
    call.record().target.path2 = call.record().target.path;
    call.record().target.path = call.keep(source.as_written);
    call.record().resolved_target2 = call.record().resolved_target;
    call.record().resolved_target = call.keep(source.resolved);
    // An O_TMPFILE file gets its first name here: it is the plugin's own.
    if (!is_unnamed(call, source) && widens(call, source, target) &&
        !call.forbid("protected:alias-widens", "under the new name the plugin could do more with it",
                     EACCES)) {
      return call.denied();
    }
    if (!may_arrive(call, source.st.st_mode, {}, target)) return call.denied();
    return act_on_names(call, {&source, &target}, [&]() -> Action {
      // The pinned object itself, by our own descriptor: the name may mean another file by now. Where the
      // kernel does not let us (no CAP_DAC_READ_SEARCH), our descriptor's magic link does.
      std::array<char, 16> name;
      std::snprintf(name.data(), name.size(), "%d", source.object.get());
      if (S_ISLNK(source.st.st_mode)) {
        if (!source.parent.valid()) return call.fails(EXDEV);
        return call.result(::linkat(source.parent.get(), source.leaf.c_str(), target.parent.get(),
                                    leaf_of(target).c_str(), 0));
      }
      return call.result(::linkat(call.services().proc.own_descriptors(), name.data(), target.parent.get(),
                                  leaf_of(target).c_str(), AT_SYMLINK_FOLLOW));
    });
  });
}

Action handle_symlink(Call& call) {
  const bool at = call.row().name == "symlinkat";
  PathArgument text;
  PathArgument argument;
  if (auto failed = decode(call, -1, 0, text)) return std::move(*failed);
  if (auto failed = decode(call, at ? 1 : -1, at ? 2 : 1, argument)) return std::move(*failed);
  if (text.path.empty()) return call.fails(ENOENT);
  return create_entry(call, argument, [&](const PinnedPath& path) -> Action {
    call.record().target.path2 = call.keep(text.path);
    if (!may_arrive(call, S_IFLNK, {}, path)) return call.denied();
    return call.result(::symlinkat(text.path.c_str(), path.parent.get(), leaf_of(path).c_str()));
  });
}

Action handle_mkdir(Call& call) {
  const bool at = call.row().name == "mkdirat";
  PathArgument argument;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, argument)) return std::move(*failed);
  const auto mode = static_cast<mode_t>(call.arg(at ? 2 : 1) & 07777);
  call.record().flags = mode;
  return create_entry(call, argument, [&](const PinnedPath& path) -> Action {
    if (!take_umask(call)) return call.refuse(EACCES, "the caller's umask cannot be read");
    return call.result(::mkdirat(path.parent.get(), leaf_of(path).c_str(), mode));
  });
}

Action handle_mknod(Call& call) {
  const bool at = call.row().name == "mknodat";
  PathArgument argument;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, argument)) return std::move(*failed);
  const auto mode = static_cast<mode_t>(call.arg(at ? 2 : 1));
  call.record().flags = mode;
  const mode_t kind = mode & S_IFMT;
  if (kind == S_IFDIR) return call.fails(EPERM);
  if (kind != 0 && kind != S_IFREG && kind != S_IFIFO && kind != S_IFSOCK && kind != S_IFCHR &&
      kind != S_IFBLK)
    return call.fails(EINVAL);
  return create_entry(call, argument, [&](const PinnedPath& path) -> Action {
    // A device node made by an unconfined supervisor would be a way to the hardware.
    if ((kind == S_IFCHR || kind == S_IFBLK) && !call.forbid("protected:device-node", "a device node", EPERM))
      return call.denied();
    if (setid_refused(call, mode, S_IFREG)) return call.denied();
    if (!take_umask(call)) return call.refuse(EACCES, "the caller's umask cannot be read");
    return call.result(
        ::mknodat(path.parent.get(), leaf_of(path).c_str(), mode, static_cast<dev_t>(call.arg(at ? 3 : 2))));
  });
}

Action handle_chmod(Call& call) {
  const std::string_view name = call.row().name;
  const bool at = name != "chmod";
  PathArgument argument;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, argument)) return std::move(*failed);
  const auto mode = static_cast<mode_t>(call.arg(at ? 2 : 1) & 07777);
  const int flags = name == "fchmodat2" ? call.int_arg(3) : 0;
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return call.fails(EINVAL);
  call.record().flags = mode;
  const auto last = (flags & AT_SYMLINK_NOFOLLOW) != 0 ? LastLink::Keep : LastLink::Follow;
  return change_object(call, argument, last, (flags & AT_EMPTY_PATH) != 0,
                       [&](const PinnedPath& path) -> Action {
                         if (setid_refused(call, mode, path.st.st_mode)) return call.denied();
                         return call.result(change_mode(call, path.object.get(), mode));
                       });
}

Action handle_chown(Call& call) {
  const std::string_view name = call.row().name;
  const bool at = name == "fchownat";
  PathArgument argument;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, argument)) return std::move(*failed);
  const auto user = static_cast<uid_t>(call.arg(at ? 2 : 1));
  const auto group = static_cast<gid_t>(call.arg(at ? 3 : 2));
  const int flags = at ? call.int_arg(4) : 0;
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return call.fails(EINVAL);
  const bool keep = name == "lchown" || (flags & AT_SYMLINK_NOFOLLOW) != 0;
  return change_object(call, argument, keep ? LastLink::Keep : LastLink::Follow, (flags & AT_EMPTY_PATH) != 0,
                       [&](const PinnedPath& path) {
                         return call.result(::fchownat(path.object.get(), "", user, group, AT_EMPTY_PATH));
                       });
}

Action handle_truncate(Call& call) {
  PathArgument argument;
  if (auto failed = decode(call, -1, 0, argument)) return std::move(*failed);
  const auto length = static_cast<off_t>(call.arg(1));
  if (length < 0) return call.fails(EINVAL);
  call.record().flags = length;
  return change_object(call, argument, LastLink::Follow, false, [&](const PinnedPath& path) -> Action {
    if (S_ISDIR(path.st.st_mode)) return call.fails(EISDIR);
    if (!S_ISREG(path.st.st_mode)) return call.fails(EINVAL);
    if (passes_size_limit(call, path.st.st_size, length)) return call.fails(EFBIG);
    // A lease of the plugin's own (F_SETLEASE) would hold a receiver for 45 s.
    if (call.on_worker()) {
      const std::int64_t done =
          call.blocking([&] { return ::truncate(own_descriptor_path(path.object.get()).c_str(), length); });
      return done < 0 && call.interrupted() ? call.restart() : call.result(done);
    }
    const int fd = call.services().proc.reopen(path.object.get(), O_WRONLY | O_NONBLOCK);
    if (fd == -EAGAIN) return NeedsWorker{};
    if (fd < 0) return call.fails(-fd);
    const UniqueFd opened(fd);
    return call.result(::ftruncate(fd, length));
  });
}

Action handle_utimes(Call& call) {
  const std::string_view name = call.row().name;
  const bool at = name == "utimensat" || name == "futimesat";
  const std::size_t path_index = at ? 1 : 0;
  const std::size_t time_index = at ? 2 : 1;
  PathArgument argument;
  if (at) argument.dirfd = call.int_arg(0);
  call.record().event = "file_change";
  // utimensat(fd, NULL) and futimesat(fd, NULL) mean the descriptor itself.
  const bool by_descriptor = at && call.address(path_index).is_null() && argument.dirfd != AT_FDCWD;
  if (!by_descriptor) {
    if (auto failed = decode(call, at ? 0 : -1, path_index, argument)) return std::move(*failed);
  }
  std::array<timespec, 2> times{timespec{0, UTIME_NOW}, timespec{0, UTIME_NOW}};
  if (const TargetAddress address = call.address(time_index); !address.is_null()) {
    int error = 0;
    if (name == "utimensat") {
      error = sys::read_object(call.services().memory, call.tid(), address, times);
    } else if (name == "utime") {
      utimbuf old{};
      error = sys::read_object(call.services().memory, call.tid(), address, old);
      times = {timespec{old.actime, 0}, timespec{old.modtime, 0}};
    } else {
      std::array<timeval, 2> old{};
      error = sys::read_object(call.services().memory, call.tid(), address, old);
      for (std::size_t i = 0; error == 0 && i < 2; ++i) {
        if (old[i].tv_usec < 0 || old[i].tv_usec >= 1'000'000) return call.fails(EINVAL);
        times[i] = from_microseconds(old[i]);
      }
    }
    if (error != 0) return call.fails(error);
  }
  if (name == "utimensat" && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
    return ReplyValue{0};  // the kernel does not even look at the path
  const int flags = name == "utimensat" ? call.int_arg(3) : 0;
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return call.fails(EINVAL);
  if (by_descriptor) {
    if (flags != 0) return call.fails(EINVAL);
    return change_descriptor(call, argument.dirfd, [&](const PinnedPath& path) {
      return call.result(::futimens(path.object.get(), times.data()));
    });
  }
  const auto last = (flags & AT_SYMLINK_NOFOLLOW) != 0 ? LastLink::Keep : LastLink::Follow;
  return change_object(call, argument, last, (flags & AT_EMPTY_PATH) != 0, [&](const PinnedPath& path) {
    return call.result(::syscall(SYS_utimensat, path.object.get(), "", times.data(), AT_EMPTY_PATH));
  });
}

Action handle_xattr(Call& call) {
  const std::string_view name = call.row().name;
  const bool at = name.ends_with("xattrat");
  const bool removes = name.find("remove") != std::string_view::npos;
  PathArgument argument;
  if (auto failed = decode(call, at ? 0 : -1, at ? 1 : 0, argument)) return std::move(*failed);
  int flags = 0;
  if (at) flags = call.int_arg(2);
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return call.fails(EINVAL);
  XattrChange change;
  if (auto failed = decode_xattr(call, at ? 3 : 1, removes, at, change)) return std::move(*failed);
  const bool keep = name.starts_with("l") || (flags & AT_SYMLINK_NOFOLLOW) != 0;
  return change_object(call, argument, keep ? LastLink::Keep : LastLink::Follow, (flags & AT_EMPTY_PATH) != 0,
                       [&](const PinnedPath& path) -> Action {
                         if (!xattr_allowed(call, change)) return call.denied();
                         // Links have no attributes of users; the others are not for plugins.
                         if (S_ISLNK(path.st.st_mode))
                           return call.fails(is_known_namespace(change.name) ? EPERM : EOPNOTSUPP);
                         const std::string own = own_descriptor_path(path.object.get());
                         if (removes) return call.result(::removexattr(own.c_str(), change.name.c_str()));
                         return call.result(::setxattr(own.c_str(), change.name.c_str(), change.value.data(),
                                                       change.value.size(), change.flags));
                       });
}

}  // namespace secbox::broker
