// What two runs showed, against what the case says.
#pragma once

#include <vector>

#include "tools/harness/fixture.h"
#include "tools/harness/observation.h"
#include "tools/harness/test_result.h"

namespace secbox::harness {

// Without secbox everything that is forbidden has to happen: else the fixture proves nothing.
[[nodiscard]] std::vector<Failure> judge_native(const Case& c, const Observation& seen);
[[nodiscard]] std::vector<Failure> judge_boxed(const Case& c, const Observation& seen);

}  // namespace secbox::harness
