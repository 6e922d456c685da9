// sendto with an address, sendmsg, sendmmsg. The address of sendmsg is behind a pointer that BPF cannot
// follow, so every one is held, copied once (header, address, data, control) and performed on a duplicate of
// the socket: what was judged is what is sent to. Sends without an address are not judged and not recorded.
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "supervisor/broker/services.h"
#include "supervisor/broker/socket_call.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL  // Linux 6.9
#endif

namespace secbox::broker {

namespace {

constexpr std::size_t kMaxData =
    4U << 20;  // of one call: a stream is told how much of a longer one was taken
constexpr std::size_t kMaxControl = 64U << 10;
constexpr std::size_t kMaxPassed = 253;  // SCM_MAX_FD

// A message, copied.
struct Message {
  bool has_address = false;
  CopiedAddress address;
  sys::PinnedPath pinned;
  std::vector<std::byte> data;
  std::vector<std::byte> control;
  std::vector<UniqueFd> passed;  // the descriptors in `control`, ours
  int flags = 0;
  bool cut = false;  // `data` is not all of it
};

// 0, or the Action to end with.
std::optional<Action> copy_data(Call& call, std::span<const iovec> vectors, Message& out) {
  std::size_t total = 0;
  for (const iovec& vector : vectors) {
    if (vector.iov_len > SSIZE_MAX) return call.fails(EINVAL);
    const std::size_t want = std::min(vector.iov_len, kMaxData - total);
    out.cut = out.cut || want < vector.iov_len;
    if (want == 0) continue;
    out.data.resize(total + want);
    const std::int64_t got = call.services().memory.read(
        call.tid(), TargetAddress{reinterpret_cast<std::uint64_t>(vector.iov_base)},
        std::span(out.data).subspan(total, want));
    if (got == -EPERM) return call.refuse(EACCES, "the caller's memory cannot be read");
    if (got != static_cast<std::int64_t>(want)) return call.fails(EFAULT);
    total += want;
  }
  return std::nullopt;
}

// The address that is judged would be a stop on the way only. setsockopt(2) of the same is refused by the
// filter.
bool is_source_route(int level, int type) {
  return (level == IPPROTO_IP && type == IP_RETOPTS) ||
         (level == IPPROTO_IPV6 && (type == IPV6_RTHDR || type == IPV6_2292RTHDR));
}

// Descriptors in the control data are the plugin's numbers: each is replaced by a duplicate of ours.
std::optional<Action> copy_control(Call& call, TargetAddress address, std::uint64_t size, Message& out) {
  if (size == 0 || address.is_null()) return std::nullopt;
  if (size > kMaxControl) return call.fails(ENOBUFS);
  out.control.resize(size);
  if (call.services().memory.read(call.tid(), address, out.control) != static_cast<std::int64_t>(size))
    return call.fails(EFAULT);
  std::size_t at = 0;
  while (at + sizeof(cmsghdr) <= out.control.size()) {
    cmsghdr header{};
    std::memcpy(&header, out.control.data() + at, sizeof header);
    if (header.cmsg_len < sizeof header || header.cmsg_len > out.control.size() - at)
      return call.fails(EINVAL);
    const std::size_t begin = at + CMSG_LEN(0);
    const std::size_t length = header.cmsg_len - CMSG_LEN(0);
    if (header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_RIGHTS) {
      for (std::size_t i = 0; i + sizeof(int) <= length; i += sizeof(int)) {
        int number = -1;
        std::memcpy(&number, out.control.data() + begin + i, sizeof number);
        if (out.passed.size() == kMaxPassed) return call.fails(EINVAL);
        auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{number});
        if (!copy) return call.fails(copy.error().code == EBADF ? EBADF : EACCES);
        number = copy->get();
        std::memcpy(out.control.data() + begin + i, &number, sizeof number);
        out.passed.push_back(std::move(*copy));
      }
    } else if (header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_CREDENTIALS) {
      // The kernel compares with the sender, which is us: a claim for the plugin cannot be passed on.
      call.record().event = "connect";
      return call.refuse(EPERM, "credentials in a message cannot be passed on for the plugin");
    } else if (is_source_route(header.cmsg_level, header.cmsg_type)) {
      call.record().event = "connect";
      return call.refuse(EPERM, "a route in a message leads to another host than the one that is judged");
    }
    at += CMSG_ALIGN(header.cmsg_len);
  }
  return std::nullopt;
}

std::optional<Action> copy_message(Call& call, const msghdr& header, int flags, Message& out) {
  out.flags = flags;
  if (header.msg_name != nullptr && header.msg_namelen != 0) {
    const std::uint64_t size = std::min<std::uint64_t>(header.msg_namelen, sizeof(sockaddr_storage));
    if (static_cast<std::int32_t>(header.msg_namelen) < 0) return call.fails(EINVAL);
    if (auto failed = copy_address(call, TargetAddress{reinterpret_cast<std::uint64_t>(header.msg_name)},
                                   size, out.address))
      return failed;
    out.has_address = true;
  }
  if (header.msg_iovlen > IOV_MAX) return call.fails(EMSGSIZE);
  std::vector<iovec> vectors(header.msg_iovlen);
  if (!vectors.empty()) {
    const auto bytes = std::as_writable_bytes(std::span(vectors));
    const TargetAddress where{reinterpret_cast<std::uint64_t>(header.msg_iov)};
    if (call.services().memory.read(call.tid(), where, bytes) != static_cast<std::int64_t>(bytes.size()))
      return call.fails(EFAULT);
  }
  if (auto failed = copy_data(call, vectors, out)) return failed;
  return copy_control(call, TargetAddress{reinterpret_cast<std::uint64_t>(header.msg_control)},
                      header.msg_controllen, out);
}

// The signal that a native send would have raised in the caller.
void raise_sigpipe(Call& call) {
  const UniqueFd thread(static_cast<int>(::syscall(SYS_pidfd_open, call.tid().value, PIDFD_THREAD)));
  if (thread.valid() && ::syscall(SYS_pidfd_send_signal, thread.get(), SIGPIPE, nullptr, 0) == 0) return;
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) == 0) (void)::syscall(SYS_tgkill, facts->tgid, call.tid().value, SIGPIPE);
}

