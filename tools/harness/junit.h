// A JUnit report: a suite a fixture, a case a test.
#pragma once

#include <string>

#include "tools/harness/harness.h"

namespace secbox::harness {

[[nodiscard]] std::string junit_report(const Report& report);

}  // namespace secbox::harness
