#include "supervisor/sys/path_resolver.h"

#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

namespace secbox::sys {

namespace {

constexpr int kMaxLinks = 40;      // MAXSYMLINKS
constexpr ino_t kProcRootIno = 1;  // PROC_ROOT_INO

int open_beneath(int dir, const char* name, std::uint64_t flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  while (true) {
    const auto fd = static_cast<int>(::syscall(SYS_openat2, dir, name, &how, sizeof how));
    if (fd >= 0) return fd;
    if (errno != EAGAIN && errno != EINTR) return -errno;  // EAGAIN: a rename elsewhere during the walk
  }
}

bool in_procfs(int fd) {
  struct statfs fs{};
  return ::fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

bool parse_pid(std::string_view text, pid_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && out > 0;
}

// Whose /proc/<pid> the object lies in, by its resolved name alone: the way there
// ("/proc/self/root/proc/1/...") must not make it the caller's own.
void note_procfs(const Procfs& proc, PinnedPath& out) {
  out.in_procfs = proc.covers(out.resolved);
  if (!out.in_procfs) return;
  std::string_view rest = out.resolved;
  for (const std::string& mount : proc.mount_points()) {
    if (!rest.starts_with(mount) || rest.size() <= mount.size() + 1) continue;
    rest.remove_prefix(mount.size() + 1);
    pid_t pid = 0;
    if (parse_pid(rest.substr(0, rest.find('/')), pid)) out.proc_pid = pid;
    return;
  }
}

}  // namespace

void append_folded(std::string& base, std::string_view path) {
  if (!path.empty() && path.front() == '/') base.assign("/");
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      const std::size_t cut = base.rfind('/');
      base.resize(cut == std::string::npos || cut == 0 ? 1 : cut);
      continue;
    }
    if (base.empty() || base.back() != '/') base.push_back('/');
    base.append(part);
  }
  if (base.empty()) base.assign("/");
}

// One resolution: the directory we stand in, and what is still to be walked.
class PathResolver::Walk {
 public:
  Walk(const PathResolver& resolver, const PathQuery& query, PinnedPath& out)
      : proc_(resolver.proc_),
        root_(resolver.root_),
        protected_symlinks_(resolver.protected_symlinks_),
        query_(query),
        out_(out) {}

  int run(UniqueFd base) {
    current_ = std::move(base);
    pending_ = query_.path;
    if (!pending_.empty() && pending_.front() == '/') {
      if (const int error = go_to_root(); error != 0) return error;
    }
    bool may_leap = true;
    while (true) {
      if (may_leap) leap();
      const int links_before = links_;
      std::string component = next_component();
      if (component.empty()) return finish_at_directory();
      const bool last = pending_.find_first_not_of('/') == std::string::npos;
      const bool slash_after = last && !pending_.empty();
      if (component == ".") {
        if (!last) continue;
        // The kernel looks "." up as well: without the right to search, it is not to be had.
        if (const int error = enter(open_beneath(current_.get(), ".", O_PATH | O_DIRECTORY, 0)); error != 0)
          return error;
        return finish_at_directory();
      }
      if (component == "..") {
        if (const int error = enter(open_beneath(current_.get(), "..", O_PATH | O_DIRECTORY, 0)); error != 0)
          return error;
        continue;
      }
      const int error = last ? take_last(component, slash_after) : step(component);
      if (error != kGoOn) return error;
      may_leap = links_ != links_before;
    }
  }

 private:
  static constexpr int kGoOn = -1;

