// What openat2(2) refuses before it looks at a path, held against the kernel of this machine.
#include "supervisor/broker/open_how.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace secbox::broker {
namespace {

constexpr std::uint64_t kTmpfileBit = O_TMPFILE & ~O_DIRECTORY;

struct Case {
  const char* name;
  open_how how;
  int error;
  std::vector<std::uint8_t> beyond{};
};

const Case kCases[] = {
    {"read", {O_RDONLY | O_CLOEXEC, 0, 0}, 0},
    {"no access at all", {O_ACCMODE, 0, 0}, 0},
    {"create", {O_CREAT | O_WRONLY, 0644, 0}, 0},
    {"create with every mode bit", {O_CREAT | O_WRONLY, 07777, 0}, 0},
    {"a mode that is none", {O_CREAT | O_WRONLY, 010000, 0}, EINVAL},
    {"a mode beyond 32 bits", {O_CREAT | O_WRONLY, 1ULL << 32 | 0644, 0}, EINVAL},
    {"a mode without creating", {O_RDONLY, 0644, 0}, EINVAL},
    {"an unknown flag", {1ULL << 30, 0, 0}, EINVAL},
    {"a flag beyond 32 bits", {1ULL << 32, 0, 0}, EINVAL},
    {"a directory to create", {O_CREAT | O_DIRECTORY, 0755, 0}, EINVAL},
    {"unnamed", {O_TMPFILE | O_RDWR, 0600, 0}, 0},
    {"unnamed and read-only", {O_TMPFILE | O_RDONLY, 0600, 0}, EINVAL},
    {"unnamed without its directory", {kTmpfileBit | O_RDWR, 0600, 0}, EINVAL},
    {"unnamed and created", {O_TMPFILE | O_CREAT | O_RDWR, 0600, 0}, EINVAL},
    {"a handle", {O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC, 0, 0}, 0},
    {"a handle to write", {O_PATH | O_RDWR, 0, 0}, EINVAL},
    {"a handle to create", {O_PATH | O_CREAT, 0644, 0}, EINVAL},
    {"beneath", {O_RDONLY, 0, RESOLVE_BENEATH}, 0},
    {"two roots", {O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT}, EINVAL},
    {"an unknown limit", {O_RDONLY, 0, 0x40}, EINVAL},
    {"cached", {O_RDONLY, 0, RESOLVE_CACHED}, 0},
    {"cached and created", {O_CREAT | O_WRONLY, 0644, RESOLVE_CACHED}, EAGAIN},
    {"cached and truncated", {O_TRUNC | O_WRONLY, 0, RESOLVE_CACHED}, EAGAIN},
    {"cached, created and wrong", {O_CREAT | O_WRONLY, 010000, RESOLVE_CACHED}, EINVAL},
    {"a newer struct, not used", {O_RDONLY, 0, 0}, 0, {0, 0, 0, 0, 0, 0, 0, 0}},
    {"a newer struct, used", {O_RDONLY, 0, 0}, E2BIG, {0, 0, 0, 0, 0, 0, 0, 1}},
    {"a newer struct, used and wrong", {1ULL << 40, 0, 0}, E2BIG, {1}},
};

std::vector<std::byte> bytes_of(const Case& entry) {
  std::vector<std::byte> bytes(sizeof entry.how + entry.beyond.size());
  std::memcpy(bytes.data(), &entry.how, sizeof entry.how);
  if (!entry.beyond.empty())
    std::memcpy(bytes.data() + sizeof entry.how, entry.beyond.data(), entry.beyond.size());
  return bytes;
}

// With a path that cannot be read: whatever the kernel takes is EFAULT.
int kernel_says(std::span<const std::byte> how) {
  return ::syscall(SYS_openat2, AT_FDCWD, nullptr, how.data(), how.size()) < 0 ? errno : 0;
}

TEST(OpenHow, IsTakenAndRefusedAsByTheKernel) {
  for (const Case& entry : kCases) {
    const std::vector<std::byte> bytes = bytes_of(entry);
    open_how how{};
    EXPECT_EQ(decode_open_how(bytes, how), entry.error) << entry.name;
    EXPECT_EQ(kernel_says(bytes), entry.error == 0 ? EFAULT : entry.error) << entry.name;
    if (entry.error == 0) {
      EXPECT_EQ(std::memcmp(&how, &entry.how, sizeof how), 0) << entry.name;
    }
  }
}

TEST(OpenHow, EverySingleBitAsByTheKernel) {
  for (int member = 0; member < 3; ++member) {
    for (int bit = 0; bit < 64; ++bit) {
      for (const std::uint64_t flags : {std::uint64_t{0}, std::uint64_t{O_CREAT | O_WRONLY}}) {
        std::uint64_t words[3] = {flags, 0, 0};
        words[member] |= 1ULL << bit;
        const auto bytes = std::as_bytes(std::span(words));
        open_how how{};
        const int error = decode_open_how(bytes, how);
        EXPECT_EQ(kernel_says(bytes), error == 0 ? EFAULT : error) << "member " << member << " bit " << bit;
      }
    }
  }
}

TEST(OpenHow, SizesOutsideOfTheKernelsAreRefused) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{23}}) {
    EXPECT_EQ(open_how_size_error(size), EINVAL) << size;
    open_how how{};
    EXPECT_EQ(decode_open_how(std::vector<std::byte>(size), how), EINVAL) << size;
  }
  EXPECT_EQ(open_how_size_error(24), 0);
  EXPECT_EQ(open_how_size_error(4096), 0);
  EXPECT_EQ(open_how_size_error(4097), E2BIG);
  EXPECT_EQ(open_how_size_error(~0ULL), E2BIG);
}

}  // namespace
}  // namespace secbox::broker
