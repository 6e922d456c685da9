// Makes a process end with an exit status of our choice, whatever it is doing: its parent is somebody else
// and would take SIGKILL for the plugin's own death.
#pragma once

#include <functional>

#include "supervisor/base/ids.h"
#include "supervisor/base/result.h"
#include "supervisor/sys/target.h"

namespace secbox::sys {

// Stops the process's first thread, or one that lives where that has ended, with ptrace(2) and lets it go on
// at a call of exit_group(status), with every signal blocked. `release` is called once the stop is asked for:
// whatever keeps the process in the kernel (a held call, a vfork(2) child) can be ended then, and it goes no
// further. The call of exit_group is held by the session's filter like any other. An Error where that was not
// possible within `patience_ms`: it is being traced, or in a call that cannot be interrupted; it may have
// been killed then. Must be called by a thread that traces nothing else.
[[nodiscard]] Result<void> force_exit(const Procfs& proc, ProcessId process, int status, int patience_ms,
                                      const std::function<void()>& release);

}  // namespace secbox::sys
