// The Landlock floor of a session, compiled from its static rules. It grants only what the kernel itself
// performs for the plugin: starting approved programs, and opening the other end of its pseudo-terminals.
// Every other file is opened by the supervisor, so the plugin's own rights to the file system, to TCP and to
// processes outside are none at all.
#pragma once

#include "supervisor/checker/ruleset.h"
#include "supervisor/sys/landlock.h"

namespace secbox::launch {

[[nodiscard]] sys::LandlockPlan compile_floor(const checker::Ruleset& rules);

// The layer above, which plugin and supervisor take together before they part: Landlock lets nobody look into
// a process that is not in its own domain or in one nested below. It holds what no session's plugin may ever
// have done for it, and keeps the supervisor out of every other process of the host. File rights are not in
// it; see docs/adr/0005-supervisor-confinement.md.
[[nodiscard]] sys::LandlockPlan compile_session_layer(const checker::Ruleset& rules);

}  // namespace secbox::launch
