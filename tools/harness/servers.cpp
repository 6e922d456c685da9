#include "tools/harness/servers.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tools/harness/files.h"

namespace secbox::harness {

namespace {

using Kind = ServerSpec::Kind;

// Who floods a server must not keep the time limit from being looked at.
constexpr int kMostTurns = 1000;

bool is_stream(Kind kind) { return kind != Kind::Udp && kind != Kind::Udp6 && kind != Kind::UnixDgram; }

std::string random_name() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number)
    number = static_cast<std::uint64_t>(::getpid());
  return "secbox-test-" + std::to_string(number);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Result<Address> unix_address(Kind kind, const std::string& path) {
  Address address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  un->sun_family = AF_UNIX;
  const std::size_t lead = kind == Kind::Abstract ? 1 : 0;
  if (path.size() + 1 > sizeof un->sun_path) return failure("the path of a socket is too long: " + path);
  std::memcpy(un->sun_path + lead, path.data(), path.size());
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + lead + path.size() + (1 - lead));
  return address;
}

Address loopback(Kind kind) {
  Address address;
  if (kind == Kind::Tcp6 || kind == Kind::Udp6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_addr = in6addr_loopback;
    address.size = sizeof *in6;
  } else {
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.size = sizeof *in;
  }
  return address;
}

}  // namespace

Result<Servers> Servers::open(const std::vector<ServerSpec>& specs, const std::string& directory,
                              const User& user, Variables& variables) {
  Servers servers;
  if (specs.empty()) return servers;
  servers.poll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!servers.poll_.valid()) return errno_failure("cannot watch sockets");
  for (const ServerSpec& spec : specs) {
    const std::string what = "cannot open the server \"" + spec.name + "\"";
    Address address;
    std::string path;
    if (spec.kind == Kind::Unix || spec.kind == Kind::UnixDgram || spec.kind == Kind::Abstract) {
      path = spec.kind == Kind::Abstract ? random_name() : directory + "/" + spec.name;
      auto made = unix_address(spec.kind, path);
      if (!made) return std::unexpected(made.error());
      address = *made;
    } else {
      address = loopback(spec.kind);
    }
    const int type = is_stream(spec.kind) ? SOCK_STREAM : SOCK_DGRAM;
    UniqueFd socket(::socket(address.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) return errno_failure(what);
    auto* raw = reinterpret_cast<sockaddr*>(&address.storage);
    if (::bind(socket.get(), raw, address.size) != 0) return errno_failure(what);
    if (is_stream(spec.kind) && ::listen(socket.get(), 1024) != 0) return errno_failure(what);
    if (path.empty()) {
      socklen_t size = sizeof address.storage;
      if (::getsockname(socket.get(), raw, &size) != 0) return errno_failure(what);
      const in_port_t port = address.storage.ss_family == AF_INET6
                                 ? reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port
                                 : reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port;
      variables.set("PORT:" + spec.name, std::to_string(ntohs(port)));
    } else if (spec.kind == Kind::Abstract) {
      variables.set("SOCKET:" + spec.name, "@" + path);
    } else {
      if (auto done = set_owner_and_mode(path, user.uid, user.gid, 0777); !done)
        return std::unexpected(done.error());
      variables.set("SOCKET:" + spec.name, path);
    }
    servers.watch(socket.get());
    servers.listeners_.push_back({spec.name, std::move(socket), is_stream(spec.kind)});
  }
  return servers;
}

void Servers::watch(int fd) const {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  (void)::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Servers::serve() {
  std::array<char, 65536> buffer{};
  for (Listener& listener : listeners_) {
    for (int turn = 0; turn < kMostTurns; ++turn) {
      if (listener.is_stream) {
        UniqueFd connection(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!connection.valid() && errno == ECONNABORTED) {
          ++contacts_[listener.name];
          continue;
        }
        if (!connection.valid()) break;
        ++contacts_[listener.name];
        watch(connection.get());
        const int fd = connection.get();
        connections_[fd] = std::move(connection);
      } else {
        if (::recv(listener.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) < 0) break;
        ++contacts_[listener.name];
      }
    }
  }
  // Who talks to us is heard to the end, so that nobody waits for a full buffer.
  std::erase_if(connections_, [&](const auto& connection) {
    for (int turn = 0; turn < kMostTurns; ++turn) {
      const ssize_t got = ::recv(connection.first, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got > 0) continue;
      return got == 0 || (errno != EAGAIN && errno != EINTR);
    }
    return false;
  });
}

int Servers::contacts(const std::string& name) const {
  const auto found = contacts_.find(name);
  return found == contacts_.end() ? 0 : found->second;
}

}  // namespace secbox::harness
