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

// What connecting to "any" means: 0.0.0.0 is 127.0.0.1 and :: is ::1.
[[nodiscard]] checker::Endpoint as_destination(checker::Endpoint endpoint);

}  // namespace secbox::broker
