// The seccomp program of a session, made from the syscall table with libseccomp and loaded with raw
// seccomp(2).
#pragma once

#include <linux/filter.h>

#include <vector>

#include "supervisor/base/result.h"

namespace secbox::launch {

struct FilterOptions {
  bool audit_mode = false;           // nothing is refused by BPF itself: what it would refuse is notified
  bool can_read_undumpable = false;  // the supervisor has CAP_SYS_PTRACE: PR_SET_DUMPABLE(0) may pass
};

// Allow / notify / errno program for the native architecture; any other (i386, x32) is killed. A number that
// the table does not know is notified (the broker answers ENOSYS and records it). Deterministic: equal
// options, equal bytes.
[[nodiscard]] Result<std::vector<sock_filter>> compile_filter(const FilterOptions& options);

}  // namespace secbox::launch
