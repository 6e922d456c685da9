#include "tests/unit/manifest/support.h"

#include <arpa/inet.h>

#include <cstring>

namespace secbox::manifest {

checker::Endpoint endpoint(const std::string& address, int port, checker::Transport transport) {
  checker::Endpoint result;
  result.transport = transport;
  result.port = static_cast<std::uint16_t>(port);
  in_addr v4{};
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    result.address[10] = result.address[11] = 0xff;
    std::memcpy(result.address.data() + 12, &v4, 4);
  } else {
    EXPECT_EQ(::inet_pton(AF_INET6, address.c_str(), result.address.data()), 1) << address;
  }
  return result;
}

}  // namespace secbox::manifest
