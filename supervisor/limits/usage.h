// What the session's processes have used so far, all together.
#pragma once

#include <cstdint>

namespace secbox::limits {

struct Usage {
  std::uint64_t cpu_ns = 0;        // user and system
  std::uint64_t memory_bytes = 0;  // that only an end of the processes, or swap, gives back: no page cache
  std::uint64_t peak_memory_bytes = 0;
  std::uint64_t tasks = 0;  // processes and threads
  std::uint64_t peak_tasks = 0;
  std::uint64_t read_bytes = 0, written_bytes = 0;  // by read(2), write(2) and the like
  std::uint64_t oom_kills = 0;                      // processes that the kernel ended for lack of memory
  std::uint64_t refused_tasks = 0;                  // forks that the kernel refused, by the limit of tasks
};

}  // namespace secbox::limits
