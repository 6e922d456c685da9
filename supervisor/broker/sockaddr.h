// A copied socket address -> a value. Pure: never looks at the plugin's memory.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "supervisor/checker/access.h"

namespace secbox::broker {

struct UnspecifiedAddress {};  // AF_UNSPEC: connect(2) takes it as "disconnect"
struct InetAddress {
  checker::Endpoint endpoint;  // transport is the socket's to say
  int family = 0;
};
struct UnixPath {
  std::string path;  // up to its first NUL, as the kernel reads it
};
struct UnixAbstract {
  std::string name;  // counted bytes behind the leading NUL; NULs are part of it
};
struct UnixAutobind {};  // no name: the kernel picks one
struct NetlinkAddress {
  std::uint32_t pid = 0;
  std::uint32_t groups = 0;
};
struct OtherAddress {
  int family = 0;
};
// Too short for its family: the kernel's own EINVAL.
struct MalformedAddress {};

using Address = std::variant<UnspecifiedAddress, InetAddress, UnixPath, UnixAbstract, UnixAutobind,
                             NetlinkAddress, OtherAddress, MalformedAddress>;

// `bytes` is what the plugin passed, at most sizeof(sockaddr_storage).
[[nodiscard]] Address decode_address(std::span<const std::byte> bytes);

// "127.0.0.1", "::1".
[[nodiscard]] std::string address_text(const checker::Endpoint& endpoint);

// What connecting to "any" means on a socket whose own address is `own` (its port does not matter): 0.0.0.0
// is that address where it is an IPv4 one, else 127.0.0.1; :: is ::1, or 127.0.0.1 on a socket bound to IPv4.
[[nodiscard]] checker::Endpoint as_destination(checker::Endpoint endpoint, const checker::Endpoint& own);

// Puts the address of `endpoint` into `bytes`, a sockaddr of that family; the rest of it stays.
void set_inet_address(std::span<std::byte, sizeof(sockaddr_storage)> bytes, int family,
                      const checker::Endpoint& endpoint);

}  // namespace secbox::broker
