// What /proc and pidfds tell about a thread of the plugin. Everything here is asked of the *thread*: threads
// may have their own descriptor table, working directory, umask and credentials (unshare(CLONE_FILES |
// CLONE_FS), raw setuid).
#pragma once

#include <dirent.h>
#include <linux/capability.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/base/ids.h"
#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"

namespace secbox::sys {

struct ThreadFacts {
  pid_t tgid = 0;
  pid_t ppid = 0;
  uid_t uid = 0, euid = 0, fsuid = 0;
  gid_t gid = 0, egid = 0, fsgid = 0;
  std::vector<gid_t> groups;
  mode_t umask = 022;
  int threads = 1;
  int filters = 0;            // of seccomp(2)
  std::uint64_t pending = 0;  // signals queued for the thread or its group, bit n-1 for signal n
  std::uint64_t blocked = 0, ignored = 0, caught = 0;
  std::uint64_t effective_caps = 0;
  std::string comm;

  // True where a queued signal would end a blocking call: not blocked, not ignored.
  [[nodiscard]] bool signal_would_interrupt() const { return (pending & ~blocked & ~ignored) != 0; }
};

struct CloseDirectory {
  void operator()(DIR* dir) const { (void)::closedir(dir); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// The procfs of this host, pinned once; all look-ups below go through it.
class Procfs {
 public:
  [[nodiscard]] static Result<Procfs> open();

  // 0 or an errno (ENOENT or ESRCH: the thread is gone).
  [[nodiscard]] int read_facts(ThreadId tid, ThreadFacts& out) const;
  // When the process began, in ticks since the host did: with the number it names one process for good. 0:
  // it is gone.
  [[nodiscard]] std::uint64_t start_time(pid_t pid) const;
  // True where the thread sees the same mounts as this process, from the same root.
  [[nodiscard]] bool shares_view(ThreadId tid) const;
  // /proc/<pid>/<name>, at most `limit` bytes. 0 or an errno.
  [[nodiscard]] int read_file(pid_t pid, const char* name, std::string& out, std::size_t limit = 65536) const;
  // The same into a buffer of `size` bytes; then `size` is what was read. Allocates nothing.
  [[nodiscard]] int read_file(pid_t pid, const char* name, char* out, std::size_t& size) const;
  // /proc/<pid>/<name>, opened to be read; errno in .error().code.
  [[nodiscard]] Result<UniqueFd> open_file(pid_t pid, const char* name) const;
  // A directory of /proc, for readdir(3): ".", "<pid>/task". Null, and errno, where it cannot be opened.
  [[nodiscard]] Directory open_directory(const std::string& name) const;
  // The text of a link of /proc/<pid>, for example "exe" or "cwd". 0 or an errno.
  [[nodiscard]] int read_link(pid_t pid, const char* name, std::string& out) const;

  // O_PATH handles; -errno in .error() code.
  [[nodiscard]] Result<UniqueFd> open_cwd(ThreadId tid) const;
  [[nodiscard]] Result<UniqueFd> open_exe(ProcessId pid) const;
  [[nodiscard]] Result<UniqueFd> open_descriptor_path(ThreadId tid, TargetFd fd) const;

  // The canonical path of one of *our* descriptors, as the kernel names it. 0 or an errno. Where the name was
  // unlinked meanwhile it is the last one, without the kernel's " (deleted)": no rule speaks of that text,
  // and an object must not lose what a rule says of its name by losing the name.
  [[nodiscard]] int path_of(int fd, std::string& out) const;
  // Opens the object behind one of our O_PATH handles anew, with `flags`. An fd or -errno.
  [[nodiscard]] int reopen(int fd, int flags) const;
  // Directory of our own descriptors, for *at calls on "N".
  [[nodiscard]] int own_descriptors() const { return own_fds_.get(); }
  [[nodiscard]] int root() const { return root_.get(); }
  [[nodiscard]] dev_t device() const { return device_; }

  // Prefixes ("/proc") under which procfs is mounted.
  [[nodiscard]] const std::vector<std::string>& mount_points() const { return mounts_; }
  // True for an absolute path that lies in a procfs.
  [[nodiscard]] bool covers(std::string_view path) const;

 private:
  UniqueFd root_;
  UniqueFd own_fds_;
  dev_t device_ = 0;
  std::vector<std::string> mounts_;
};

// A duplicate of the plugin's descriptor, sharing its open file description. Fails closed where the thread's
// own table cannot be told from its leader's (before Linux 6.9, PIDFD_THREAD).
[[nodiscard]] Result<UniqueFd> duplicate_descriptor(const Procfs& proc, ThreadId tid, TargetFd fd);

[[nodiscard]] Result<UniqueFd> open_process(ProcessId pid);  // pidfd_open(2)
// Sends through a pidfd: never hits a process that took the number over. 0 or an errno.
[[nodiscard]] int signal_process(int pidfd, int signal);

// Acts as the thread's own user, until destroyed: for file access by the effective ids, for what a message or
// a signal tells of its sender (SCM_CREDENTIALS, prlimit, kill) by the real ones. The saved ids stay, which
// is the way back. Needs privilege only where the identity differs. Raw calls: they act on the calling thread
// alone, glibc's wrappers on all.
class AssumedIdentity {
 public:
  [[nodiscard]] static Result<AssumedIdentity> assume(const ThreadFacts& facts);
  AssumedIdentity(AssumedIdentity&& other) noexcept;
  AssumedIdentity& operator=(AssumedIdentity&&) = delete;
  ~AssumedIdentity();

 private:
  AssumedIdentity() = default;
  bool active_ = false;
  uid_t uid_ = 0, euid_ = 0;
  gid_t gid_ = 0, egid_ = 0;
  std::array<__user_cap_data_struct, 2> caps_{};
  std::vector<gid_t> groups_;
};

// The mark of a session: a pair of RLIMIT_MSGQUEUE values that every process of the plugin inherits through
// fork, exec and setsid and that the filter keeps it from changing. What tells its processes from all others
// without privilege.
struct SessionMark {
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  bool other_users = false;  // the plugin may leave the user that it was started as
  // Derives a mark that fits under this process's present hard limit.
  [[nodiscard]] static Result<SessionMark> make(bool other_users);
  [[nodiscard]] int apply_to_self() const;  // 0 or an errno; async-signal-safe
  [[nodiscard]] bool on(const Procfs& proc, pid_t pid) const;
};

}  // namespace secbox::sys
