// connect, bind, listen: performed on a duplicate of the plugin's socket with the address that was judged.
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>

#include "supervisor/broker/services.h"
#include "supervisor/broker/socket_call.h"
#include "supervisor/sys/landlock.h"

namespace secbox::broker {

using checker::AccessView;
using checker::Endpoint;
using checker::Verb;

std::optional<Action> take_socket(Call& call, int fd, Socket& out) {
  auto copy = sys::duplicate_descriptor(call.services().proc, call.tid(), TargetFd{fd});
  if (!copy)
    return copy.error().code == EBADF ? Action{call.fails(EBADF)}
                                      : call.refuse(EACCES, "the socket cannot be examined");
  out.fd = std::move(*copy);
  socklen_t size = sizeof out.domain;
  if (::getsockopt(out.fd.get(), SOL_SOCKET, SO_DOMAIN, &out.domain, &size) != 0)
    return call.fails(errno);  // ENOTSOCK, EBADF for O_PATH
  size = sizeof out.type;
  if (::getsockopt(out.fd.get(), SOL_SOCKET, SO_TYPE, &out.type, &size) != 0) return call.fails(errno);
  const int flags = ::fcntl(out.fd.get(), F_GETFL);
  out.non_blocking = flags >= 0 && (flags & O_NONBLOCK) != 0;
  return std::nullopt;
}

std::optional<Action> copy_address(Call& call, TargetAddress address, std::uint64_t size,
                                   CopiedAddress& out) {
  const auto length = static_cast<std::int32_t>(size);  // an int to the kernel
  if (length < 0 || static_cast<std::size_t>(length) > out.bytes.size()) return call.fails(EINVAL);
  out.size = static_cast<socklen_t>(length);
  if (length > 0) {
    const auto bytes = std::span(out.bytes).first(static_cast<std::size_t>(length));
    const std::int64_t got = call.services().memory.read(call.tid(), address, bytes);
    if (got == -EPERM) return call.refuse(EACCES, "the caller's memory cannot be read");
    if (got != length) return call.fails(EFAULT);
  }
  out.value = decode_address(std::span(out.bytes).first(out.size));
  return std::nullopt;
}

bool permit_endpoint(Call& call, Verb verb, const Endpoint& endpoint) {
  audit::Record& record = call.record();
  record.target.ip = call.keep(address_text(endpoint));
  record.target.port = endpoint.port;
  record.target.transport = endpoint.transport == checker::Transport::Udp ? "udp" : "tcp";
  if (call.services().host_of) {
    if (std::string host = call.services().host_of(endpoint.address); !host.empty())
      record.target.host = call.keep(std::move(host));
  }
  return call.permit(AccessView{.verbs = verb, .as_written = {}, .resolved = {}, .endpoint = endpoint});
}

namespace {

std::string own_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

void set_unix_path(CopiedAddress& address, const std::string& path) {
  sockaddr_un unix_address{};
  unix_address.sun_family = AF_UNIX;
  std::memcpy(unix_address.sun_path, path.c_str(), std::min(path.size(), sizeof unix_address.sun_path - 1));
  address.bytes = {};
  std::memcpy(address.bytes.data(), &unix_address, sizeof unix_address);
  address.size = sizeof unix_address;
}

std::optional<Action> judge_unix_path(Call& call, CopiedAddress& address, const std::string& path,
                                      sys::PinnedPath& pinned) {
  if (const int error = call.resolve(AT_FDCWD, path, sys::LastLink::Follow, pinned); error != 0)
    return call.fails(error);
  call.record().target.path = call.keep(pinned.as_written);
  if (!pinned.exists()) {
    call.grant("implied:absent", "nothing is there");
    return call.fails(ENOENT);
  }
  if (!call.permit(Verb::UnixSocket, pinned)) return call.denied();
  // The pinned inode by our own descriptor: the name may lead elsewhere by now.
  set_unix_path(address, own_path(pinned.object.get()));
  return std::nullopt;
}

bool permit_abstract(Call& call, const std::string& name) {
  const std::string_view shown = call.keep("@" + name);
  call.record().target.abstract_name = shown.substr(1);
  return call.permit(
      AccessView{.verbs = Verb::UnixSocket, .as_written = shown, .resolved = shown, .endpoint = {}});
}

}  // namespace

namespace {

// The end point of a copied address, as it is judged and then used: where "any" leads depends on the address
// and the device that the socket is bound to, which may change at any time, so it is written out.
Endpoint settle_destination(const Socket& socket, int family, Endpoint endpoint, CopiedAddress& address) {
  sockaddr_storage bytes{};
  socklen_t size = sizeof bytes;
  Endpoint own;
  if (::getsockname(socket.fd.get(), reinterpret_cast<sockaddr*>(&bytes), &size) == 0) {
    const Address value = decode_address(std::as_bytes(std::span(&bytes, 1)).first(size));
    if (const auto* inet = std::get_if<InetAddress>(&value)) own = inet->endpoint;
  }
  endpoint = as_destination(endpoint, own);
  endpoint.transport = socket.transport();
  set_inet_address(address.bytes, family, endpoint);
  return endpoint;
}

}  // namespace

Action interrupted_send(Call& call, const Socket& socket) {
  timeval limit{};
  socklen_t size = sizeof limit;
  if (::getsockopt(socket.fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, &size) == 0 &&
      (limit.tv_sec != 0 || limit.tv_usec != 0))
    return call.fails(EINTR);
  return call.restart();
}

std::optional<Action> judge_destination(Call& call, const Socket& socket, CopiedAddress& address,
                                        sys::PinnedPath& pinned) {
  if (const auto* inet = std::get_if<InetAddress>(&address.value)) {
    // A family that is not the socket's own goes nowhere: the kernel says so itself.
    if (!socket.is_inet()) return call.fails(EINVAL);
    const Endpoint endpoint = settle_destination(socket, inet->family, inet->endpoint, address);
    const auto& rules = call.services().rules();
    const auto decision = call.probe(
        AccessView{.verbs = Verb::NetConnect, .as_written = {}, .resolved = {}, .endpoint = endpoint});
    if (!decision.allowed() && decision.reason() == checker::Reason::NoGrant &&
        call.services().refresh_hosts && !rules.host_names().empty()) {
      // The names that are granted may stand for other addresses by now.
      if (!call.on_worker()) return NeedsWorker{};
      (void)call.services().refresh_hosts();
    }
    if (!permit_endpoint(call, Verb::NetConnect, endpoint)) return call.denied();
    return std::nullopt;
  }
  // Every other family goes nowhere on such a socket: which error that is, the kernel says.
  if (socket.is_inet() && !std::holds_alternative<UnspecifiedAddress>(address.value)) return std::nullopt;
  if (const auto* path = std::get_if<UnixPath>(&address.value)) {
    if (socket.domain != AF_UNIX) return call.fails(EINVAL);
    return judge_unix_path(call, address, path->path, pinned);
  }
  if (const auto* abstract = std::get_if<UnixAbstract>(&address.value)) {
    if (socket.domain != AF_UNIX) return call.fails(EINVAL);
    if (!permit_abstract(call, abstract->name)) return call.denied();
    return std::nullopt;
  }
  if (const auto* netlink = std::get_if<NetlinkAddress>(&address.value)) {
    if (socket.domain != AF_NETLINK) return call.fails(EINVAL);
    if (netlink->pid != 0 &&
        !call.forbid("protected:netlink-peer", "another process's netlink socket", EPERM))
      return call.denied();
    call.grant("implied:netlink-route", "asks the kernel about interfaces and routes");
    return std::nullopt;
  }
  if (std::holds_alternative<UnspecifiedAddress>(address.value)) {
    // To send: an IPv4 address to a socket of that family; on IPv6 as none, which is where connect(2) was
    // judged. To connect: disconnect, see handle_connect.
    if (socket.domain == AF_INET6) return std::nullopt;
    if (socket.domain == AF_INET) {
      sockaddr_in v4{};
      std::memcpy(&v4, address.bytes.data(), std::min<std::size_t>(address.size, sizeof v4));
      Endpoint endpoint{.transport = socket.transport(), .address = {}, .port = ntohs(v4.sin_port)};
      endpoint.address[10] = endpoint.address[11] = 0xff;
      std::memcpy(endpoint.address.data() + 12, &v4.sin_addr, 4);
      endpoint = settle_destination(socket, AF_INET, endpoint, address);
      if (!permit_endpoint(call, Verb::NetConnect, endpoint)) return call.denied();
      return std::nullopt;
    }
    return call.fails(EINVAL);
  }
  return call.fails(std::holds_alternative<OtherAddress>(address.value) ? EAFNOSUPPORT : EINVAL);
}

Action handle_connect(Call& call) {
  call.record().event = "connect";
  Socket socket;
  if (auto failed = take_socket(call, call.int_arg(0), socket)) return std::move(*failed);
  CopiedAddress address;
  if (auto failed = copy_address(call, call.address(1), call.arg(2), address)) return std::move(*failed);
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  sys::PinnedPath pinned;
  if (std::holds_alternative<UnspecifiedAddress>(address.value)) {
    call.grant("implied:disconnect", "gives a connection up; the next connect is judged by itself");
  } else if (auto failed = judge_destination(call, socket, address, pinned)) {
    return std::move(*failed);
  }
  std::optional<JudgedBinds::Connecting> connecting;
  const bool may_block =
      !socket.non_blocking && !(socket.is_inet() && socket.is_datagram()) && socket.domain != AF_NETLINK;
  if (may_block && !call.on_worker()) return NeedsWorker{};
  if (socket.is_tcp()) connecting.emplace(call.services().judged_binds, socket.fd.get());
  if (!may_block) return call.result(::connect(socket.fd.get(), address.get(), address.size));
  const std::int64_t result =
      call.blocking([&] { return std::int64_t{::connect(socket.fd.get(), address.get(), address.size)}; });
  if (result < 0 && call.interrupted()) return interrupted_send(call, socket);
  return call.result(result);
}

namespace {

// bind(2) of a Unix path makes a file, and the socket keeps the very bytes it was given as its name, so those
// must be passed on. The thread that does it lives in a Landlock domain of its own which lets it make a
// socket below the pinned parent and nothing else: a name that leads elsewhere by now makes nothing there.
// 0 or an errno.
int bind_path(Call& call, const Socket& socket, const CopiedAddress& address, const sys::PinnedPath& pinned,
              int cwd) {
  const sys::ThreadFacts* facts = nullptr;
  if (call.thread_facts(facts) != 0) return EACCES;
  const int abi = sys::landlock_abi();
  sys::LandlockPlan plan{.rules = {{own_path(pinned.parent.get()), sys::kFsMakeSock}},
                         .scope_signals = false,
                         .scope_abstract_sockets = false};
  const auto ruleset = sys::make_landlock_ruleset(abi, plan);
  if (!ruleset) return EACCES;
  int error = EACCES;
  const std::optional<sys::ThreadFacts> owner = *facts;
  const bool other_identity = call.services().identities_differ.load(std::memory_order_acquire);
  const auto act = [&] {
    if (::unshare(CLONE_FS) != 0 || ::fchdir(cwd) != 0) return;
    ::umask(facts->umask);
    std::optional<sys::AssumedIdentity> identity;
    if (other_identity) {
      auto assumed = sys::AssumedIdentity::assume(*owner);
      if (!assumed) return;
      identity.emplace(std::move(*assumed));
    }
    if (sys::restrict_self(ruleset->get()) != 0) return;
    error = ::bind(socket.fd.get(), address.get(), address.size) == 0 ? 0 : errno;
  };
  try {
    std::thread(act).join();
  } catch (const std::system_error&) {
    return EAGAIN;  // at the limit of processes
  }
  return error;
}

Action bind_unix_path(Call& call, const Socket& socket, const CopiedAddress& address,
                      const std::string& path) {
  // Before the identity is taken: a process that changed its own can be looked into by privilege alone.
  const auto cwd = call.services().proc.open_cwd(call.tid());
  if (!cwd) return call.refuse(EACCES, "the caller's directory cannot be told");
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  sys::PinnedPath pinned;
  if (const int error = call.resolve(AT_FDCWD, path, sys::LastLink::Entry, pinned); error != 0)
    return call.fails(error);
  if (pinned.exists()) {
    call.grant("implied:exists", "the name is taken: nothing is created");
    return call.fails(EADDRINUSE);
  }
  if (!call.permit(Verb::UnixSocket, pinned)) return call.denied();
  const std::lock_guard names(call.services().names);
  if (!call.still_named(pinned)) return call.refuse(EAGAIN, "the name was changed meanwhile");
  const int error = bind_path(call, socket, address, pinned, cwd->get());
  if (error == EAGAIN) return call.refuse(EAGAIN, "no thread is to be had");
  return error == 0 ? Action{ReplyValue{0}} : call.fails(error);
}

}  // namespace

Action handle_bind(Call& call) {
  call.record().event = "bind";
  Socket socket;
  if (auto failed = take_socket(call, call.int_arg(0), socket)) return std::move(*failed);
  CopiedAddress address;
  if (auto failed = copy_address(call, call.address(1), call.arg(2), address)) return std::move(*failed);
  if (const auto* path = std::get_if<UnixPath>(&address.value); path != nullptr && socket.domain == AF_UNIX) {
    return bind_unix_path(call, socket, address, path->path);
  }
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  if (const auto* inet = std::get_if<InetAddress>(&address.value); inet != nullptr && socket.is_inet()) {
    Endpoint endpoint = inet->endpoint;
    endpoint.transport = socket.transport();
    if (!permit_endpoint(call, Verb::NetBind, endpoint)) return call.denied();
  } else if (const auto* abstract = std::get_if<UnixAbstract>(&address.value);
             abstract != nullptr && socket.domain == AF_UNIX) {
    if (!permit_abstract(call, abstract->name)) return call.denied();
  } else if (std::holds_alternative<UnixAutobind>(address.value) && socket.domain == AF_UNIX) {
    call.grant("implied:autobind", "a name that the kernel picks");
  } else if (std::holds_alternative<NetlinkAddress>(address.value) && socket.domain == AF_NETLINK) {
    call.grant("implied:netlink-route", "asks the kernel about interfaces and routes");
  } else if (std::holds_alternative<UnspecifiedAddress>(address.value) && socket.domain == AF_INET) {
    // Old programs: AF_UNSPEC with 0.0.0.0 binds as AF_INET.
    sockaddr_in v4{};
    std::memcpy(&v4, address.bytes.data(), std::min<std::size_t>(address.size, sizeof v4));
    Endpoint endpoint{.transport = socket.transport(), .address = {}, .port = ntohs(v4.sin_port)};
    endpoint.address[10] = endpoint.address[11] = 0xff;
    std::memcpy(endpoint.address.data() + 12, &v4.sin_addr, 4);
    if (!permit_endpoint(call, Verb::NetBind, endpoint)) return call.denied();
  } else if (socket.domain == AF_UNIX || socket.is_inet() || socket.domain == AF_NETLINK) {
    return call.fails(std::holds_alternative<MalformedAddress>(address.value) || socket.domain != AF_INET
                          ? EINVAL
                          : EAFNOSUPPORT);
  } else {
    return call.refuse(EACCES, "a socket of a family that is not mediated");
  }
  if (socket.is_tcp())
    return call.result(call.services().judged_binds.bind(socket.fd.get(), address.get(), address.size));
  return call.result(::bind(socket.fd.get(), address.get(), address.size));
}

// Never left to the kernel: by then the descriptor could be another socket, and an unbound one takes a port.
Action handle_listen(Call& call) {
  Socket socket;
  if (auto failed = take_socket(call, call.int_arg(0), socket)) return std::move(*failed);
  if (socket.is_tcp()) {
    if (const auto done = call.services().judged_binds.listen(socket.fd.get(), call.int_arg(1)))
      return call.result(*done);
    // Not bound, for all that is known. getsockname(2) may tell what the last connect left behind, and
    // another thread can take even that away: the kernel may choose any port, on every address.
    call.record().event = "bind";
    Endpoint endpoint{.transport = socket.transport(), .address = {}, .port = 0};
    if (socket.domain == AF_INET) endpoint.address[10] = endpoint.address[11] = 0xff;
    if (!permit_endpoint(call, Verb::NetBind, endpoint)) return call.denied();
  }
  // Who connects to a Unix socket is told the user that listened.
  const auto identity = call.assume_identity();
  if (!identity) return call.refuse(EACCES, "the caller's identity cannot be taken");
  return call.result(::listen(socket.fd.get(), call.int_arg(1)));
}

}  // namespace secbox::broker
