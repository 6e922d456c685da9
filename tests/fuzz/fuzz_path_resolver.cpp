// Whatever path and whatever links: what is pinned is the very object that the kernel finds by the same path,
// by the kernel's own name for it, and where the kernel fails the errno is its own. The tree is real, made
// once in a directory of its own; the input says what its links are and what is looked up.
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "supervisor/sys/path_resolver.h"
#include "tests/fuzz/require.h"

namespace {

using namespace secbox;
using fuzz::require;

// Every directory has the same names: paths that mean something are found by chance.
constexpr const char* kDirectories[] = {".", "d", "d/d", "s"};
constexpr const char* kLinks[] = {"l", "m"};
constexpr std::size_t kSlots = std::size(kDirectories) * std::size(kLinks);

constexpr std::uint64_t kResolve[] = {
    0, 0, 0, 0, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT};

class Tree {
 public:
  Tree() {
    const char* base = std::getenv("TMPDIR");
    std::string name = std::string(base != nullptr ? base : "/tmp") + "/secbox-fuzz-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr, "a directory to work in");
    path_ = std::filesystem::canonical(name);
    require(::chdir(path_.c_str()) == 0, "the tree");
    for (const char* directory : kDirectories) {
      (void)::mkdir(directory, 0700);
      const std::string file = std::string(directory) + "/f";
      UniqueFd(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    // fs.protected_symlinks looks at links here.
    require(::chmod("s", 01777) == 0, "a sticky directory");
    directory_ = UniqueFd(::open("d", O_PATH | O_DIRECTORY | O_CLOEXEC));
    file_ = UniqueFd(::open("f", O_RDONLY | O_CLOEXEC));
    std::array<int, 2> ends{};
    require(::pipe2(ends.data(), O_CLOEXEC) == 0, "a pipe");
    pipe_ = UniqueFd(ends[0]);
    ::close(ends[1]);
  }
  ~Tree() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void set_link(std::size_t slot, const std::string& text) {
    if (texts_[slot] == text) return;
    const std::string directory = kDirectories[slot / std::size(kLinks)];
    const std::string name = directory + "/" + kLinks[slot % std::size(kLinks)];
    (void)::unlink(name.c_str());
    require(::symlink(text.c_str(), name.c_str()) == 0, "a link");
    // Somebody else's, where that can be had.
    if (directory == "s" && slot % 2 == 1) (void)::lchown(name.c_str(), 65534, 65534);
    texts_[slot] = text;
  }

  const std::string& path() const { return path_; }
  int directory() const { return directory_.get(); }
  int file() const { return file_.get(); }
  int pipe() const { return pipe_.get(); }

 private:
  std::string path_;
  UniqueFd directory_, file_, pipe_;
  std::array<std::string, kSlots> texts_;
};

struct World {
  sys::Procfs proc = *sys::Procfs::open();
  sys::PathResolver resolver{proc};
  Tree tree;
};
World& world() {
  static World made;
  return made;
}

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_.front();
    rest_ = rest_.subspan(1);
    return value;
  }
  bool empty() const { return rest_.empty(); }
  bool went_through_proc() const { return proc_; }

  // A byte a component.
  std::string path(std::size_t components) {
    const Tree& tree = world().tree;
    std::string text;
    bool slash = false;
    for (; components > 0 && !empty(); --components) {
      const std::uint8_t code = byte();
      if (slash) text += '/';
      slash = true;
      switch (code & 0x0f) {
        case 0:
        case 1:
          text += 'd';
          break;
        case 2:
        case 3:
          text += 'l';
          break;
        case 4:
          text += 'm';
          break;
        case 5:
          text += 's';
          break;
        case 6:
          text += 'f';
          break;
        case 7:
          text += "no";
          break;
        case 8:
          text += '.';
          break;
        case 9:
        case 10:
          text += "..";
          break;
        case 11:
          text += '/';
          break;
        case 12:
          text = tree.path();
          break;
        case 13:
          text += std::string(256, 'n');
          break;
        case 14:
          text = in_proc(code >> 4);
          break;
        case 15:
          slash = false;
          text += "/";
          break;
      }
    }
    return text;
  }

 private:
  std::string in_proc(int which) {
    proc_ = true;
    const Tree& tree = world().tree;
    const std::string self = (which & 8) != 0 ? "/proc/self/" : "/proc/thread-self/";
    switch (which & 7) {
      case 0:
        return self + "cwd";
      case 1:
        return self + "root" + tree.path();
      case 2:
        return self + "fd/" + std::to_string(tree.directory());
      case 3:
        return self + "fd/" + std::to_string(tree.file());
      case 4:
        return self + "fd/" + std::to_string(tree.pipe());
      case 5:
        return self + "exe";
      case 6:
        return self + "status";
      default:
        return "/proc/self";
    }
  }

