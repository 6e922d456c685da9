// What a caller asks of an open, as copied bytes -> the kernel's own verdict on it. Pure: never looks at the
// plugin's memory.
#pragma once

#include <linux/openat2.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace secbox::broker {

inline constexpr std::size_t kMaxOpenHow = 4096;

// Of the struct that openat2(2) is given: 0, EINVAL below its first version, E2BIG beyond a page.
[[nodiscard]] int open_how_size_error(std::uint64_t size);

// Combinations of flags that every open refuses: 0 or EINVAL.
[[nodiscard]] int open_flags_error(std::uint64_t flags);

// `bytes` is the struct in the length that the caller gave it. 0, or the errno that the kernel gives before
// it looks at the path: EINVAL, E2BIG (set members that we do not know), EAGAIN (RESOLVE_CACHED of what
// cannot be cached).
[[nodiscard]] int decode_open_how(std::span<const std::byte> bytes, open_how& out);

}  // namespace secbox::broker
