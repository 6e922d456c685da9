// Strong types for numbers that must not be mixed up.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace secbox {

// A thread of the plugin, as seccomp names it: a TID in the supervisor's pid namespace, not a process id.
struct ThreadId {
  pid_t value = 0;
  auto operator<=>(const ThreadId&) const = default;
};

// A thread group (process) of the plugin.
struct ProcessId {
  pid_t value = 0;
  auto operator<=>(const ProcessId&) const = default;
};

// A descriptor number *in the plugin*. Never usable as a descriptor here.
struct TargetFd {
  int value = -1;
  auto operator<=>(const TargetFd&) const = default;
};

// An address in the plugin's memory.
struct TargetAddress {
  std::uint64_t value = 0;
  [[nodiscard]] bool is_null() const { return value == 0; }
};

}  // namespace secbox
