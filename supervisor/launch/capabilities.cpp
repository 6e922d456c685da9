#include "supervisor/launch/capabilities.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace secbox::launch {

namespace {
using Sets = std::array<__user_cap_data_struct, 2>;

int read_sets(Sets& sets) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  return ::syscall(SYS_capget, &header, sets.data()) == 0 ? 0 : errno;
}
}  // namespace

int keep_only(std::uint64_t kept) {
  Sets sets{};
  if (const int error = read_sets(sets); error != 0) return error;
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (std::size_t word = 0; word < sets.size(); ++word) {
    const auto mask = static_cast<__u32>(kept >> (32 * word));
    sets[word].effective &= mask;
    sets[word].permitted &= mask;
    sets[word].inheritable &= mask;
  }
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  return ::syscall(SYS_capset, &header, sets.data()) == 0 ? 0 : errno;
}

bool has_capability(unsigned capability) {
  Sets sets{};
  return read_sets(sets) == 0 && (sets[capability / 32].effective & (1U << (capability % 32))) != 0;
}

}  // namespace secbox::launch
