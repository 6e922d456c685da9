// The environment that passes into the box: what env:read grants, and nothing by accident.
#pragma once

#include <string>
#include <vector>

#include "supervisor/checker/ruleset.h"

namespace secbox::launch {

struct Environment {
  std::vector<std::string> passed;     // "NAME=value"
  std::vector<std::string> held_back;  // names of what is not granted
};

// Judges each "NAME=value" of `environ`. With `keep_all` (audit mode) nothing is taken away, only reported.
[[nodiscard]] Environment filter_environment(char* const* environ, const checker::Ruleset& rules,
                                             bool keep_all);
// Sets or replaces one variable.
void set_variable(Environment& environment, const std::string& name, const std::string& value);

}  // namespace secbox::launch
