// A TestResult as a text, to carry it from the process that made a test to the one that reports it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/harness/test_result.h"

namespace secbox::harness {

[[nodiscard]] std::string result_to_text(const TestResult& result);
// nullopt where the text is not a whole one.
[[nodiscard]] std::optional<TestResult> result_from_text(std::string_view text);

}  // namespace secbox::harness
