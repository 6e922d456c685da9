#include "supervisor/sys/target.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>

// Linux 6.9, include/uapi/linux/pidfd.h; missing from the 6.1 headers of Debian 12.
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace secbox::sys {

namespace {

using ProcName = std::array<char, 64>;
ProcName proc_name(pid_t pid, const char* name) {
  ProcName out;
  std::snprintf(out.data(), out.size(), "%d/%s", pid, name);
  return out;
}

// What a link in /proc says. Read onto the stack: a buffer of this size from the heap costs more than the
// call.
int link_text(int dir, const char* name, std::string& out) {
  char text[4096];
  const ssize_t got = ::readlinkat(dir, name, text, sizeof text);
  if (got < 0) {
    const int error = errno;
    out.clear();
    return error;
  }
  out.assign(text, static_cast<std::size_t>(got));
  return 0;
}

int read_all(int fd, std::string& out, std::size_t limit) {
  out.resize(std::min<std::size_t>(limit, 4096));
  std::size_t have = 0;
  while (true) {
    const ssize_t got = ::read(fd, out.data() + have, out.size() - have);
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    have += static_cast<std::size_t>(got);
    if (got == 0 || have == limit) break;
    if (have == out.size()) out.resize(std::min(limit, out.size() * 2));
  }
  out.resize(have);
  return 0;
}

// The number after "Key:" in a status file; the file's own layout is stable ABI (proc_pid_status(5)).
std::string_view field(std::string_view text, std::string_view key) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    const std::string_view line = text.substr(at, end == std::string_view::npos ? end : end - at);
    if (line.starts_with(key)) {
      std::string_view value = line.substr(key.size());
      while (!value.empty() && (value.front() == '\t' || value.front() == ' ')) value.remove_prefix(1);
      return value;
    }
    if (end == std::string_view::npos) break;
    at = end + 1;
  }
  return {};
}

template <typename T>
T number(std::string_view text, int base = 10) {
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

// The nth (from 0) white-space separated word.
std::string_view word(std::string_view text, int index) {
  while (true) {
    while (!text.empty() && (text.front() == '\t' || text.front() == ' ')) text.remove_prefix(1);
    const std::size_t end = text.find_first_of("\t ");
    const std::string_view current = text.substr(0, end);
    if (index-- == 0 || end == std::string_view::npos) return index < 0 ? current : std::string_view{};
    text.remove_prefix(end);
  }
}

// Version 3 has two words a set; pid 0 = the calling thread.
__user_cap_header_struct kCapHeader{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
// What decides about files, ports and signals; all lie in the first word.
constexpr __u32 kFileCaps = (1U << CAP_CHOWN) | (1U << CAP_DAC_OVERRIDE) | (1U << CAP_DAC_READ_SEARCH) |
                            (1U << CAP_FOWNER) | (1U << CAP_FSETID) | (1U << CAP_KILL) |
                            (1U << CAP_NET_BIND_SERVICE) | (1U << CAP_LINUX_IMMUTABLE) |
                            (1U << CAP_SYS_ADMIN);

Result<UniqueFd> open_at(int dir, const char* name, int flags, const char* what) {
  const int fd = ::openat(dir, name, flags | O_CLOEXEC);
  if (fd < 0) return errno_failure(what);
  return UniqueFd(fd);
}

// The kernel's own name of something has no links in it: where one stands now, it is another's name.
int open_without_links(int dir, const char* name) {
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  return static_cast<int>(::syscall(SYS_openat2, dir, name, &how, sizeof how));
}

// Where the caller's paths begin: what it stands in, what it holds. Looked at with this process's own right
// to, also while the caller's identity is taken; the act itself must not have that right, or a plugin that
// left root would see through /proc what only root may.
Result<UniqueFd> open_of_caller(int dir, const char* name, int flags, const char* what) {
  auto opened = open_at(dir, name, flags, what);
  if (opened || opened.error().code != EACCES) return opened;
  std::array<__user_cap_data_struct, 2> own{};
  if (::syscall(SYS_capget, &kCapHeader, own.data()) != 0) return opened;
  auto raised = own;
  raised[0].effective |= raised[0].permitted & (1U << CAP_SYS_PTRACE);
  if (raised[0].effective == own[0].effective) return opened;
  if (::syscall(SYS_capset, &kCapHeader, raised.data()) != 0) return opened;
  opened = open_at(dir, name, flags, what);
  if (::syscall(SYS_capset, &kCapHeader, own.data()) != 0) ::_exit(125);
  return opened;
}

}  // namespace

Result<Procfs> Procfs::open() {
  Procfs proc;
  auto root = open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, "open /proc");
  if (!root) return std::unexpected(root.error());
  proc.root_ = std::move(*root);
  auto own = open_at(proc.root_.get(), "self/fd", O_PATH | O_DIRECTORY, "open /proc/self/fd");
  if (!own) return std::unexpected(own.error());
  proc.own_fds_ = std::move(*own);
  struct stat st{};
  if (::fstat(proc.root_.get(), &st) != 0) return errno_failure("stat /proc");
  proc.device_ = st.st_dev;
  auto mounts = open_at(proc.root_.get(), "self/mounts", O_RDONLY, "open /proc/self/mounts");
  std::string text;
  if (!mounts || read_all(mounts->get(), text, 4U << 20) != 0)
    return failure("cannot read /proc/self/mounts");
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size() - 1);
    const std::string_view line = rest.substr(0, end);
    if (word(line, 2) == "proc") proc.mounts_.emplace_back(word(line, 1));
    rest.remove_prefix(end + 1);
  }
  return proc;
}