struct Sent {
  std::int64_t count = -1;  // bytes, or -1 with `error`
  int error = 0;
  bool needs_worker = false;
  bool interrupted = false;
};

// Sends a judged message. A stream takes all of it, as a blocking send does, unless that would block where it
// must not.
Sent perform(Call& call, const Socket& socket, Message& message) {
  msghdr header{};
  if (message.has_address) {
    header.msg_name = message.address.bytes.data();
    header.msg_namelen = message.address.size;
  }
  header.msg_control = message.control.empty() ? nullptr : message.control.data();
  header.msg_controllen = message.control.size();
  const bool stream = socket.type == SOCK_STREAM;
  const bool blocks = !socket.non_blocking && (message.flags & MSG_DONTWAIT) == 0;
  // Connects first. Tried without waiting it would go on connecting, and what it was to send would be lost.
  const bool connects = socket.is_tcp() && (message.flags & MSG_FASTOPEN) != 0;
  std::optional<JudgedBinds::Connecting> connecting;
  Sent result;
  if (connects && blocks && !call.on_worker()) {
    result.needs_worker = true;
    return result;
  }
  if (connects) connecting.emplace(call.services().judged_binds, socket.fd.get());
  std::size_t done = 0;
  while (true) {
    iovec vector{.iov_base = message.data.data() + done, .iov_len = message.data.size() - done};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    // MSG_ZEROCOPY would tell about pages of ours.
    const int flags = (message.flags | MSG_NOSIGNAL) & ~MSG_ZEROCOPY;
    std::int64_t count = -1;
    if (!connects || !blocks) count = ::sendmsg(socket.fd.get(), &header, flags | MSG_DONTWAIT);
    if (blocks && (connects || (count < 0 && errno == EAGAIN))) {
      if (!call.on_worker()) {
        // Nothing was sent yet: the whole call can be done again. Otherwise what was sent is reported.
        result.needs_worker = done == 0;
        result.count = done == 0 ? -1 : static_cast<std::int64_t>(done);
        return result;
      }
      count = call.blocking([&] { return std::int64_t{::sendmsg(socket.fd.get(), &header, flags)}; });
      if (count < 0 && call.interrupted() && done == 0) {
        result.interrupted = true;
        return result;
      }
    }
    if (count < 0) {
      result.error = errno;
      if (done == 0 && errno == EPIPE && stream && (message.flags & MSG_NOSIGNAL) == 0) raise_sigpipe(call);
      result.count = done == 0 ? -1 : static_cast<std::int64_t>(done);
      return result;
    }
    done += static_cast<std::size_t>(count);
    header.msg_control = nullptr;  // went with the first piece
    header.msg_controllen = 0;
    if (!stream || !blocks || connects || done >= message.data.size() || count == 0) break;
  }
  result.count = static_cast<std::int64_t>(done);
  return result;
}

