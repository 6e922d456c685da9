#include "supervisor/sys/notify_fd.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

// Linux 6.6, include/uapi/linux/seccomp.h; missing from the 6.1 headers of Debian 12.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace secbox::sys {

namespace {
constexpr std::size_t kReceiveBuffer = 256;  // the kernel's struct is 80 bytes; room for what it may grow by
}  // namespace

Result<LinuxNotifyChannel> LinuxNotifyChannel::make(UniqueFd listener) {
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
    return errno_failure("seccomp(GET_NOTIF_SIZES)");
  if (sizes.seccomp_notif > kReceiveBuffer || sizes.seccomp_notif_resp < sizeof(seccomp_notif_resp)) {
    return failure("this kernel's seccomp_notif has an unknown size");
  }
  LinuxNotifyChannel channel(std::move(listener), sizes.seccomp_notif);
  channel.sync_wake_up_ = ::ioctl(channel.listener_.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                                  SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) == 0;
  return channel;
}

ReceiveStatus LinuxNotifyChannel::receive(Notification& out) {
  alignas(seccomp_notif) unsigned char buffer[kReceiveBuffer];
  std::memset(buffer, 0, receive_size_);  // a buffer that is not zero is refused with EINVAL
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, buffer) != 0) {
    // ENOENT: the caller died between queueing and receiving. EINTR: a signal to this thread.
    if (errno == ENOENT || errno == EINTR) return hung_up() ? ReceiveStatus::Ended : ReceiveStatus::Retry;
    return ReceiveStatus::Ended;
  }
  seccomp_notif notif;
  std::memcpy(&notif, buffer, sizeof notif);
  out.id = notif.id;
  out.tid = ThreadId{static_cast<pid_t>(notif.pid)};
  out.number = notif.data.nr;
  std::copy(std::begin(notif.data.args), std::end(notif.data.args), out.args.begin());
  out.instruction_pointer = notif.data.instruction_pointer;
  return ReceiveStatus::Received;
}

ReplyStatus LinuxNotifyChannel::send(std::uint64_t id, std::int64_t value, int error, std::uint32_t flags) {
  seccomp_notif_resp response{};
  response.id = id;
  response.val = value;
  response.error = error;
  response.flags = flags;
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0) return ReplyStatus::Sent;
  return errno == ENOENT ? ReplyStatus::Gone : ReplyStatus::Failed;
}

ReplyStatus LinuxNotifyChannel::reply_errno(std::uint64_t id, int err) { return send(id, 0, -err, 0); }
ReplyStatus LinuxNotifyChannel::reply_value(std::uint64_t id, std::int64_t value) {
  return send(id, value, 0, 0);
}
ReplyStatus LinuxNotifyChannel::reply_continue(std::uint64_t id) {
  return send(id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

InstallResult LinuxNotifyChannel::install_fd(std::uint64_t id, int fd, bool close_on_exec) {
  return add(id, fd, close_on_exec, SECCOMP_ADDFD_FLAG_SEND);
}
InstallResult LinuxNotifyChannel::add_fd(std::uint64_t id, int fd, bool close_on_exec) {
  return add(id, fd, close_on_exec, 0);
}

InstallResult LinuxNotifyChannel::add(std::uint64_t id, int fd, bool close_on_exec, std::uint32_t flags) {
  seccomp_notif_addfd addfd{};
  addfd.id = id;
  addfd.flags = flags;
  addfd.srcfd = static_cast<__u32>(fd);
  addfd.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  const int number = ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &addfd);
  if (number >= 0) return {ReplyStatus::Sent, 0, number};
  const int error = errno;
  return {error == ENOENT ? ReplyStatus::Gone : ReplyStatus::Failed, error, -1};
}

bool LinuxNotifyChannel::alive(std::uint64_t id) {
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool LinuxNotifyChannel::hung_up() const {
  pollfd entry{.fd = listener_.get(), .events = 0, .revents = 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLHUP) != 0;
}

}  // namespace secbox::sys