bool Procfs::covers(std::string_view path) const {
  return std::any_of(mounts_.begin(), mounts_.end(), [&](const std::string& mount) {
    return path.starts_with(mount) && (path.size() == mount.size() || path[mount.size()] == '/');
  });
}

Directory Procfs::open_directory(const std::string& name) const {
  UniqueFd fd(::openat(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Directory dir(fd.valid() ? ::fdopendir(fd.get()) : nullptr);
  if (dir) (void)fd.release();
  return dir;
}

int Procfs::read_file(pid_t pid, const char* name, std::string& out, std::size_t limit) const {
  const UniqueFd fd(::openat(root_.get(), proc_name(pid, name).data(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno;
  return read_all(fd.get(), out, limit);
}

int Procfs::read_file(pid_t pid, const char* name, char* out, std::size_t& size) const {
  const UniqueFd fd(::openat(root_.get(), proc_name(pid, name).data(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno;
  const ssize_t got = ::read(fd.get(), out, size);
  if (got < 0) return errno;
  size = static_cast<std::size_t>(got);
  return 0;
}

Result<UniqueFd> Procfs::open_file(pid_t pid, const char* name) const {
  return open_at(root_.get(), proc_name(pid, name).data(), O_RDONLY, name);
}

int Procfs::read_link(pid_t pid, const char* name, std::string& out) const {
  return link_text(root_.get(), proc_name(pid, name).data(), out);
}

int Procfs::read_facts(ThreadId tid, ThreadFacts& out) const {
  std::string text;
  if (const int error = read_file(tid.value, "status", text); error != 0) return error;
  out.comm = std::string(field(text, "Name:"));
  out.tgid = number<pid_t>(field(text, "Tgid:"));
  out.ppid = number<pid_t>(field(text, "PPid:"));
  if (out.tgid == 0) return ESRCH;
  out.umask = static_cast<mode_t>(number<unsigned>(field(text, "Umask:"), 8));
  out.threads = number<int>(field(text, "Threads:"));
  out.filters = number<int>(field(text, "Seccomp_filters:"));
  const std::string_view uids = field(text, "Uid:");
  const std::string_view gids = field(text, "Gid:");
  out.uid = number<uid_t>(word(uids, 0));
  out.gid = number<gid_t>(word(gids, 0));
  out.euid = number<uid_t>(word(uids, 1));
  out.fsuid = number<uid_t>(word(uids, 3));
  out.egid = number<gid_t>(word(gids, 1));
  out.fsgid = number<gid_t>(word(gids, 3));
  out.groups.clear();
  const std::string_view groups = field(text, "Groups:");
  for (int i = 0;; ++i) {
    const std::string_view group = word(groups, i);
    if (group.empty()) break;
    out.groups.push_back(number<gid_t>(group));
  }
  out.pending =
      number<std::uint64_t>(field(text, "SigPnd:"), 16) | number<std::uint64_t>(field(text, "ShdPnd:"), 16);
  out.blocked = number<std::uint64_t>(field(text, "SigBlk:"), 16);
  out.ignored = number<std::uint64_t>(field(text, "SigIgn:"), 16);
  out.caught = number<std::uint64_t>(field(text, "SigCgt:"), 16);
  out.effective_caps = number<std::uint64_t>(field(text, "CapEff:"), 16);
  return 0;
}

std::uint64_t Procfs::start_time(pid_t pid) const {
  std::array<char, 1024> buffer;
  std::size_t size = buffer.size();
  if (read_file(pid, "stat", buffer.data(), size) != 0) return 0;
  std::string_view text(buffer.data(), size);
  // The name, which is the process's own choice, ends at the last parenthesis; field 3 follows.
  text.remove_prefix(std::min(text.rfind(')') + 1, text.size()));
  return number<std::uint64_t>(word(text, 22 - 3));
}

bool Procfs::shares_view(ThreadId tid) const {
  for (const char* name : {"ns/mnt", "root"}) {
    struct stat theirs{};
    struct stat ours{};
    if (::fstatat(root_.get(), proc_name(tid.value, name).data(), &theirs, 0) != 0 ||
        ::fstatat(root_.get(), (std::string("self/") + name).c_str(), &ours, 0) != 0 ||
        theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino)
      return false;
  }
  return true;
}

Result<UniqueFd> Procfs::open_cwd(ThreadId tid) const {
  return open_of_caller(root_.get(), proc_name(tid.value, "cwd").data(), O_PATH | O_DIRECTORY,
                        "open the plugin's cwd");
}

Result<UniqueFd> Procfs::open_exe(ProcessId pid) const {
  return open_at(root_.get(), proc_name(pid.value, "exe").data(), O_PATH, "open the plugin's exe");
}

Result<UniqueFd> Procfs::open_descriptor_path(ThreadId tid, TargetFd fd) const {
  std::array<char, 64> name;
  std::snprintf(name.data(), name.size(), "%d/fd/%d", tid.value, fd.value);
  return open_of_caller(root_.get(), name.data(), O_PATH, "open the plugin's descriptor");
}

int Procfs::path_of(int fd, std::string& out) const {
  std::array<char, 16> name;
  std::snprintf(name.data(), name.size(), "%d", fd);
  if (const int error = link_text(own_fds_.get(), name.data(), out); error != 0) return error;
  constexpr std::string_view kUnlinked = " (deleted)";
  if (!out.ends_with(kUnlinked)) return 0;
  // A file may really be called so: then it is there.
  struct stat object{};
  struct stat named{};
  if (::fstat(fd, &object) != 0) return errno;
  const UniqueFd there(open_without_links(root_.get(), out.c_str()));
  if (!there.valid() || ::fstat(there.get(), &named) != 0 || named.st_dev != object.st_dev ||
      named.st_ino != object.st_ino)
    out.resize(out.size() - kUnlinked.size());
  return 0;
}

int Procfs::reopen(int fd, int flags) const {
  std::array<char, 16> name;
  std::snprintf(name.data(), name.size(), "%d", fd);
  const int opened = ::openat(own_fds_.get(), name.data(), flags | O_CLOEXEC);
  return opened < 0 ? -errno : opened;
}

Result<UniqueFd> open_process(ProcessId pid) {
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid.value, 0));
  if (fd < 0) return errno_failure("pidfd_open");
  return UniqueFd(fd);
}

int signal_process(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 ? 0 : errno;
}

Result<UniqueFd> duplicate_descriptor(const Procfs& proc, ThreadId tid, TargetFd fd) {
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, tid.value, PIDFD_THREAD)));
  if (!process.valid()) {
    if (errno != EINVAL) return errno_failure("pidfd_open");
    // Before Linux 6.9: only the leader can be named. Its table serves where the thread shares it.
    ThreadFacts facts;
    if (const int error = proc.read_facts(tid, facts); error != 0)
      return failure("read the thread's status", error);
    if (facts.tgid != tid.value && ::syscall(SYS_kcmp, tid.value, facts.tgid, KCMP_FILES, 0, 0) != 0) {
      return failure("the thread has a descriptor table of its own", EPERM);
    }
    auto leader = open_process(ProcessId{facts.tgid});
    if (!leader) return leader;
    process = std::move(*leader);
  }
  const auto copy = static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd.value, 0));
  if (copy < 0) return errno_failure("pidfd_getfd");
  return UniqueFd(copy);
}

Result<AssumedIdentity> AssumedIdentity::assume(const ThreadFacts& facts) {
  AssumedIdentity identity;
  identity.uid_ = ::getuid();
  identity.euid_ = ::geteuid();
  identity.gid_ = ::getgid();
  identity.egid_ = ::getegid();
  std::vector<gid_t> own(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
  if (!own.empty() && ::getgroups(static_cast<int>(own.size()), own.data()) < 0)
    return errno_failure("getgroups");
  if (::syscall(SYS_capget, &kCapHeader, identity.caps_.data()) != 0) return errno_failure("capget");
  // A root plugin that gave up capabilities must not get them back through us.
  auto wanted = identity.caps_;
  wanted[0].effective &= static_cast<__u32>(facts.effective_caps) | ~kFileCaps;
  const bool fewer_caps = wanted[0].effective != identity.caps_[0].effective;
  if (facts.uid == identity.uid_ && facts.fsuid == identity.euid_ && facts.gid == identity.gid_ &&
      facts.fsgid == identity.egid_ && facts.groups == own && !fewer_caps) {
    return identity;
  }
  identity.groups_ = std::move(own);
  identity.active_ = true;  // from here on the destructor restores
  if (::syscall(SYS_setgroups, facts.groups.size(), facts.groups.data()) != 0 ||
      ::syscall(SYS_setresgid, facts.gid, facts.fsgid, -1) != 0 ||
      ::syscall(SYS_setresuid, facts.uid, facts.fsuid, -1) != 0) {
    return errno_failure("take the plugin's user and groups");
  }
  if (facts.fsuid == 0 && fewer_caps && ::syscall(SYS_capset, &kCapHeader, wanted.data()) != 0) {
    return errno_failure("give up capabilities");
  }
  return identity;
}

AssumedIdentity::AssumedIdentity(AssumedIdentity&& other) noexcept
    : active_(std::exchange(other.active_, false)),
      uid_(other.uid_),
      euid_(other.euid_),
      gid_(other.gid_),
      egid_(other.egid_),
      caps_(other.caps_),
      groups_(std::move(other.groups_)) {}

AssumedIdentity::~AssumedIdentity() {
  if (!active_) return;
  // A thread that cannot get its own identity back must not serve another call as somebody else.
  if (::syscall(SYS_setresuid, uid_, euid_, -1) != 0 || ::syscall(SYS_setresgid, gid_, egid_, -1) != 0 ||
      ::syscall(SYS_setgroups, groups_.size(), groups_.data()) != 0 ||
      ::syscall(SYS_capset, &kCapHeader, caps_.data()) != 0) {
    ::_exit(125);
  }
}

Result<SessionMark> SessionMark::make(bool other_users) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MSGQUEUE, &limit) != 0) return errno_failure("getrlimit(RLIMIT_MSGQUEUE)");
  const std::uint64_t ceiling = std::min<std::uint64_t>(limit.rlim_max, std::uint64_t{1} << 40);
  if (ceiling < 4096) return failure("RLIMIT_MSGQUEUE is too low to mark the session's processes");
  std::array<std::uint64_t, 2> random{};
  if (::getrandom(random.data(), sizeof random, 0) != sizeof random) return errno_failure("getrandom");
  SessionMark mark;
  mark.other_users = other_users;
  mark.hard = ceiling / 2 + random[0] % (ceiling / 2);
  mark.soft = 1 + random[1] % mark.hard;
  return mark;
}

int SessionMark::apply_to_self() const {
  const rlimit limit{.rlim_cur = soft, .rlim_max = hard};
  return ::setrlimit(RLIMIT_MSGQUEUE, &limit) == 0 ? 0 : errno;
}

bool SessionMark::on(const Procfs& proc, pid_t pid) const {
  if (pid <= 0) return false;
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_MSGQUEUE, nullptr, &limit) == 0)
    return limit.rlim_cur == soft && limit.rlim_max == hard;
  if (errno != EPERM || !other_users) return false;
  // A process of another user (the plugin was started as root and left it): world-readable all the same.
  char text[4096];
  std::size_t size = sizeof text;
  if (proc.read_file(pid, "limits", text, size) != 0) return false;
  const std::string_view line = field({text, size}, "Max msgqueue size");
  return number<std::uint64_t>(word(line, 0)) == soft && number<std::uint64_t>(word(line, 1)) == hard;
}

}  // namespace secbox::sys
