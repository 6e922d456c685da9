// Reading the plugin's memory: once a call, into our own buffer. What was read is the call; memory is never
// looked at again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "supervisor/base/ids.h"

namespace secbox::sys {

class TargetMemory {
 public:
  virtual ~TargetMemory() = default;
  // Copies up to out.size() bytes; the number copied before an unmapped page, or -errno (EFAULT when nothing
  // could be read, EPERM when the target cannot be read at all).
  virtual std::int64_t read(ThreadId tid, TargetAddress address, std::span<std::byte> out) = 0;
  // Writes all of `data`; 0 or -errno.
  virtual int write(ThreadId tid, TargetAddress address, std::span<const std::byte> data) = 0;
};

class LinuxTargetMemory final : public TargetMemory {
 public:
  std::int64_t read(ThreadId tid, TargetAddress address, std::span<std::byte> out) override;
  int write(ThreadId tid, TargetAddress address, std::span<const std::byte> data) override;
};

inline constexpr std::size_t kMaxPath = 4096;  // PATH_MAX, with its NUL

// A NUL-terminated string of less than `limit` bytes. 0, or the errno that the kernel would give: EFAULT,
// ENAMETOOLONG.
[[nodiscard]] int read_string(TargetMemory& memory, ThreadId tid, TargetAddress address, std::size_t limit,
                              std::string& out);

// Exactly sizeof(T) bytes. 0 or an errno.
template <typename T>
[[nodiscard]] int read_object(TargetMemory& memory, ThreadId tid, TargetAddress address, T& out) {
  const auto bytes = std::as_writable_bytes(std::span(&out, 1));
  const std::int64_t got = memory.read(tid, address, bytes);
  if (got < 0) return static_cast<int>(-got);
  return static_cast<std::size_t>(got) == sizeof(T) ? 0 : 14;  // EFAULT
}

}  // namespace secbox::sys
