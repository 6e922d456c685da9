// What connect, bind and the send family share: the duplicated socket, the copied address, and its judgement.
#pragma once

#include <sys/socket.h>

#include <array>
#include <optional>
#include <string>

#include "supervisor/broker/call.h"
#include "supervisor/broker/sockaddr.h"

namespace secbox::broker {

// The socket as the kernel knows it, not as its address claims.
struct Socket {
  UniqueFd fd;  // shares the plugin's open file description
  int domain = 0;
  int type = 0;
  bool non_blocking = false;

  [[nodiscard]] bool is_inet() const { return domain == AF_INET || domain == AF_INET6; }
  [[nodiscard]] bool is_tcp() const { return is_inet() && type == SOCK_STREAM; }
  [[nodiscard]] bool is_datagram() const { return type == SOCK_DGRAM; }
  [[nodiscard]] checker::Transport transport() const {
    return is_datagram() ? checker::Transport::Udp : checker::Transport::Tcp;
  }
};

struct CopiedAddress {
  std::array<std::byte, sizeof(sockaddr_storage)> bytes{};
  socklen_t size = 0;
  Address value;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(bytes.data()); }
};

// Both return the Action to end with where something is wrong.
[[nodiscard]] std::optional<Action> take_socket(Call& call, int fd, Socket& out);
[[nodiscard]] std::optional<Action> copy_address(Call& call, TargetAddress address, std::uint64_t size,
                                                 CopiedAddress& out);

// Judges sending to, or connecting to, an address, and makes it safe to use: a Unix path becomes the pinned
// socket behind it (kept in `pinned` while in use), "any" the address that it stands for. nullopt: go on.
[[nodiscard]] std::optional<Action> judge_destination(Call& call, const Socket& socket,
                                                      CopiedAddress& address, sys::PinnedPath& pinned);

// How a connect or send ends that a signal interrupted: one with a time limit (SO_SNDTIMEO) is not begun
// anew, whatever the signal's handler asks for, see signal(7).
[[nodiscard]] Action interrupted_send(Call& call, const Socket& socket);

// Fills the record's target from an IP end point and judges it.
[[nodiscard]] bool permit_endpoint(Call& call, checker::Verb verb, const checker::Endpoint& endpoint);

}  // namespace secbox::broker
