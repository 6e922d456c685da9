// The yardstick: the least that a supervisor can do which opens every file itself. It holds open and openat,
// reads the path, opens it and puts the descriptor into the caller; it decides and records nothing. Two
// receiver threads and SYNC_WAKE_UP, as secbox has them.
//
// null_supervisor COMMAND [ARGUMENT...]
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/limits.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

// Linux 6.6; missing from the 6.1 headers of Debian 12.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace {

constexpr std::size_t kPage = 4096;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(125);
}

int install_filter() {
  std::array<sock_filter, 5> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
#ifdef SYS_open
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_open, 1, 0),
#else
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
#endif
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  sock_fprog prog{.len = program.size(), .filter = program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("no_new_privs");
  const long fd = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                            SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &prog);
  if (fd < 0) fail("seccomp");
  return static_cast<int>(fd);
}

// Two pieces, split at the page's end: the next page may not be there.
bool read_path(pid_t tid, std::uint64_t address, std::array<char, PATH_MAX>& path) {
  const std::size_t first = kPage - address % kPage;
  const iovec local{.iov_base = path.data(), .iov_len = path.size()};
  const std::array<iovec, 2> remote{{
      {.iov_base = reinterpret_cast<void*>(address), .iov_len = first},
      {.iov_base = reinterpret_cast<void*>(address + first), .iov_len = path.size() - first},
  }};
  const ssize_t got = ::process_vm_readv(tid, &local, 1, remote.data(), remote.size(), 0);
  return got > 0 && std::memchr(path.data(), 0, static_cast<std::size_t>(got)) != nullptr;
}

void answer(int listener, std::uint64_t id, int error, std::uint32_t flags) {
  seccomp_notif_resp response{};
  response.id = id;
  response.error = error;
  response.flags = flags;
  (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void serve(int listener) {
  while (true) {
    seccomp_notif call{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
      const int error = errno;
      // ENOENT: the caller died meanwhile; or nobody is left to call.
      pollfd entry{.fd = listener, .events = 0, .revents = 0};
      const bool over = ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLHUP) != 0;
      if (over || (error != EINTR && error != ENOENT)) return;
      continue;
    }
    const std::size_t at = call.data.nr == SYS_openat ? 1 : 0;
    std::array<char, PATH_MAX> path;
    if (!read_path(static_cast<pid_t>(call.pid), call.data.args[at], path) || path[0] != '/') {
      answer(listener, call.id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
      continue;
    }
    const int flags = static_cast<int>(call.data.args[at + 1]);
    const int fd = ::open(path.data(), flags | O_CLOEXEC, static_cast<mode_t>(call.data.args[at + 2]));
    if (fd < 0) {
      answer(listener, call.id, -errno, 0);
      continue;
    }
    seccomp_notif_addfd add{};
    add.id = call.id;
    add.flags = SECCOMP_ADDFD_FLAG_SEND;
    add.srcfd = static_cast<__u32>(fd);
    add.newfd_flags = static_cast<__u32>(flags & O_CLOEXEC);
    (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    ::close(fd);
  }
}

void send_descriptor(int socket, int fd) {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(socket, &message, 0) != 1) fail("sendmsg");
}

int receive_descriptor(int socket) {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) fail("recvmsg");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: null_supervisor COMMAND [ARGUMENT...]\n", stderr);
    return 2;
  }
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) fail("socketpair");
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    const int listener = install_filter();
    send_descriptor(pair[1], listener);
    ::close(listener);
    ::execvp(argv[1], argv + 1);
    fail(argv[1]);
  }
  const int listener = receive_descriptor(pair[0]);
  (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  std::thread(serve, listener).detach();
  std::thread(serve, listener).detach();
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
