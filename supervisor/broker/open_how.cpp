#include "supervisor/broker/open_how.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace secbox::broker {

namespace {

constexpr std::uint64_t kTmpfileBit = O_TMPFILE & ~O_DIRECTORY;
// The C library's O_LARGEFILE is 0 where every file may be large; the kernel's own is what callers without it
// pass.
#if defined(__aarch64__)
constexpr std::uint64_t kLargeFile = 0400000;
#else
constexpr std::uint64_t kLargeFile = 0100000;
#endif
constexpr std::uint64_t kFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK |
                                 O_DSYNC | O_ASYNC | O_DIRECT | kLargeFile | O_DIRECTORY | O_NOFOLLOW |
                                 O_NOATIME | O_CLOEXEC | O_SYNC | O_PATH | O_TMPFILE;
constexpr std::uint64_t kHandleFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr std::uint64_t kResolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
                                   RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;

constexpr bool has_all(std::uint64_t value, std::uint64_t bits) { return (value & bits) == bits; }

}  // namespace

int open_how_size_error(std::uint64_t size) {
  if (size < sizeof(open_how)) return EINVAL;
  return size > kMaxOpenHow ? E2BIG : 0;
}

int open_flags_error(std::uint64_t flags) {
  if (has_all(flags, O_CREAT | O_DIRECTORY)) return EINVAL;
  const bool unnamed = (flags & kTmpfileBit) != 0;
  if (unnamed && (!has_all(flags, O_DIRECTORY) || (flags & O_ACCMODE) == O_RDONLY)) return EINVAL;
  return 0;
}

int decode_open_how(std::span<const std::byte> bytes, open_how& out) {
  if (const int error = open_how_size_error(bytes.size()); error != 0) return error;
  // It grows at its end: a longer one is fine while what we do not know is zero. See openat2(2).
  const auto beyond = bytes.subspan(sizeof out);
  if (std::any_of(beyond.begin(), beyond.end(), [](std::byte byte) { return byte != std::byte{0}; }))
    return E2BIG;
  std::memcpy(&out, bytes.data(), sizeof out);

  const bool takes_mode = (out.flags & (O_CREAT | kTmpfileBit)) != 0;
  if ((out.flags & ~kFlags) != 0 || (out.resolve & ~kResolve) != 0) return EINVAL;
  if ((out.mode & (takes_mode ? ~std::uint64_t{07777} : ~std::uint64_t{0})) != 0) return EINVAL;
  if (has_all(out.resolve, RESOLVE_BENEATH | RESOLVE_IN_ROOT)) return EINVAL;
  if (has_all(out.flags, O_PATH) && (out.flags & ~kHandleFlags) != 0) return EINVAL;
  if (const int error = open_flags_error(out.flags); error != 0) return error;
  if (has_all(out.resolve, RESOLVE_CACHED) && (out.flags & (O_TRUNC | O_CREAT | kTmpfileBit)) != 0)
    return EAGAIN;
  return 0;
}

}  // namespace secbox::broker
