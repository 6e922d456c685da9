#include "tools/harness/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "supervisor/base/unique_fd.h"

namespace secbox::harness {

namespace {

// An entry of the directory `at` itself: not where a link leads, not what was mounted upon it.
UniqueFd open_entry(int at, const char* name, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, at, name, &how, sizeof how)));
}

// chattr +i and +a outlast root.
void make_mutable(int fd) {
  int flags = 0;
  if (::ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0 || (flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) == 0) return;
  flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
  (void)::ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

// Calls `each` with the names in `directory`.
template <typename Each>
void for_each_entry(int directory, Each each) {
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = copy >= 0 ? ::fdopendir(copy) : nullptr;
  if (entries == nullptr) return;
  while (const dirent* entry = ::readdir(entries)) {
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) each(entry->d_name);
  }
  ::closedir(entries);
}

enum class Left : std::uint8_t { Nothing, Directory, Stuck };

Left remove_entry(int directory, const char* name) {
  if (::unlinkat(directory, name, 0) == 0) return Left::Nothing;
  if (errno == EISDIR) {
    if (::unlinkat(directory, name, AT_REMOVEDIR) == 0) return Left::Nothing;
    return errno == EBUSY ? Left::Stuck : Left::Directory;
  }
  if (const UniqueFd file = open_entry(directory, name, O_RDONLY | O_NONBLOCK); file.valid())
    make_mutable(file.get());
  return ::unlinkat(directory, name, 0) == 0 ? Left::Nothing : Left::Stuck;
}

UniqueFd open_up(int directory, const char* name) {
  (void)!::fchmodat(directory, name, 0700, AT_SYMLINK_NOFOLLOW);
  UniqueFd opened = open_entry(directory, name, O_RDONLY | O_DIRECTORY);
  if (opened.valid()) {
    make_mutable(opened.get());
    (void)::fchmod(opened.get(), 0700);
  }
  return opened;
}

// Takes everything out of `top`. A directory in a directory is moved up first: a tree may be deeper than
// there are descriptors, or bytes in a path.
void empty_directory(int top) {
  int moved = 0;
  for (bool progress = true; progress;) {
    progress = false;
    for_each_entry(top, [&](const char* name) {
      const Left left = remove_entry(top, name);
      progress = progress || left == Left::Nothing;
      if (left != Left::Directory) return;
      const UniqueFd directory = open_up(top, name);
      if (!directory.valid()) return;
      for_each_entry(directory.get(), [&](const char* inner) {
        if (remove_entry(directory.get(), inner) != Left::Directory) return;
        // Its ".." changes with it, which it has to allow.
        if (!open_up(directory.get(), inner).valid()) return;
        const std::string fresh = ".moved-up-" + std::to_string(++moved);
        progress = ::renameat(directory.get(), inner, top, fresh.c_str()) == 0 || progress;
      });
      progress = ::unlinkat(top, name, AT_REMOVEDIR) == 0 || progress;
    });
  }
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t put = ::write(fd, content.data(), content.size());
    if (put < 0) return errno_failure("cannot write " + path);
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

}  // namespace

std::optional<std::string> read_file(const std::string& path, std::size_t most) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat st{};
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  std::string text;
  char buffer[65536];
  while (text.size() < most) {
    const ssize_t got = ::read(fd.get(), buffer, std::min(sizeof buffer, most - text.size()));
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

Result<void> write_file(const std::string& path, std::string_view content, mode_t mode) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return errno_failure("cannot make " + path);
  if (auto done = write_all(fd.get(), content, path); !done) return done;
  if (::fchmod(fd.get(), mode) != 0) return errno_failure("cannot set the mode of " + path);
  return {};
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), 0700) != 0) return errno_failure("cannot make " + path);
  if (::chmod(path.c_str(), mode) != 0) return errno_failure("cannot set the mode of " + path);
  return {};
}

Result<void> set_owner_and_mode(const std::string& path, uid_t uid, gid_t gid, mode_t mode) {
  if (::geteuid() == 0 && ::lchown(path.c_str(), uid, gid) != 0)
    return errno_failure("cannot set the owner of " + path);
  if (::chmod(path.c_str(), mode) != 0) return errno_failure("cannot set the mode of " + path);
  return {};
}

Result<void> copy_file(const std::string& from, const std::string& to, mode_t mode) {
  const UniqueFd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!source.valid()) return errno_failure("cannot read " + from);
  const UniqueFd target(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!target.valid()) return errno_failure("cannot make " + to);
  char buffer[65536];
  while (true) {
    const ssize_t got = ::read(source.get(), buffer, sizeof buffer);
    if (got < 0) return errno_failure("cannot read " + from);
    if (got == 0) break;
    if (auto done = write_all(target.get(), {buffer, static_cast<std::size_t>(got)}, to); !done) return done;
  }
  if (::fchmod(target.get(), mode) != 0) return errno_failure("cannot set the mode of " + to);
  return {};
}

Result<void> copy_tree(const std::string& from, const std::string& to, const User& user) {
  const auto own = [&](const std::string& path) -> Result<void> {
    if (::geteuid() == 0 && ::lchown(path.c_str(), user.uid, user.gid) != 0)
      return errno_failure("cannot set the owner of " + path);
    return {};
  };
  DIR* entries = ::opendir(from.c_str());
  if (entries == nullptr) return errno_failure("cannot read " + from);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(entries)) names.emplace_back(entry->d_name);
  ::closedir(entries);
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    const std::string source = from + "/" + name;
    const std::string target = to + "/" + name;
    struct stat st{};
    if (::lstat(source.c_str(), &st) != 0) return errno_failure("cannot look at " + source);
    if (S_ISLNK(st.st_mode)) {
      std::error_code error;
      std::filesystem::copy_symlink(source, target, error);
      if (error) return failure("cannot copy the link " + source, error.value());
    } else if (S_ISDIR(st.st_mode)) {
      if (auto done = make_directory(target, st.st_mode & 0777); !done) return done;
      if (auto done = copy_tree(source, target, user); !done) return done;
    } else if (S_ISREG(st.st_mode)) {
      if (auto done = copy_file(source, target, st.st_mode & 0777); !done) return done;
    } else {
      return failure("neither a file, a directory nor a link: " + source);
    }
    if (auto done = own(target); !done) return done;
  }
  return {};
}

bool remove_tree(const std::string& path) {
  if (const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
      directory.valid()) {
    make_mutable(directory.get());
    (void)::fchmod(directory.get(), 0700);
    empty_directory(directory.get());
  }
  return ::rmdir(path.c_str()) == 0;
}

}  // namespace secbox::harness
