// Whatever bytes a socket address has: what is judged is where the kernel's own connect(2) leads. Only
// datagram sockets are connected, which sends nothing, and only abstract names are bound.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "supervisor/base/unique_fd.h"
#include "supervisor/broker/sockaddr.h"
#include "tests/fuzz/require.h"

namespace {

using namespace secbox;
using namespace secbox::broker;
using fuzz::require;

using Bytes = std::vector<std::byte>;

template <typename T>
Bytes bytes_of(const T& address, std::size_t size = sizeof(T)) {
  const auto* begin = reinterpret_cast<const std::byte*>(&address);
  return {begin, begin + size};
}

// A socket address of the decoded value, in the one spelling that we would choose.
std::optional<Bytes> spelled(const Address& value) {
  if (const auto* inet = std::get_if<InetAddress>(&value)) {
    if (inet->family == AF_INET) {
      sockaddr_in v4{};
      v4.sin_family = AF_INET;
      v4.sin_port = htons(inet->endpoint.port);
      std::memcpy(&v4.sin_addr, inet->endpoint.address.data() + 12, 4);
      return bytes_of(v4);
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(inet->endpoint.port);
    std::memcpy(&v6.sin6_addr, inet->endpoint.address.data(), 16);
    return bytes_of(v6);
  }
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  constexpr std::size_t kHeader = offsetof(sockaddr_un, sun_path);
  if (std::holds_alternative<UnixAutobind>(value)) return bytes_of(local, kHeader);
  if (const auto* path = std::get_if<UnixPath>(&value)) {
    std::memcpy(local.sun_path, path->path.data(), path->path.size());
    return bytes_of(local, kHeader + path->path.size());
  }
  if (const auto* abstract = std::get_if<UnixAbstract>(&value)) {
    std::memcpy(local.sun_path + 1, abstract->name.data(), abstract->name.size());
    return bytes_of(local, kHeader + 1 + abstract->name.size());
  }
  return std::nullopt;
}

bool same(const Address& a, const Address& b) {
  if (a.index() != b.index()) return false;
  if (const auto* inet = std::get_if<InetAddress>(&a))
    return inet->endpoint == std::get<InetAddress>(b).endpoint &&
           inet->family == std::get<InetAddress>(b).family;
  if (const auto* path = std::get_if<UnixPath>(&a)) return path->path == std::get<UnixPath>(b).path;
  if (const auto* abstract = std::get_if<UnixAbstract>(&a))
    return abstract->name == std::get<UnixAbstract>(b).name;
  return true;
}

void check_inet(const InetAddress& inet, const Bytes& bytes) {
  // In the text that the record shows.
  const std::string text = address_text(inet.endpoint);
  std::array<std::uint8_t, 16> back{};
  back[10] = back[11] = 0xff;
  const bool is_v4 = inet.endpoint.is_v4();
  require(::inet_pton(is_v4 ? AF_INET : AF_INET6, text.c_str(), is_v4 ? &back[12] : &back[0]) == 1,
          "an address");
  require(back == inet.endpoint.address, "the text says which");

  // Written back, nothing changes; another address written there is read there.
  std::array<std::byte, sizeof(sockaddr_storage)> storage{};
  std::memcpy(storage.data(), bytes.data(), bytes.size());
  auto written = storage;
  set_inet_address(written, inet.family, inet.endpoint);
  require(written == storage, "written back, nothing changes");
  checker::Endpoint other = inet.endpoint;
  for (std::size_t i = 12; i < 16; ++i) other.address[i] = static_cast<std::uint8_t>(~other.address[i]);
  set_inet_address(written, inet.family, other);
  const Address replaced = decode_address(std::span(written).first(bytes.size()));
  require(std::get<InetAddress>(replaced).endpoint == other, "what is written is read");
}

// ---- the kernel ----

struct Bound {
  int domain;
  const char* own;  // "": not bound
};
constexpr Bound kSockets[] = {
    {AF_INET, ""}, {AF_INET, "127.0.0.2"}, {AF_INET6, ""}, {AF_INET6, "::1"}, {AF_INET6, "::ffff:127.0.0.3"}};

UniqueFd datagram_socket(const Bound& bound) {
  UniqueFd fd(::socket(bound.domain, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() || *bound.own == '\0') return fd;
  sockaddr_storage own{};
  own.ss_family = static_cast<sa_family_t>(bound.domain);
  void* address = bound.domain == AF_INET
                      ? static_cast<void*>(&reinterpret_cast<sockaddr_in&>(own).sin_addr)
                      : static_cast<void*>(&reinterpret_cast<sockaddr_in6&>(own).sin6_addr);
  ::inet_pton(bound.domain, bound.own, address);
  const socklen_t size = bound.domain == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), size) != 0) fd.reset();
  return fd;
}