  std::span<const std::uint8_t> rest_;
  bool proc_ = false;
};

// ---- what the kernel finds ----

struct Found {
  UniqueFd fd;
  int error = 0;
  std::string name;
  struct stat st{};
};

std::string name_of(int fd) {
  std::array<char, 8192> text;
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t got = ::readlink(link.c_str(), text.data(), text.size());
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

Found find(int dirfd, const std::string& path, std::uint64_t flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = (flags & O_CREAT) != 0 ? 0600 : 0;
  how.resolve = resolve;
  Found found;
  const long fd = ::syscall(SYS_openat2, dirfd, path.c_str(), &how, sizeof how);
  if (fd < 0) {
    found.error = errno;
    return found;
  }
  found.fd = UniqueFd(static_cast<int>(fd));
  require(::fstat(found.fd.get(), &found.st) == 0, "a status");
  found.name = name_of(found.fd.get());
  return found;
}

// ---- properties ----

// Component by component, and nothing shared with append_folded().
std::string folded(const std::string& base, const std::string& path) {
  std::vector<std::string> names;
  const std::string all = path.starts_with('/') ? path : base + "/" + path;
  std::string name;
  for (const char c : all + "/") {
    if (c != '/') {
      name += c;
      continue;
    }
    if (name == ".." && !names.empty()) names.pop_back();
    if (!name.empty() && name != "." && name != "..") names.push_back(name);
    name.clear();
  }
  std::string text;
  for (const std::string& part : names) text += "/" + part;
  return text.empty() ? "/" : text;
}

bool lies_in(const std::string& path, const std::string& tree) {
  return tree == "/" || path == tree || path.starts_with(tree + "/");
}

// A name that is still to be made is where the kernel would make it.
void check_absent(const sys::PathQuery& query, const std::string& path, const sys::PinnedPath& pinned) {
  require(pinned.parent.valid() && !pinned.leaf.empty() && pinned.leaf != "." && pinned.leaf != "..",
          "a name in a pinned directory");
  // Nothing is made outside of the tree.
  if (query.resolve != 0 || !lies_in(pinned.resolved, world().tree.path()) || path.ends_with('/') ||
      pinned.trailing_slash)
    return;
  const std::uint64_t how =
      query.last == sys::LastLink::Follow ? O_CREAT | O_RDONLY : O_CREAT | O_EXCL | O_RDONLY;
  const Found made = find(query.dirfd, path, how, 0);
  require(made.fd.valid(), "the kernel makes it there too");
  require(made.name == pinned.resolved, "where it is made is what is judged");
  require(::unlinkat(pinned.parent.get(), pinned.leaf.c_str(), 0) == 0, "by the pinned parent it is found");
}

void check(const sys::PathQuery& query, const std::string& path, bool through_proc) {
  const World& all = world();
  sys::PinnedPath pinned;
  const int error = all.resolver.resolve(query, pinned);

  constexpr std::uint64_t kLimits = RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_XDEV;
  std::string looked_up = path;
  if (query.last == sys::LastLink::Entry) {
    while (looked_up.size() > 1 && looked_up.ends_with('/')) looked_up.pop_back();
  }
  const std::uint64_t flags = O_PATH | (query.last == sys::LastLink::Follow ? 0 : O_NOFOLLOW);
  const Found native = find(query.dirfd, looked_up, flags, query.resolve);

  if (error != 0) {
    // /proc is not reached by a look-up with limits: our own refusal.
    if (error == EACCES && (query.resolve & kLimits) != 0 && through_proc) return;
    require(!pinned.exists() || native.error != 0, "no object beside an error");
    require(native.error == error, "the kernel's own errno");
    return;
  }
  require(pinned.resolved.starts_with('/') || through_proc, "an absolute name");
  if (!pinned.exists()) {
    require(native.error == ENOENT, "where nothing is there the kernel finds nothing");
    check_absent(query, path, pinned);
  } else {
    require(native.fd.valid(), "what is pinned the kernel finds");
    require(native.st.st_dev == pinned.st.st_dev && native.st.st_ino == pinned.st.st_ino, "the same object");
    require(native.name == pinned.resolved, "by the kernel's own name");
    struct stat st{};
    require(::fstat(pinned.object.get(), &st) == 0 && st.st_ino == pinned.st.st_ino, "st is of the object");
    if (pinned.parent.valid() && !pinned.leaf.empty()) {
      require(::fstatat(pinned.parent.get(), pinned.leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                  st.st_ino == pinned.st.st_ino,
              "it is the leaf of its parent");
    }
  }

  const std::string base = query.dirfd == AT_FDCWD ? all.tree.path() : name_of(query.dirfd);
  if ((query.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0)
    require(lies_in(pinned.resolved, base), "never outside of where it began");
  std::string spelled = path;
  if ((query.resolve & RESOLVE_IN_ROOT) != 0)
    spelled.erase(0, std::min(spelled.find_first_not_of('/'), spelled.size()));
  require(pinned.as_written == folded(base, spelled), "as written is the text, folded");
  std::string twice = "/";
  sys::append_folded(twice, pinned.as_written);
  require(twice == pinned.as_written, "folded once is folded");
}

void look_up(Input& input) {
  const std::uint8_t how = input.byte();
  const std::uint8_t limits = input.byte();
  std::string path = input.path(input.byte() % 64);
  const auto last = static_cast<sys::LastLink>((how >> 3) % 3);
  const std::uint64_t resolve =
      kResolve[limits & 7] | ((limits & 0x88) == 0x88 ? std::uint64_t{RESOLVE_NO_XDEV} : 0);
  // openat2 alone has limits, and takes the slashes off itself before it asks for an entry.
  if (resolve != 0 && last == sys::LastLink::Entry) path.resize(path.find_last_not_of('/') + 1);
  if (path.empty() || path.size() >= PATH_MAX) return;

  const Tree& tree = world().tree;
  const int bases[] = {AT_FDCWD,         AT_FDCWD,    AT_FDCWD,    tree.directory(),
                       tree.directory(), tree.file(), tree.pipe(), 9999};
  const sys::PathQuery query{.tid = ThreadId{::gettid()},
                             .dirfd = bases[how & 7],
                             .path = path,
                             .last = last,
                             .allow_empty = false,
                             .resolve = resolve};
  check(query, path, input.went_through_proc());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input({data, size});
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    std::string text = input.path(input.byte() % 8);
    if (text.empty()) text = "d";
    world().tree.set_link(slot, text.substr(0, PATH_MAX - 1));
  }
  for (int paths = 0; paths < 8 && !input.empty(); ++paths) look_up(input);
  return 0;
}
