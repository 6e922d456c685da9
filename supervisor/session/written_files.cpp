#include "supervisor/session/written_files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/base/unique_fd.h"

namespace secbox::session {

void WrittenFiles::note(std::string_view path, dev_t dev, ino_t ino) {
  constexpr std::size_t kMost = 512;
  const std::lock_guard lock(mutex_);
  if (files_.size() < kMost || files_.contains(ino))
    files_.insert_or_assign(ino, Entry{std::string(path), dev});
}

void WrittenFiles::each_of_size(std::uint64_t bytes, const std::function<void(const std::string&)>& found) {
  const std::lock_guard lock(mutex_);
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (const auto& [ino, entry] : files_) {
    const UniqueFd file(
        static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, entry.path.c_str(), &how, sizeof how)));
    struct stat st{};
    if (file.valid() && ::fstat(file.get(), &st) == 0 && st.st_dev == entry.dev && st.st_ino == ino &&
        static_cast<std::uint64_t>(st.st_size) >= bytes)
      found(entry.path);
  }
}

}  // namespace secbox::session
