// fchmod, fchown, fsetxattr and watches: a descriptor that was opened for reading does not give the right to
// change the file.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "supervisor/broker/object_change.h"
#include "supervisor/broker/services.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452  // Linux 6.6
#endif

namespace secbox::broker {

using checker::Verb;
using sys::PinnedPath;

bool is_unnamed(Call& call, const PinnedPath& path) {
  if (!path.exists()) return false;
  if (!path.resolved.starts_with('/')) return true;
  if (path.st.st_nlink != 0) return false;
  const std::optional<int> held = call.held_flags(path);
  return held && (*held & O_ACCMODE) != O_RDONLY;
}

std::string own_descriptor_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

std::int64_t change_mode(Call& call, int object, mode_t mode) {
  if (::syscall(SYS_fchmodat2, object, "", mode, AT_EMPTY_PATH) == 0) return 0;
  if (errno != ENOSYS) return -1;
  std::array<char, 16> name;
  std::snprintf(name.data(), name.size(), "%d", object);
  return ::fchmodat(call.services().proc.own_descriptors(), name.data(), mode, 0);
}

bool setid_refused(Call& call, mode_t mode, mode_t kind) {
  if ((mode & (S_ISUID | S_ISGID)) == 0 || S_ISDIR(kind)) return false;
  return !call.forbid("protected:setid-bit", "a set-user-ID or set-group-ID program", EPERM);
}

Action change_descriptor(Call& call, int fd, const std::function<Action(const PinnedPath&)>& act) {
  call.record().event = "file_change";
  const auto identity = call.assume_identity();
  auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{fd});
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  if (!copy)
    return copy.error().code == EBADF ? Action{call.fails(EBADF)}
                                      : call.refuse(EACCES, "the descriptor cannot be examined");
  PinnedPath path;
  if (::fstat(copy->get(), &path.st) != 0) return call.fails(errno);
  if (const int error = call.services().proc.path_of(copy->get(), path.resolved); error != 0)
    return call.refuse(error, "the descriptor's file has no name that could be judged");
  path.as_written = path.resolved;
  path.object = std::move(*copy);
  path.held_as = TargetFd{fd};
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

std::optional<Action> decode_xattr(Call& call, std::size_t index, bool removes, bool by_struct,
                                   XattrChange& out) {
  constexpr std::size_t kNameMax = 255;      // XATTR_NAME_MAX
  constexpr std::uint64_t kSizeMax = 65536;  // XATTR_SIZE_MAX
  const int error =
      sys::read_string(call.services().memory, call.tid(), call.address(index), kNameMax + 1, out.name);
  if (error == ENAMETOOLONG || (error == 0 && out.name.empty())) return call.fails(ERANGE);
  if (error != 0) return call.fails(error);
  if (removes) return std::nullopt;
  TargetAddress value = call.address(index + 1);
  std::uint64_t size = call.arg(index + 2);
  out.flags = call.int_arg(index + 3 < 6 ? index + 3 : 5);
  if (by_struct) {
    struct {
      std::uint64_t value;
      std::uint32_t size;
      std::uint32_t flags;
    } args{};
    if (call.arg(index + 2) != sizeof args)
      return call.fails(call.arg(index + 2) < sizeof args ? EINVAL : E2BIG);
    if (const int failed =
            sys::read_object(call.services().memory, call.tid(), call.address(index + 1), args);
        failed != 0)
      return call.fails(failed);
    value = TargetAddress{args.value};
    size = args.size;
    out.flags = static_cast<int>(args.flags);
  }
  if ((out.flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return call.fails(EINVAL);
  if (size > kSizeMax) return call.fails(E2BIG);
  out.value.resize(size);
  if (size > 0 &&
      call.services().memory.read(call.tid(), value, out.value) != static_cast<std::int64_t>(size))
    return call.fails(EFAULT);
  return std::nullopt;
}

bool xattr_allowed(Call& call, const XattrChange& change) {
  return !change.name.starts_with("security.") ||
         call.forbid("protected:file-capability", "a security attribute of a file", EPERM);
}

Action handle_fchmod(Call& call) {
  const auto mode = static_cast<mode_t>(call.arg(1) & 07777);
  call.record().flags = mode;
  return change_descriptor(call, call.int_arg(0), [&](const PinnedPath& path) -> Action {
    if (setid_refused(call, mode, path.st.st_mode)) return call.denied();
    return call.result(::fchmod(path.object.get(), mode));
  });
}

Action handle_fchown(Call& call) {
  return change_descriptor(call, call.int_arg(0), [&](const PinnedPath& path) {
    return call.result(
        ::fchown(path.object.get(), static_cast<uid_t>(call.arg(1)), static_cast<gid_t>(call.arg(2))));
  });
}

Action handle_fxattr(Call& call) {
  call.record().event = "file_change";
  const bool removes = call.row().name == "fremovexattr";
  XattrChange change;
  if (auto failed = decode_xattr(call, 1, removes, false, change)) return std::move(*failed);
  return change_descriptor(call, call.int_arg(0), [&](const PinnedPath& path) -> Action {
    if (!xattr_allowed(call, change)) return call.denied();
    const int fd = path.object.get();
    if (removes) return call.result(::fremovexattr(fd, change.name.c_str()));
    return call.result(
        ::fsetxattr(fd, change.name.c_str(), change.value.data(), change.value.size(), change.flags));
  });
}

Action handle_inotify_add_watch(Call& call) {
  call.record().event = "file_open";
  std::string text;
  if (const int error = call.read_path(1, text); error != 0) return call.fails(error);
  const auto mask = static_cast<std::uint32_t>(call.arg(2));
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  PinnedPath path;
  const auto last = (mask & IN_DONT_FOLLOW) != 0 ? sys::LastLink::Keep : sys::LastLink::Follow;
  if (const int error = call.resolve(AT_FDCWD, text, last, path); error != 0) return call.fails(error);
  if (!path.exists()) return call.fails(ENOENT);
  if (!call.permit(S_ISDIR(path.st.st_mode) ? Verb::FileList : Verb::FileRead, path)) return call.denied();
  if ((mask & IN_ONLYDIR) != 0 && !S_ISDIR(path.st.st_mode)) return call.fails(ENOTDIR);
  const auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{call.int_arg(0)});
  if (!copy)
    return copy.error().code == EBADF ? Action{call.fails(EBADF)}
                                      : call.refuse(EACCES, "the descriptor cannot be examined");
  return call.result(::inotify_add_watch(copy->get(), own_descriptor_path(path.object.get()).c_str(),
                                         mask & ~std::uint32_t{IN_DONT_FOLLOW}));
}

}  // namespace secbox::broker
