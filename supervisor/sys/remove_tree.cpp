#include "supervisor/sys/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/unique_fd.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452  // Linux 6.6
#endif

namespace secbox::sys {

namespace {

struct CloseDir {
  void operator()(DIR* dir) const { (void)::closedir(dir); }
};
using Dir = std::unique_ptr<DIR, CloseDir>;

int open_below(int dir, const char* name, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  while (true) {
    const auto fd = static_cast<int>(::syscall(SYS_openat2, dir, name, &how, sizeof how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return fd;
  }
}

// What is pinned is a directory, and its name in /proc cannot lead elsewhere.
void make_accessible(int handle) {
  if (::syscall(SYS_fchmodat2, handle, "", 0700, AT_EMPTY_PATH) == 0 || errno != ENOSYS) return;
  (void)!::fchmodat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(handle)).c_str(), 0700, 0);
}

// A directory to be emptied. Its owner may have taken every right to it away.
Dir open_directory(int parent, const char* name, struct stat& st) {
  const UniqueFd handle(open_below(parent, name, O_PATH));
  if (!handle.valid() || ::fstat(handle.get(), &st) != 0) return nullptr;
  if ((st.st_mode & S_IRWXU) != S_IRWXU) make_accessible(handle.get());
  const int fd = open_below(handle.get(), ".", O_RDONLY);
  DIR* const dir = fd < 0 ? nullptr : ::fdopendir(fd);
  if (fd >= 0 && dir == nullptr) (void)::close(fd);
  return Dir(dir);
}

struct Level {
  std::string name;  // in the level above
  dev_t dev;
  ino_t ino;
  Dir dir;  // null while many levels below are open
};

class Removal {
 public:
  Removal(int parent, const char* name) : parent_(parent) { (void)descend(parent, name); }

  void run() {
    while (!levels_.empty()) {
      if (!empty_current()) continue;  // went down
      if (!ascend()) return;
    }
  }

 private:
  static constexpr std::size_t kOpenLevels = 64;

  bool descend(int parent, const char* name) {
    struct stat st{};
    Dir dir = open_directory(parent, name, st);
    if (!dir) return false;
    levels_.push_back({name, st.st_dev, st.st_ino, std::move(dir)});
    if (levels_.size() > kOpenLevels) levels_[levels_.size() - 1 - kOpenLevels].dir.reset();
    return true;
  }

  // Unlinks what the deepest level holds. False where it went down into a directory; true once nothing is
  // left that could be removed.
  bool empty_current() {
    DIR* const dir = levels_.back().dir.get();
    while (const dirent* entry = ::readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (::unlinkat(::dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) continue;
      if (::unlinkat(::dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0) continue;
      const std::string copy(name);
      if ((errno == ENOTEMPTY || errno == EEXIST) && descend(::dirfd(dir), copy.c_str())) return false;
    }
    return true;
  }

  // Back to the level above, whose entry is removed. False where that is not the directory that we came from,
  // or where too much stays that was tried before.
  bool ascend() {
    Level done = std::move(levels_.back());
    levels_.pop_back();
    if (levels_.empty()) {
      (void)::unlinkat(parent_, done.name.c_str(), AT_REMOVEDIR);
      return true;
    }
    Level& above = levels_.back();
    const bool opened_anew = !above.dir;
    if (opened_anew) {
      struct stat st{};
      Dir dir = open_directory(::dirfd(done.dir.get()), "..", st);
      if (!dir || st.st_dev != above.dev || st.st_ino != above.ino) return false;
      above.dir = std::move(dir);
    }
    if (::unlinkat(::dirfd(above.dir.get()), done.name.c_str(), AT_REMOVEDIR) == 0) return true;
    // A level that is read from its beginning again leads into what stayed again.
    return !opened_anew || --patience_ > 0;
  }

  const int parent_;
  int patience_ = 1000;
  std::vector<Level> levels_;
};

}  // namespace

void remove_tree(int parent, const char* name) { Removal(parent, name).run(); }

}  // namespace secbox::sys
