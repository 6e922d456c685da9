#include "supervisor/broker/sockaddr.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace secbox::broker {

namespace {
template <typename T>
bool copy(std::span<const std::byte> bytes, T& out) {
  if (bytes.size() < sizeof out) return false;
  std::memcpy(&out, bytes.data(), sizeof out);
  return true;
}
}  // namespace

Address decode_address(std::span<const std::byte> bytes) {
  sa_family_t family = 0;
  if (!copy(bytes, family)) return MalformedAddress{};
  switch (family) {
    case AF_UNSPEC:
      return UnspecifiedAddress{};
    case AF_INET: {
      sockaddr_in v4{};
      if (!copy(bytes, v4)) return MalformedAddress{};
      InetAddress address{.endpoint = {}, .family = AF_INET};
      address.endpoint.address[10] = address.endpoint.address[11] = 0xff;
      std::memcpy(address.endpoint.address.data() + 12, &v4.sin_addr, 4);
      address.endpoint.port = ntohs(v4.sin_port);
      return address;
    }
    case AF_INET6: {
      // 24 bytes without the scope id are enough for the kernel (SIN6_LEN_RFC2133).
      constexpr std::size_t kShort = 24;
      if (bytes.size() < kShort) return MalformedAddress{};
      sockaddr_in6 v6{};
      std::memcpy(&v6, bytes.data(), std::min(bytes.size(), sizeof v6));
      InetAddress address{.endpoint = {}, .family = AF_INET6};
      std::memcpy(address.endpoint.address.data(), &v6.sin6_addr, 16);
      address.endpoint.port = ntohs(v6.sin6_port);
      return address;
    }
    case AF_UNIX: {
      constexpr std::size_t kHeader = offsetof(sockaddr_un, sun_path);
      if (bytes.size() == kHeader) return UnixAutobind{};
      if (bytes.size() > sizeof(sockaddr_un)) return MalformedAddress{};
      const char* name = reinterpret_cast<const char*>(bytes.data()) + kHeader;
      const std::size_t length = bytes.size() - kHeader;
      if (name[0] == '\0') return UnixAbstract{std::string(name + 1, length - 1)};
      return UnixPath{std::string(name, ::strnlen(name, length))};
    }
    case AF_NETLINK: {
      sockaddr_nl netlink{};
      if (!copy(bytes, netlink)) return MalformedAddress{};
      return NetlinkAddress{.pid = netlink.nl_pid, .groups = netlink.nl_groups};
    }
    default:
      return OtherAddress{family};
  }
}

std::string address_text(const checker::Endpoint& endpoint) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (endpoint.is_v4()) {
    (void)::inet_ntop(AF_INET, endpoint.address.data() + 12, text.data(), text.size());
  } else {
    (void)::inet_ntop(AF_INET6, endpoint.address.data(), text.data(), text.size());
  }
  return text.data();
}

checker::Endpoint as_destination(checker::Endpoint endpoint, const checker::Endpoint& own) {
  const auto any = [](const checker::Endpoint& value) {
    return std::all_of(value.address.begin() + (value.is_v4() ? 12 : 0), value.address.end(),
                       [](std::uint8_t byte) { return byte == 0; });
  };
  if (!any(endpoint)) return endpoint;
  if (!endpoint.is_v4() && !own.is_v4()) {
    endpoint.address[15] = 1;
  } else if (endpoint.is_v4() && own.is_v4() && !any(own)) {
    endpoint.address = own.address;
  } else {
    endpoint.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  }
  return endpoint;
}

void set_inet_address(std::span<std::byte, sizeof(sockaddr_storage)> bytes, int family,
                      const checker::Endpoint& endpoint) {
  if (family == AF_INET) {
    std::memcpy(bytes.data() + offsetof(sockaddr_in, sin_addr), endpoint.address.data() + 12, 4);
  } else {
    std::memcpy(bytes.data() + offsetof(sockaddr_in6, sin6_addr), endpoint.address.data(), 16);
  }
}

}  // namespace secbox::broker
