#include "supervisor/sys/probe.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "supervisor/base/unique_fd.h"
#include "supervisor/sys/landlock.h"

// Linux 6.9, include/uapi/linux/pidfd.h.
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
// Linux 6.6, include/uapi/linux/seccomp.h.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace secbox::sys {

namespace {

constexpr int kPatienceMs = 2000;
// What the listener's child asks for: any call that takes a path and that nothing else in it makes.
constexpr int kHeldCall = SYS_faccessat;
constexpr char kToken[] = "secbox probe";

Probe works_if(bool condition) {
  return condition ? Probe{Probe::State::Works, 0} : Probe{Probe::State::Fails, errno};
}
Probe from_errno(int error) { return {error == 0 ? Probe::State::Works : Probe::State::Fails, error}; }

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
  template <typename T>
  bool put(const T& value) const {
    return ::write(write_end.get(), &value, sizeof value) == static_cast<ssize_t>(sizeof value);
  }
  // False at the end of the pipe, and when nothing comes in time.
  template <typename T>
  bool get(T& value) const {
    pollfd ready{.fd = read_end.get(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, kPatienceMs) > 0 &&
           ::read(read_end.get(), &value, sizeof value) == static_cast<ssize_t>(sizeof value);
  }
};

// A child of ours, killed and reaped at the end of its scope.
class Child {
 public:
  template <typename F>
  explicit Child(F&& body) : pid_(::fork()) {
    if (pid_ != 0) return;
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    body();
    ::_exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    (void)::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
    }
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

[[noreturn]] void sleep_for_ever() {
  while (true) (void)::pause();
}

int copy_descriptor(pid_t pid, int fd, UniqueFd& out) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return errno;
  out.reset(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  return out.valid() ? 0 : errno;
}

// Reads the token where this program has it: after fork(2) the other process has it at the same address.
int read_token(pid_t pid) {
  char buffer[sizeof kToken] = {};
  iovec local{.iov_base = buffer, .iov_len = sizeof buffer};
  iovec remote{.iov_base = const_cast<char*>(kToken), .iov_len = sizeof kToken};
  if (::process_vm_readv(pid, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(sizeof buffer)) return errno;
  return std::memcmp(buffer, kToken, sizeof kToken) == 0 ? 0 : EIO;
}

// Leaves `pid` traced: for a process that is about to be killed.
int seize(pid_t pid) { return ::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0 ? 0 : errno; }

// ---- the listener ----

struct Installed {
  int listener = -1;
  int error = 0;
  int wait_killable_error = 0;
};

struct HeldResults {
  bool added = false;
  bool sent = false;
};

Installed install_listener() {
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kHeldCall, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{.len = std::size(steps), .filter = steps};
  Installed installed;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    installed.error = errno;
    return installed;
  }
  const auto install = [&](unsigned long flags) {
    return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
  };
  installed.listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  if (installed.listener >= 0) return installed;
  installed.wait_killable_error = errno;
  installed.listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER);
  if (installed.listener < 0) installed.error = errno;
  return installed;
}

// A path of our own, so that the supervisor's side can read it from here.
bool ask_for_descriptor() {
  const long result = ::syscall(kHeldCall, AT_FDCWD, kToken, 0);
  return result > 2 && ::fcntl(static_cast<int>(result), F_GETFD) >= 0;
}

bool receive(int listener, seccomp_notif& out) {
  pollfd ready{.fd = listener, .events = POLLIN, .revents = 0};
  if (::poll(&ready, 1, kPatienceMs) <= 0) return false;
  out = {};
  return ::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &out) == 0;
}

