#include "supervisor/session/stderr_stream.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace secbox::session {

namespace {

// What fits now, through a descriptor whose flags are shared with the plugin and so cannot be changed.
void write_at_once(int fd, std::string_view text) {
  while (!text.empty()) {
    // A pipe that is writable has room for PIPE_BUF bytes.
    const std::string_view piece = text.substr(0, PIPE_BUF);
    iovec data{.iov_base = const_cast<char*>(piece.data()), .iov_len = piece.size()};
    ssize_t put = ::pwritev2(fd, &data, 1, -1, RWF_NOWAIT);
    if (put < 0 && (errno == EOPNOTSUPP || errno == EINVAL)) {  // terminals; pipes before Linux 6.5
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      if (::poll(&ready, 1, 0) <= 0 || (ready.revents & POLLOUT) == 0) return;
      put = ::write(fd, piece.data(), piece.size());
    }
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

}  // namespace

StderrStream::StderrStream(const sys::Procfs& proc) : proc_(proc) {
  struct stat st{};
  if (::fstat(STDERR_FILENO, &st) != 0) return;
  device_ = st.st_dev;
  inode_ = st.st_ino;
  terminal_ = ::isatty(STDERR_FILENO) == 1;
  reopen_ = S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode);
  if (reopen_) {
    const int fd = proc.reopen(STDERR_FILENO, O_PATH);
    if (fd >= 0) handle_.reset(fd);
  } else {
    handle_.reset(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  }
}

UniqueFd StderrStream::open_end() const {
  if (!handle_.valid() || !reopen_) return UniqueFd();
  const int fd = proc_.reopen(handle_.get(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_APPEND);
  if (fd != -EACCES) return fd < 0 ? UniqueFd() : UniqueFd(fd);
  // Made by another user (su, a service manager): it may be written to, but not opened. This process or the
  // plugin has an end, unless it is closed or something else by now.
  const auto same = [&](const UniqueFd& end) {
    struct stat st{};
    return end.valid() && ::fstat(end.get(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_;
  };
  UniqueFd end(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  if (!same(end)) end.reset(static_cast<int>(::syscall(SYS_pidfd_getfd, plugin_pidfd_, STDERR_FILENO, 0)));
  if (!same(end)) end.reset();
  return end;
}

void StderrStream::print(std::string_view text, UniqueFd end) const {
  if (!handle_.valid() || text.empty()) return;
  if (!reopen_) {
    struct stat st{};
    if (::fstat(handle_.get(), &st) == 0 && S_ISSOCK(st.st_mode)) {
      (void)::send(handle_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
      (void)!::write(handle_.get(), text.data(), text.size());
    }
    return;
  }
  if (!end.valid()) end = open_end();
  if (!end.valid()) return;  // nobody reads any more
  write_at_once(end.get(), text);
}

}  // namespace secbox::session
