// TAP 14, for people and for whatever reads it.
#pragma once

#include <string>

#include "tools/harness/harness.h"

namespace secbox::harness {

[[nodiscard]] std::string tap_head(const Suite& suite);
[[nodiscard]] std::string tap_line(const Suite& suite, std::size_t number, const TestResult& result);
// Comments: how many attacks of each class were stopped.
[[nodiscard]] std::string tap_tail(const Report& report);

}  // namespace secbox::harness
