// Usage as /proc tells it, process by process: what counts where the host gives no cgroup. Also what a cgroup
// does not tell: read and written bytes.
//
// Its gaps, which a cgroup has not: what a process that lived between two looks has used, unless its parent
// waited for it; memory in descriptors that are under way in a Unix socket; shared memory that is mapped but
// in no process's page table (madvise(2), MADV_DONTNEED), and has no descriptor.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>

#include "supervisor/base/result.h"
#include "supervisor/limits/usage.h"
#include "supervisor/sys/target.h"

namespace secbox::limits {

class ProcessMeter {
 public:
  // Opens /proc now. Above `careful_above` bytes shared pages are told apart, which takes the kernel longer.
  [[nodiscard]] static Result<ProcessMeter> open(const sys::Procfs& proc, const sys::SessionMark& mark,
                                                 std::uint64_t careful_above);

  // Looks at every process of the session.
  void sample(Usage& usage);
  // The same for one process that is about to end, and for the children that it waited for.
  void sample_last(pid_t pid, Usage& usage);

 private:
  struct Process {
    std::uint64_t started = 0;  // clock ticks since boot: tells a number from its next owner
    std::uint64_t own_ticks = 0, with_children_ticks = 0;
    std::uint64_t anonymous_bytes = 0, resident_bytes = 0;
    std::uint64_t tasks = 0;
    std::uint64_t read_bytes = 0, written_bytes = 0;
    pid_t parent = 0;
    bool seen = false, zombie = false;
  };
  struct Memory {
    std::uint64_t anonymous_bytes = 0, shared_bytes = 0;  // neither is backed by a file
  };

  ProcessMeter(const sys::Procfs& proc, const sys::SessionMark& mark) : proc_(proc), mark_(mark) {}
  bool read(pid_t pid, Process& process) const;
  void read_io(pid_t pid, Process& process) const;
  void account(Usage& usage);
  Memory own_part(pid_t pid) const;
  bool has_memory_of(pid_t parent, pid_t pid) const;
  std::uint64_t look_closer() const;
  std::uint64_t memory_file_bytes() const;

  const sys::Procfs& proc_;
  sys::SessionMark mark_;
  sys::Directory dir_;
  std::uint64_t careful_above_ = 0;
  std::unordered_map<pid_t, Process> processes_;
  std::uint64_t gone_ticks_ = 0;  // own time of processes that are no more
  std::uint64_t memory_files_ = 0;
  unsigned looks_ = 0;
};

}  // namespace secbox::limits