  // All directories on the way at once, where none of them is a link: what the steps would find, in one call.
  // Where it cannot be had, the steps find the link, or the right errno.
  void leap() {
    const std::size_t begin = pending_.find_first_not_of('/');
    if (begin == std::string::npos) return;
    const std::size_t slash = pending_.rfind('/', pending_.find_last_not_of('/'));
    if (slash == std::string::npos || slash < begin) return;
    UniqueFd next(open_beneath(current_.get(), pending_.substr(begin, slash - begin).c_str(),
                               O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
    if (!next.valid()) return;
    current_ = std::move(next);
    pending_.erase(0, slash);
  }

  int enter(int fd) {
    if (fd < 0) return -fd;
    current_.reset(fd);
    return 0;
  }
  int go_to_root() { return enter(open_beneath(root_.get(), ".", O_PATH | O_DIRECTORY, 0)); }

  std::string next_component() {
    const std::size_t start = pending_.find_first_not_of('/');
    if (start == std::string::npos) {
      pending_.clear();
      return {};
    }
    const std::size_t end = std::min(pending_.find('/', start), pending_.size());
    std::string component = pending_.substr(start, end - start);
    pending_.erase(0, end);
    return component;
  }

  // A component with more to come: a directory, or a link to one.
  int step(const std::string& component) {
    UniqueFd next(open_beneath(current_.get(), component.c_str(), O_PATH | O_NOFOLLOW, 0));
    if (next.get() < 0) return -next.release();
    struct stat st{};
    if (::fstat(next.get(), &st) != 0) return errno;
    if (S_ISLNK(st.st_mode)) return follow(component, next, st, false);
    if (!S_ISDIR(st.st_mode)) return ENOTDIR;
    current_ = std::move(next);
    return kGoOn;
  }

  int take_last(const std::string& component, bool slash_after) {
    out_.trailing_slash = slash_after;
    const int fd = open_beneath(current_.get(), component.c_str(), O_PATH | O_NOFOLLOW, 0);
    if (fd == -ENOENT) return finish_with_parent(component);
    UniqueFd object(fd >= 0 ? fd : -1);
    if (fd < 0) return -fd;
    if (::fstat(object.get(), &out_.st) != 0) return errno;
    if (S_ISLNK(out_.st.st_mode) &&
        (query_.last == LastLink::Follow || (slash_after && query_.last == LastLink::Keep))) {
      return follow(component, object, out_.st, true);
    }
    if (slash_after && query_.last != LastLink::Entry && !S_ISDIR(out_.st.st_mode)) return ENOTDIR;
    out_.object = std::move(object);
    return finish_with_parent(component);
  }

  // `link` is the pinned link itself, an entry of current_.
  int follow(const std::string& name, const UniqueFd& link, const struct stat& st, bool last) {
    if (++links_ > kMaxLinks || (query_.resolve & RESOLVE_NO_SYMLINKS) != 0) return ELOOP;
    if (in_procfs(link.get())) {
      struct stat dir{};
      if (::fstat(current_.get(), &dir) != 0) return errno;
      if (dir.st_ino == kProcRootIno && (name == "self" || name == "thread-self")) return follow_self(name);
      std::string where;
      if (const int error = proc_.path_of(current_.get(), where); error != 0) return error;
      if (dir.st_ino != kProcRootIno) return follow_magic(where, name, last);
    }
    if (last && protected_symlinks_ && refused_as_protected(st)) return EACCES;
    std::string text(4096, '\0');
    const ssize_t got = ::readlinkat(link.get(), "", text.data(), text.size());
    if (got < 0) return errno;
    text.resize(static_cast<std::size_t>(got));
    if (text.empty()) return ENOENT;
    const bool absolute = text.front() == '/';
    pending_.insert(0, text);
    if (pending_.size() > (1U << 16)) return ENAMETOOLONG;
    if (!absolute) return kGoOn;
    const int error = go_to_root();
    return error == 0 ? kGoOn : error;
  }

  // "self" is an ordinary link that the kernel would resolve for *us*.
  int follow_self(const std::string& name) {
    ThreadFacts facts;
    if (const int error = proc_.read_facts(query_.tid, facts); error != 0) return error;
    std::string text = std::to_string(facts.tgid);
    if (name == "thread-self") text += "/task/" + std::to_string(query_.tid.value);
    pending_.insert(0, text);
    return kGoOn;
  }

  // fd/N, exe, cwd, root, map_files/*, ns/*: the kernel jumps to an object. `where` is the directory of the
  // link.
  int follow_magic(const std::string& where, const std::string& name, bool last) {
    std::string_view rest = where;
    pid_t owner = 0;
    for (const std::string& mount : proc_.mount_points()) {
      if (rest.starts_with(mount) && rest.size() > mount.size() + 1 && rest[mount.size()] == '/') {
        rest.remove_prefix(mount.size() + 1);
        break;
      }
    }
    if ((query_.resolve & RESOLVE_NO_MAGICLINKS) != 0) return ELOOP;
    if (!parse_pid(rest.substr(0, rest.find('/')), owner)) return EACCES;
    const std::string_view below =
        rest.find('/') == std::string_view::npos ? std::string_view{} : rest.substr(rest.find('/') + 1);
    out_.via_pid = owner;
    UniqueFd object(open_beneath(current_.get(), name.c_str(), O_PATH, 0));
    if (object.get() < 0) return -object.release();
    if (::fstat(object.get(), &out_.st) != 0) return errno;
    if (!last) {
      if (!S_ISDIR(out_.st.st_mode)) return ENOTDIR;
      current_ = std::move(object);
      return kGoOn;
    }
    int number = 0;
    const bool is_fd = below == "fd" || (below.starts_with("task/") && below.ends_with("/fd"));
    if (is_fd && std::from_chars(name.data(), name.data() + name.size(), number).ec == std::errc{}) {
      // Whose table: the process's, or the thread's named after task/.
      pid_t holder = owner;
      if (below.starts_with("task/")) parse_pid(below.substr(5, below.size() - 8), holder);
      ThreadFacts facts;
      if (proc_.read_facts(query_.tid, facts) == 0 && (holder == facts.tgid || holder == query_.tid.value)) {
        out_.held_as = TargetFd{number};
      }
    }
    if (out_.trailing_slash && !S_ISDIR(out_.st.st_mode)) return ENOTDIR;
    out_.object = std::move(object);
    out_.parent.reset();
    out_.leaf.clear();
    if (const int error = proc_.path_of(out_.object.get(), out_.resolved); error != 0) return error;
    note_procfs(proc_, out_);
    return 0;
  }

  // fs.protected_symlinks: a link in a sticky world-writable directory is followed only for its owner, or
  // where the directory's owner made it. The kernel applies it to links that it follows itself; we follow by
  // hand.
  bool refused_as_protected(const struct stat& link) const {
    struct stat dir{};
    if (::fstat(current_.get(), &dir) != 0) return true;
    constexpr mode_t kSticky = S_ISVTX | S_IWOTH;
    return (dir.st_mode & kSticky) == kSticky && dir.st_uid != link.st_uid && link.st_uid != ::geteuid();
  }

  int finish_at_directory() {
    if (::fstat(current_.get(), &out_.st) != 0) return errno;
    if (!S_ISDIR(out_.st.st_mode)) return ENOTDIR;
    out_.object = std::move(current_);
    out_.parent.reset(open_beneath(out_.object.get(), ".", O_PATH | O_DIRECTORY, 0));
    out_.leaf = ".";
    return name_resolved("");
  }

  int finish_with_parent(const std::string& leaf) {
    out_.parent = std::move(current_);
    out_.leaf = leaf;
    return name_resolved(leaf);
  }

  int name_resolved(const std::string& leaf) {
    const UniqueFd& anchor = leaf.empty() ? out_.object : out_.parent;
    if (const int error = proc_.path_of(anchor.get(), out_.resolved); error != 0) return error;
    if (out_.resolved.empty() || out_.resolved.front() != '/') return ENOENT;  // "(unreachable)"
    if (!leaf.empty()) {
      if (out_.resolved.size() > 1) out_.resolved.push_back('/');
      out_.resolved += leaf;
    }
    note_procfs(proc_, out_);
    return 0;
  }

  const Procfs& proc_;
  const UniqueFd& root_;
  const bool protected_symlinks_;
  const PathQuery& query_;
  PinnedPath& out_;
  UniqueFd current_;
  std::string pending_;
  int links_ = 0;
};

PathResolver::PathResolver(const Procfs& proc)
    : proc_(proc), root_(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  const UniqueFd sysctl(::openat(proc.root(), "sys/fs/protected_symlinks", O_RDONLY | O_CLOEXEC));
  char value = '1';  // the safe reading where it cannot be read
  if (sysctl.valid() && ::read(sysctl.get(), &value, 1) != 1) value = '1';
  protected_symlinks_ = value == '1';
}

int PathResolver::open_base(const PathQuery& query, UniqueFd& base, std::string& base_name) const {
  if (!query.path.empty() && query.path.front() == '/' && (query.resolve & RESOLVE_IN_ROOT) == 0) {
    base_name = "/";
    return 0;
  }
  auto opened = query.dirfd == AT_FDCWD ? proc_.open_cwd(query.tid)
                                        : proc_.open_descriptor_path(query.tid, TargetFd{query.dirfd});
  if (!opened) {
    // No such descriptor is the caller's mistake; being unable to look is ours, and refuses.
    return opened.error().code == ENOENT ? (query.dirfd == AT_FDCWD ? ENOENT : EBADF) : opened.error().code;
  }
  base = std::move(*opened);
  if (const int error = proc_.path_of(base.get(), base_name); error != 0) return error;
  if (base_name.empty() || base_name.front() != '/') {
    // A pipe, socket or anonymous file: only AT_EMPTY_PATH can mean it.
    return query.path.empty() && query.allow_empty ? 0 : ENOTDIR;
  }
  return 0;
}

int PathResolver::resolve(const PathQuery& query, PinnedPath& out) const {
  if (query.path.empty() && !query.allow_empty) return ENOENT;
  UniqueFd base;
  if (const int error = open_base(query, base, out.as_written); error != 0) return error;
  if (query.path.empty()) {
    out.object = std::move(base);
    out.resolved = out.as_written;
    if (::fstat(out.object.get(), &out.st) != 0) return errno;
    note_procfs(proc_, out);
    if (query.dirfd != AT_FDCWD) out.held_as = TargetFd{query.dirfd};
    return 0;
  }
  std::string_view spelled = query.path;
  if ((query.resolve & RESOLVE_IN_ROOT) != 0)
    spelled.remove_prefix(std::min(spelled.find_first_not_of('/'), spelled.size()));
  append_folded(out.as_written, spelled);
  // openat2's limits on where a path may lead: only the kernel knows them exactly.
  constexpr std::uint64_t kKernelsOwn = RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_IN_ROOT;
  if ((query.resolve & kKernelsOwn) != 0) return resolve_by_kernel(query, base, out);
  return Walk(*this, query, out).run(std::move(base));
}

// It looks up in the plugin's base; a result in procfs may have gone through our "self" and is refused.
int PathResolver::resolve_by_kernel(const PathQuery& query, const UniqueFd& base, PinnedPath& out) const {
  const int dir = base.valid() ? base.get() : AT_FDCWD;
  const std::uint64_t limits = query.resolve & ~std::uint64_t{RESOLVE_CACHED};
  const std::uint64_t flags = O_PATH | (query.last == LastLink::Follow ? 0 : O_NOFOLLOW);
  std::string path(query.path);
  for (int links = 0; links <= kMaxLinks; ++links) {
    if (const int fd = open_beneath(dir, path.c_str(), flags, limits); fd >= 0) {
      out.object.reset(fd);
      if (::fstat(fd, &out.st) != 0) return errno;
      if (const int error = proc_.path_of(fd, out.resolved); error != 0) return error;
      out.in_procfs = in_procfs(fd);
      return out.in_procfs ? EACCES : 0;
    } else if (fd != -ENOENT) {
      return -fd;
    }
    const std::size_t slash = path.find_last_of('/');
    const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    out.leaf = slash == std::string::npos ? path : path.substr(slash + 1);
    const int dirfd = open_beneath(dir, parent.c_str(), O_PATH | O_DIRECTORY, limits);
    if (dirfd < 0) return -dirfd;
    out.parent.reset(dirfd);
    if (out.leaf.empty()) return ENOENT;
    // A link to what is not there yet.
    std::array<char, 4096> text;
    const ssize_t got = ::readlinkat(dirfd, out.leaf.c_str(), text.data(), text.size());
    if (got > 0) {
      const std::string_view target(text.data(), static_cast<std::size_t>(got));
      path.resize(target.front() == '/' || slash == std::string::npos ? 0 : slash + 1);
      path += target;
      continue;
    }
    out.in_procfs = in_procfs(dirfd);
    if (out.in_procfs) return EACCES;
    if (const int error = proc_.path_of(dirfd, out.resolved); error != 0) return error;
    if (out.resolved.size() > 1) out.resolved.push_back('/');
    out.resolved += out.leaf;
    return 0;
  }
  return ELOOP;
}

}  // namespace secbox::sys
