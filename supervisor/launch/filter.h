// The seccomp program of a session, assembled from the syscall table; launch loads it with raw seccomp(2).
//
// Answers: allow, hold for the supervisor, or (class Absent, verdict Answer) an errno. Any other
// architecture, and x32, is killed; a number that the table does not know is held, and the broker answers
// ENOSYS with a record. Nothing is refused by BPF alone that should be recorded, so the program is the same
// in audit mode.
#pragma once

#include <linux/filter.h>

#include <span>

#include "supervisor/broker/syscall_table.h"

namespace secbox::launch {

struct FilterOptions {
  // The supervisor has CAP_SYS_PTRACE, so PR_SET_DUMPABLE(0) cannot blind it and may pass.
  bool can_read_undumpable = false;
  // Another one's program is for reading alone: no kernel here would let a call of it pass.
  broker::Architecture architecture = broker::kNative;
};

// Lives as long as the process. Equal options, equal bytes.
[[nodiscard]] std::span<const sock_filter> filter_program(const FilterOptions& options);

}  // namespace secbox::launch