void probe_listener(HostFeatures& host) {
  const Pipe to_child;
  const Pipe to_parent;
  const Child child([&] {
    const Installed installed = install_listener();
    char go = 0;
    if (!to_parent.put(installed) || installed.listener < 0 || !to_child.get(go)) return;
    HeldResults results;
    results.added = ask_for_descriptor();
    results.sent = ask_for_descriptor();
    (void)to_parent.put(results);
  });
  Installed installed;
  if (child.pid() < 0 || !to_parent.get(installed)) return;
  host.listener = from_errno(installed.error);
  if (!host.listener.works()) return;
  host.wait_killable = from_errno(installed.wait_killable_error);

  UniqueFd listener;
  host.child_descriptors = from_errno(copy_descriptor(child.pid(), installed.listener, listener));
  if (!listener.valid()) return;
  host.sync_wake_up = works_if(
      ::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) == 0);
  const UniqueFd gift(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!to_child.put('g')) return;

  seccomp_notif held;
  if (!receive(listener.get(), held)) return;
  host.child_memory = from_errno(read_token(static_cast<pid_t>(held.pid)));
  seccomp_notif_addfd add{};
  add.id = held.id;
  add.srcfd = static_cast<std::uint32_t>(gift.get());
  add.newfd_flags = O_CLOEXEC;
  const int number = ::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add);
  host.add_fd = works_if(number >= 0);
  seccomp_notif_resp response{};
  response.id = held.id;
  response.val = number;
  if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) != 0) {
    host.listener = works_if(false);
    return;
  }

  if (!receive(listener.get(), held)) return;
  add.id = held.id;
  add.flags = SECCOMP_ADDFD_FLAG_SEND;
  host.add_fd_send = works_if(::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0);
  if (!host.add_fd_send.works()) return;
  HeldResults results;
  if (!to_parent.get(results)) results = {};
  if (!results.added) host.add_fd = from_errno(EIO);
  if (!results.sent) host.add_fd_send = from_errno(EIO);
}

// ---- looking into other processes ----

struct Reach {
  int memory = ESRCH;
  int descriptors = ESRCH;
  int trace = ESRCH;
  int procfs = ESRCH;
};

Reach reach(pid_t pid, int descriptor) {
  Reach result;
  const std::string status = "/proc/" + std::to_string(pid) + "/status";
  const UniqueFd file(::open(status.c_str(), O_RDONLY | O_CLOEXEC));
  result.procfs = file.valid() ? 0 : errno;
  result.memory = read_token(pid);
  UniqueFd copy;
  result.descriptors = copy_descriptor(pid, descriptor, copy);
  result.trace = seize(pid);
  return result;
}

void probe_processes(HostFeatures& host) {
  const Pipe pipe;
  const int descriptor = pipe.read_end.get();
  {
    const Child target([] { sleep_for_ever(); });
    const Reach child = reach(target.pid(), descriptor);
    host.procfs = from_errno(child.procfs);
    host.child_trace = from_errno(child.trace);
    // The listener's child may have been asked already; this one has no filter and answers for itself.
    if (host.child_memory.state == Probe::State::Untested) host.child_memory = from_errno(child.memory);
    if (host.child_descriptors.state == Probe::State::Untested)
      host.child_descriptors = from_errno(child.descriptors);
  }
  const Child target([] { sleep_for_ever(); });
  const Child sibling([&] { (void)pipe.put(reach(target.pid(), descriptor)); });
  Reach beside;
  (void)pipe.get(beside);
  host.beside_memory = from_errno(beside.memory);
  host.beside_descriptors = from_errno(beside.descriptors);
  host.beside_trace = from_errno(beside.trace);

  std::ifstream yama("/proc/sys/kernel/yama/ptrace_scope");
  if (!(yama >> host.yama_scope)) host.yama_scope = -1;
}

// ---- control groups ----

struct CgroupMount {
  bool v2 = false;
  std::string root;  // the part of the hierarchy that is mounted
  std::string directory;
  std::string options;  // v1: the controllers, among others
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::string& list, const std::string& word) {
  for (const std::string& part : split(list, ',')) {
    if (part == word) return true;
  }
  return false;
}

