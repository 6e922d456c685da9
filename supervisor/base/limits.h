// What a plugin may use up, as values: read by manifest and command line, enforced by launch and limits.
// nullopt everywhere means: no limit.
#pragma once

#include <cstdint>
#include <optional>

namespace secbox {

enum class OnLimit : std::uint8_t { Warn, Throttle, Terminate };

// The defaults are those of a manifest that says nothing. All but file_size and open_files, which the kernel
// keeps for each process, are for all processes of the session together.
struct Limits {
  std::optional<std::uint64_t> memory_bytes = 500'000'000;
  std::optional<unsigned> memory_warn_percent = 80;
  OnLimit on_memory = OnLimit::Terminate;
  std::optional<unsigned> cpu_percent = 80;  // of one core, over some seconds
  OnLimit on_cpu = OnLimit::Warn;
  std::optional<std::uint64_t> cpu_time_ms;
  std::optional<std::uint64_t> file_size_bytes = 100'000'000;
  std::optional<unsigned> pids = 1024;  // processes and threads
  std::optional<unsigned> open_files;

  [[nodiscard]] static Limits none() {
    return {.memory_bytes = {},
            .memory_warn_percent = {},
            .cpu_percent = {},
            .cpu_time_ms = {},
            .file_size_bytes = {},
            .pids = {},
            .open_files = {}};
  }
};

struct Timeouts {
  std::optional<std::uint64_t> init_ms = 30'000;  // until the first program has been started and verified
  std::optional<std::uint64_t> hook_ms = 5'000;
  std::optional<std::uint64_t> run_ms = 300'000;
  std::optional<std::uint64_t> heartbeat_ms;
};

}  // namespace secbox
