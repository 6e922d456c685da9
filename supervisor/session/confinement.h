// What the supervisor takes from its own process, so that whoever takes it over has little. The filter of its
// calls comes last, see launch/supervisor_filter.h.
#pragma once

#include <string_view>

#include "supervisor/base/result.h"
#include "supervisor/sys/target.h"

namespace secbox::session {

// Not to be looked into, no core file, no capability beyond what it acts with, no way to new ones.
[[nodiscard]] Result<void> give_up_rights();

// Overwrites what /proc shows of the command line and the environment that this process was started with: a
// secret in either would stay there for as long as the session lasts. `title` is what is shown instead.
// getenv(3) finds nothing afterwards.
void forget_start(const sys::Procfs& proc, std::string_view title);

// Closes what the host left open for whoever is started: all of ours is close-on-exec. The standard streams
// stay.
[[nodiscard]] Result<void> close_inherited(const sys::Procfs& proc);

}  // namespace secbox::session