// Judges and sends one message. nullopt: `sent` says how it went.
std::optional<Action> send_one(Call& call, const Socket& socket, Message& message, Sent& sent) {
  if (message.cut && socket.type != SOCK_STREAM) return call.fails(EMSGSIZE);
  const bool judged =
      message.has_address && (socket.type != SOCK_STREAM || (message.flags & MSG_FASTOPEN) != 0);
  if (judged) {
    call.record().event = "connect";
    if (auto failed = judge_destination(call, socket, message.address, message.pinned)) return failed;
  }
  sent = perform(call, socket, message);
  if (sent.needs_worker) return NeedsWorker{};
  if (sent.interrupted) return interrupted_send(call, socket);
  return std::nullopt;
}

Action to_action(const Sent& sent) {
  if (sent.count < 0) return ReplyErrno{sent.error};
  return ReplyValue{sent.count};
}

}  // namespace

Action handle_sendto(Call& call) {
  Socket socket;
  if (auto failed = take_socket(call, call.int_arg(0), socket)) return std::move(*failed);
  Message message;
  message.flags = call.int_arg(3);
  if (!call.address(4).is_null()) {
    if (auto failed = copy_address(call, call.address(4), call.arg(5), message.address))
      return std::move(*failed);
    message.has_address = message.address.size != 0;
  }
  const iovec vector{.iov_base = reinterpret_cast<void*>(call.arg(1)), .iov_len = call.arg(2)};
  if (auto failed = copy_data(call, std::span(&vector, 1), message)) return std::move(*failed);
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  Sent sent;
  if (auto failed = send_one(call, socket, message, sent)) return std::move(*failed);
  return to_action(sent);
}

Action handle_sendmsg(Call& call) {
  Socket socket;
  if (auto failed = take_socket(call, call.int_arg(0), socket)) return std::move(*failed);
  msghdr header{};
  if (const int error = sys::read_object(call.services().memory, call.tid(), call.address(1), header);
      error != 0) {
    return error == EFAULT ? Action{call.fails(EFAULT)}
                           : call.refuse(EACCES, "the caller's memory cannot be read");
  }
  Message message;
  if (auto failed = copy_message(call, header, call.int_arg(2), message)) return std::move(*failed);
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  Sent sent;
  if (auto failed = send_one(call, socket, message, sent)) return std::move(*failed);
  return to_action(sent);
}

Action handle_sendmmsg(Call& call) {
  Socket socket;
  if (auto failed = take_socket(call, call.int_arg(0), socket)) return std::move(*failed);
  const auto count = std::min<std::uint32_t>(static_cast<std::uint32_t>(call.arg(2)), UIO_MAXIOV);
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  std::int64_t done = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const TargetAddress entry{call.arg(1) + i * sizeof(mmsghdr)};
    // An error after the first message is told by the number that went before it, as natively.
    const auto stop = [&](Action action) -> Action {
      return done > 0 ? Action{ReplyValue{done}} : std::move(action);
    };
    mmsghdr header{};
    if (const int error = sys::read_object(call.services().memory, call.tid(), entry, header); error != 0)
      return stop(call.fails(EFAULT));
    Message message;
    if (auto failed = copy_message(call, header.msg_hdr, call.int_arg(3), message))
      return stop(std::move(*failed));
    Sent sent;
    if (auto failed = send_one(call, socket, message, sent)) return stop(std::move(*failed));
    if (sent.count < 0) return stop(ReplyErrno{sent.error});
    const auto length = static_cast<unsigned>(sent.count);
    const TargetAddress where{entry.value + offsetof(mmsghdr, msg_len)};
    if (call.services().memory.write(call.tid(), where, std::as_bytes(std::span(&length, 1))) != 0)
      return stop(call.fails(EFAULT));
    ++done;
    // One record names one address: the caller is told that one message went, and comes again for the next.
    if (!call.record().event.empty()) break;
  }
  return ReplyValue{done};
}

}  // namespace secbox::broker
