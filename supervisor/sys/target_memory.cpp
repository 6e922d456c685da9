#include "supervisor/sys/target_memory.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace secbox::sys {

namespace {
constexpr std::uint64_t kPage = 4096;

void* remote_pointer(std::uint64_t address) {
  return reinterpret_cast<void*>(address);  // an address in another process: never dereferenced here
}
}  // namespace

std::int64_t LinuxTargetMemory::read(ThreadId tid, TargetAddress address, std::span<std::byte> out) {
  iovec local{.iov_base = out.data(), .iov_len = out.size()};
  // One remote vector a page: the kernel stops at the first vector that faults and reports what it had
  // copied, whereas one vector across an unmapped page may be lost whole.
  constexpr std::size_t kVectors = 8;
  std::array<iovec, kVectors> remote{};
  std::size_t count = 0;
  std::uint64_t at = address.value;
  std::size_t left = out.size();
  while (left > 0 && count < kVectors) {
    const std::size_t chunk = std::min<std::size_t>(left, kPage - (at & (kPage - 1)));
    remote[count++] = iovec{.iov_base = remote_pointer(at), .iov_len = chunk};
    at += chunk;
    left -= chunk;
  }
  local.iov_len = out.size() - left;
  const ssize_t got = ::process_vm_readv(tid.value, &local, 1, remote.data(), count, 0);
  if (got < 0) return -errno;
  if (left == 0 || static_cast<std::size_t>(got) < local.iov_len) return got;
  const std::int64_t rest = read(tid, TargetAddress{at}, out.subspan(local.iov_len));
  return rest < 0 ? got : got + rest;
}

int LinuxTargetMemory::write(ThreadId tid, TargetAddress address, std::span<const std::byte> data) {
  iovec local{.iov_base = const_cast<std::byte*>(data.data()), .iov_len = data.size()};
  iovec remote{.iov_base = remote_pointer(address.value), .iov_len = data.size()};
  const ssize_t put = ::process_vm_writev(tid.value, &local, 1, &remote, 1, 0);
  if (put < 0) return -errno;
  return static_cast<std::size_t>(put) == data.size() ? 0 : -EFAULT;
}

int read_string(TargetMemory& memory, ThreadId tid, TargetAddress address, std::size_t limit,
                std::string& out) {
  out.clear();
  if (address.is_null()) return EFAULT;
  // Most paths are short: a first look of 256 bytes, then the rest in one go.
  std::size_t want = std::min<std::size_t>(limit, 256);
  while (true) {
    const std::size_t have = out.size();
    out.resize(want);
    const std::int64_t got = memory.read(tid, TargetAddress{address.value + have},
                                         std::as_writable_bytes(std::span(out).subspan(have)));
    if (got < 0) {
      out.clear();
      return static_cast<int>(-got);
    }
    const std::size_t end = have + static_cast<std::size_t>(got);
    if (const void* nul = std::memchr(out.data() + have, 0, static_cast<std::size_t>(got)); nul != nullptr) {
      out.resize(static_cast<std::size_t>(static_cast<const char*>(nul) - out.data()));
      return 0;
    }
    if (end < want) return EFAULT;
    if (want == limit) return ENAMETOOLONG;
    want = limit;
  }
}

}  // namespace secbox::sys
