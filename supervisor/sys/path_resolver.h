// From a path of the plugin to a pinned object: symbolic links are followed here, one component at a time, in
// the plugin's own view, so that what is judged and what is acted on are the same descriptor. Never a second
// look-up by string.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>

#include "supervisor/base/ids.h"
#include "supervisor/base/unique_fd.h"
#include "supervisor/sys/target.h"

namespace secbox::sys {

// Entry: the directory entry itself, as for unlink, rename and mkdir: a link is not followed even with a
// slash behind it.
enum class LastLink : std::uint8_t { Follow, Keep, Entry };

// A resolved path. Exactly one of these holds: the object exists (`object` valid), or only its parent does.
struct PinnedPath {
  UniqueFd parent;   // O_PATH directory; invalid where the object was reached through a magic link
  std::string leaf;  // its name in `parent`; "." where the path ends in a directory itself ("/", "..")
  bool trailing_slash = false;
  UniqueFd object;         // O_PATH | O_NOFOLLOW; invalid where nothing is there
  struct stat st{};        // of object
  std::string as_written;  // absolute, links not followed, "." and ".." folded
  std::string resolved;    // canonical: what the kernel calls the object, or parent + leaf
  bool in_procfs = false;
  // Reached through /proc/<pid>/fd/<n> of the caller itself: the caller holds this already.
  std::optional<TargetFd> held_as;
  // The object lies in /proc/<pid>: that process, however the path came there.
  std::optional<pid_t> proc_pid;
  // The path went through a magic link (fd/N, cwd, root, ...) of this process; of several, the last.
  std::optional<pid_t> via_pid;

  [[nodiscard]] bool exists() const { return object.valid(); }
};

struct PathQuery {
  ThreadId tid;
  int dirfd = AT_FDCWD;   // in the plugin
  std::string_view path;  // as read from its memory
  LastLink last = LastLink::Follow;
  bool allow_empty = false;   // AT_EMPTY_PATH
  std::uint64_t resolve = 0;  // RESOLVE_* of openat2
};

class PathResolver {
 public:
  explicit PathResolver(const Procfs& proc);

  // 0, or the errno that the kernel would give. A missing last component is no error: see exists().
  // ENOENT/ENOTDIR/ELOOP/EACCES on the way are; `out.as_written` is set even then, where a base was found.
  [[nodiscard]] int resolve(const PathQuery& query, PinnedPath& out) const;

  // The directory that the path starts from, pinned, and its name; none for an absolute path ("/"). 0 or an
  // errno.
  int open_base(const PathQuery& query, UniqueFd& base, std::string& base_name) const;

 private:
  class Walk;
  int resolve_by_kernel(const PathQuery& query, const UniqueFd& base, PinnedPath& out) const;

  const Procfs& proc_;
  UniqueFd root_;
  bool protected_symlinks_ = false;
};

// Appends `path` to the absolute `base`, folding ".", ".." and "//" by text alone. For names that people read
// and rules that judge the spelling; the object is found by walking, never by this.
void append_folded(std::string& base, std::string_view path);

}  // namespace secbox::sys
