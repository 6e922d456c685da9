#include "supervisor/broker/judged_binds.h"

namespace secbox::broker {

namespace {
// 0 where it is not to be had.
std::uint64_t cookie_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}
}  // namespace

JudgedBinds::Connecting::Connecting(JudgedBinds& binds, int fd) : binds_(binds), cookie_(cookie_of(fd)) {
  const std::lock_guard lock(binds_.mutex_);
  binds_.bound_.erase(cookie_);
  binds_.connecting_.insert(cookie_);
}

JudgedBinds::Connecting::~Connecting() {
  const std::lock_guard lock(binds_.mutex_);
  binds_.connecting_.erase(binds_.connecting_.find(cookie_));
}

int JudgedBinds::bind(int fd, const sockaddr* address, socklen_t size) {
  const std::uint64_t cookie = cookie_of(fd);
  const std::lock_guard lock(mutex_);
  const int result = ::bind(fd, address, size);
  if (result == 0 && cookie != 0 && !connecting_.contains(cookie)) {
    bound_.insert(cookie);
    if (bound_.size() > kMax) bound_.erase(bound_.begin());
  }
  return result;
}

std::optional<int> JudgedBinds::listen(int fd, int backlog) {
  const std::uint64_t cookie = cookie_of(fd);
  const std::lock_guard lock(mutex_);
  if (!bound_.contains(cookie)) return std::nullopt;
  return ::listen(fd, backlog);
}

}  // namespace secbox::broker