// proc_pid_mountinfo(5): "36 35 98:0 /root /mount/point rw,... [tags...] - type source options".
std::vector<CgroupMount> cgroup_mounts() {
  std::vector<CgroupMount> mounts;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> fields = split(line, ' ');
    std::size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 3 >= fields.size()) continue;
    const std::string& type = fields[dash + 1];
    if (type != "cgroup" && type != "cgroup2") continue;
    mounts.push_back({type == "cgroup2", fields[3], fields[4], fields[dash + 3]});
  }
  return mounts;
}

// cgroups(7): "4:memory:/path", "0::/path" for v2. The directory of this process below `mount`.
std::string directory_in(const CgroupMount& mount, const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (mount.v2 ? !controllers.empty() : !contains(controllers, controller)) continue;
    std::string path = line.substr(second + 1);
    // A container sees the part that is its own mounted at the top.
    if (mount.root != "/" && path.starts_with(mount.root)) path.erase(0, mount.root.size());
    return path == "/" ? mount.directory : mount.directory + path;
  }
  return mount.directory;
}

void probe_cgroups(HostFeatures& host) {
  const std::vector<CgroupMount> mounts = cgroup_mounts();
  const CgroupMount* v2 = nullptr;
  const CgroupMount* memory = nullptr;
  bool v1 = false;
  std::string v1_controllers;
  for (const CgroupMount& mount : mounts) {
    if (mount.v2) {
      v2 = &mount;
      continue;
    }
    for (const char* controller : {"cpu", "memory", "pids"}) {
      if (!contains(mount.options, controller)) continue;
      v1 = true;
      v1_controllers += (v1_controllers.empty() ? "" : " ") + std::string(controller);
      if (controller == std::string_view("memory")) memory = &mount;
    }
  }
  host.cgroup = v2 != nullptr && v1 ? CgroupKind::Hybrid
                : v2 != nullptr     ? CgroupKind::V2
                : v1                ? CgroupKind::V1
                                    : CgroupKind::None;
  if (v1) {
    // In a hybrid the controllers are those of v1.
    host.cgroup_controllers = v1_controllers;
    if (memory != nullptr) host.cgroup_directory = directory_in(*memory, "memory");
  } else if (v2 != nullptr) {
    host.cgroup_directory = directory_in(*v2, "");
    std::ifstream file(host.cgroup_directory + "/cgroup.controllers");
    std::getline(file, host.cgroup_controllers);
  }
  if (host.cgroup_directory.empty()) return;
  const std::string name = host.cgroup_directory + "/secbox-probe." + std::to_string(::getpid());
  host.cgroup_writable = works_if(::mkdir(name.c_str(), 0700) == 0);
  if (host.cgroup_writable.works()) (void)::rmdir(name.c_str());
}

// ---- the rest ----

Probe probe_openat2() {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how)));
  return works_if(fd.valid());
}

Probe probe_user_namespaces() {
  const Pipe pipe;
  const Child child([&] { (void)pipe.put(::unshare(CLONE_NEWUSER) == 0 ? 0 : errno); });
  int error = EIO;
  (void)pipe.get(error);
  return from_errno(error);
}

}  // namespace

bool HostFeatures::can_enforce() const {
  return procfs.works() && listener.works() && wait_killable.works() && add_fd.works() &&
         add_fd_send.works() && landlock_abi > 0 && openat2.works() &&
         (can_supervise_child() || can_supervise_beside());
}

HostFeatures probe_host() {
  HostFeatures host;
  utsname name{};
  if (::uname(&name) == 0) host.kernel = name.release;
  host.landlock_abi = landlock_abi();
  probe_listener(host);
  probe_processes(host);
  const UniqueFd thread(static_cast<int>(::syscall(SYS_pidfd_open, ::gettid(), PIDFD_THREAD)));
  host.pidfd_thread = works_if(thread.valid());
  host.openat2 = probe_openat2();
  host.user_namespaces = probe_user_namespaces();
  probe_cgroups(host);
  return host;
}

}  // namespace secbox::sys
