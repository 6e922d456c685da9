// Makes a process end with an exit status of our choice, whatever it is doing: its parent is somebody else
// and would take SIGKILL for the plugin's own death.
#pragma once

#include "supervisor/base/ids.h"
#include "supervisor/base/result.h"

namespace secbox::sys {

// Stops the process's first thread with ptrace(2) and lets it go on at a call of exit_group(status), with
// every signal blocked. The call is then held by the session's filter like any other. An Error where that was
// not possible within `patience_ms`: it is being traced, or in a call that cannot be interrupted; it may have
// been killed then. Must be called by a thread that traces nothing else.
[[nodiscard]] Result<void> force_exit(ProcessId process, int status, int patience_ms);

}  // namespace secbox::sys
