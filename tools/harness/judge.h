// What two runs showed, against what the case says.
#pragma once

#include <vector>

#include "tools/harness/fixture.h"
#include "tools/harness/observation.h"
#include "tools/harness/test_result.h"

namespace secbox::harness {

// Codes: `secbox help SBX-T001`. The last one is for fixtures that cannot be set up.
inline constexpr const char* kNotReal = "SBX-T001";
inline constexpr const char* kEscaped = "SBX-T002";
inline constexpr const char* kDenialMissing = "SBX-T003";
inline constexpr const char* kAllowMissing = "SBX-T004";
inline constexpr const char* kWrongExit = "SBX-T005";
inline constexpr const char* kGoldenDiffers = "SBX-T006";
inline constexpr const char* kProcessLeft = "SBX-T007";
inline constexpr const char* kNoSetup = "SBX-T008";
inline constexpr const char* kDeniedTooMuch = "SBX-T009";

// Without secbox everything that is forbidden has to happen: else the fixture proves nothing.
[[nodiscard]] std::vector<Failure> judge_native(const Case& c, const Observation& seen);
[[nodiscard]] std::vector<Failure> judge_boxed(const Case& c, const Observation& seen);

}  // namespace secbox::harness
