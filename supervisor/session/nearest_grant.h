// The grant that a denial line points at ("nearest is ..."), from the rules of the run.
#pragma once

#include <memory>

#include "supervisor/audit/denial_message.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::session {

// Looks at every rule: for the few denials that are shown, never for a decision.
[[nodiscard]] audit::NearestGrant nearest_grant(std::shared_ptr<const checker::Ruleset> rules);

}  // namespace secbox::session