Address name_of(int fd, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (ask(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return MalformedAddress{};
  return decode_address(std::as_bytes(std::span(&name, 1)).first(size));
}

int own_name(int fd, sockaddr* name, socklen_t* size) { return ::getsockname(fd, name, size); }
int peer_name(int fd, sockaddr* name, socklen_t* size) { return ::getpeername(fd, name, size); }

// As connect(2) is judged: where the kernel takes the address, its peer is the end point that was decided on.
void check_connect(const Bound& bound, const Bytes& bytes, const Address& value) {
  const UniqueFd fd = datagram_socket(bound);
  if (!fd.valid()) return;  // no IPv6 here
  checker::Endpoint own;
  if (const Address name = name_of(fd.get(), own_name); std::holds_alternative<InetAddress>(name))
    own = std::get<InetAddress>(name).endpoint;

  Bytes used = bytes;
  checker::Endpoint judged;
  const auto* inet = std::get_if<InetAddress>(&value);
  const auto connect = [&](const Bytes& to) {
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(to.data()),
                     static_cast<socklen_t>(to.size())) == 0;
  };
  if (inet == nullptr) {
    if (connect(bytes))
      require(std::holds_alternative<UnspecifiedAddress>(value), "only AF_UNSPEC has no address");
    return;
  }
  judged = as_destination(inet->endpoint, own);
  require(as_destination(judged, own) == judged, "a destination stays one");
  if (!connect(bytes) || inet->endpoint.port == 0) return;
  const Address peer = name_of(fd.get(), peer_name);
  require(std::holds_alternative<InetAddress>(peer), "a peer");
  require(std::get<InetAddress>(peer).endpoint == judged, "the kernel's peer is what is judged");

  // What is connected to is the spelled-out address: it leads to the same.
  std::array<std::byte, sizeof(sockaddr_storage)> storage{};
  std::memcpy(storage.data(), bytes.data(), bytes.size());
  set_inet_address(storage, inet->family, judged);
  const UniqueFd second = datagram_socket(bound);
  if (!second.valid()) return;
  require(::connect(second.get(), reinterpret_cast<const sockaddr*>(storage.data()),
                    static_cast<socklen_t>(bytes.size())) == 0,
          "spelled out it is taken as well");
  require(std::get<InetAddress>(name_of(second.get(), peer_name)).endpoint == judged,
          "and leads to the same");
}

void check_unix_bind(const Bytes& bytes, const Address& value) {
  const bool named = std::holds_alternative<UnixAbstract>(value);
  if (!named && !std::holds_alternative<MalformedAddress>(value)) return;  // a path would make a file
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const bool bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(bytes.data()),
                            static_cast<socklen_t>(bytes.size())) == 0;
  if (!bound) return;
  require(named, "what the kernel takes is not malformed");
  require(same(name_of(fd.get(), own_name), value), "the kernel's name is what is judged");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bound& bound = kSockets[data[0] % std::size(kSockets)];
  ++data;
  --size;
  size = std::min(size, sizeof(sockaddr_storage));
  const auto* first = reinterpret_cast<const std::byte*>(data);
  const Bytes bytes(first, first + size);  // exactly as long: what is read beyond it is seen
  const Address value = decode_address(bytes);

  if (const auto canonical = spelled(value)) {
    const Address again = decode_address(*canonical);
    require(same(value, again), "the value survives being spelled");
    require(*spelled(again) == *canonical, "and its spelling is one");
  }
  if (const auto* path = std::get_if<UnixPath>(&value)) {
    require(!path->path.empty() && path->path.find('\0') == std::string::npos, "a path is a C string");
  }
  if (const auto* inet = std::get_if<InetAddress>(&value)) check_inet(*inet, bytes);

  sa_family_t family = AF_UNSPEC;
  if (size >= sizeof family) std::memcpy(&family, data, sizeof family);
  if (family == AF_UNIX) {
    check_unix_bind(bytes, value);
  } else {
    check_connect(bound, bytes, value);
  }
  return 0;
}
