// What does not go together, although each grant by itself is well formed.
#pragma once

#include <vector>

#include "manifest/diagnostic.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::manifest {

// What may be both changed and run is code of the plugin's own choosing: an error (SBX-V201), and a warning
// (SBX-V202) where one of the grants is for everything, as in a manifest for observing, or where both are one
// grant of the verb "*". Only sure overlaps
// are reported: equal patterns, a path or the text of a pattern that the other matches, a subtree and what
// begins in it.
// `columns` holds one number a rule.
void lint_overlaps(const std::vector<checker::Rule>& rules, const std::vector<int>& columns,
                   Diagnostics& diagnostics);

// A denial for a module that the whole plugin is denied anyway (SBX-V207). Only sure ones are reported.
void lint_denials(const std::vector<checker::Rule>& denials, const std::vector<int>& columns,
                  const std::vector<checker::Rule>& rules, Diagnostics& diagnostics);

}  // namespace secbox::manifest
