// Whatever struct openat2(2) is given: it is refused here exactly where the kernel itself refuses it, with
// the same errno, before any path is looked at.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include "supervisor/broker/open_how.h"
#include "tests/fuzz/require.h"

namespace {

using namespace secbox;
using fuzz::require;

// The kernel looks at the struct first and at the path then: with a path that cannot be read, whatever it
// takes is EFAULT. Nothing is ever opened.
int kernel_says(std::span<const std::byte> how) {
  const long result = ::syscall(SYS_openat2, AT_FDCWD, nullptr, how.data(), how.size());
  require(result < 0, "no path, no file");
  return errno;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Exactly as long as the caller says: what is read beyond it is seen.
  std::vector<std::byte> bytes(size);
  if (size != 0) std::memcpy(bytes.data(), data, size);
  open_how how{};
  const int error = broker::decode_open_how(bytes, how);

  require(error == 0 || error == EINVAL || error == E2BIG || error == EAGAIN,
          "one of the kernel's own answers");
  const int native = kernel_says(bytes);
  require(native == (error == 0 ? EFAULT : error), "the kernel's own verdict");

  if (error != 0) return 0;
  require(broker::open_flags_error(how.flags) == 0, "flags that every open takes");
  require((how.flags >> 32) == 0 && (how.mode & ~07777ULL) == 0, "nothing is lost in an int and a mode_t");
  // What was taken is what is asked for, in the first version of the struct too.
  open_how again{};
  require(broker::decode_open_how(std::as_bytes(std::span(&how, 1)), again) == 0, "taken once, taken again");
  require(std::memcmp(&how, &again, sizeof how) == 0, "and the same");
  return 0;
}
