// Which TCP sockets still have the address that bind(2) was judged for. One that never was bound, or that
// connected since, takes a port of the kernel's choice on every address in listen(2), while getsockname(2)
// may go on telling the old one: only what is remembered here needs no judgement there.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>

namespace secbox::broker {

class JudgedBinds {
 public:
  // Past it the oldest is forgotten, and its listen(2) judged.
  static constexpr std::size_t kMax = 4096;

  // While a socket connects or is disconnected nothing is known of its address, nor afterwards.
  class Connecting {
   public:
    Connecting(JudgedBinds& binds, int fd);
    Connecting(const Connecting&) = delete;
    Connecting& operator=(const Connecting&) = delete;
    ~Connecting();

   private:
    JudgedBinds& binds_;
    std::uint64_t cookie_;
  };

  // bind(2) with an address that was judged: 0, or -1 with errno.
  [[nodiscard]] int bind(int fd, const sockaddr* address, socklen_t size);
  // listen(2), or nullopt where the bind is not known and nothing was done.
  [[nodiscard]] std::optional<int> listen(int fd, int backlog);

 private:
  std::mutex mutex_;  // held over the system call as well: another thread may connect the same socket
  std::set<std::uint64_t> bound_;  // by SO_COOKIE, which no two sockets share
  std::multiset<std::uint64_t> connecting_;
};

}  // namespace secbox::broker
