#include "supervisor/session/stderr_stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace secbox::session {

StderrStream::StderrStream(const sys::Procfs& proc) : proc_(proc) {
  struct stat st{};
  if (::fstat(STDERR_FILENO, &st) != 0) return;
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
  return fd < 0 ? UniqueFd() : UniqueFd(fd);
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
  (void)!::write(end.get(), text.data(), text.size());
}

}  // namespace secbox::session
