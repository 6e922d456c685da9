// What failed, as SARIF 2.1.0: a result a case and code, at the case's line of expect.json.
#pragma once

#include <string>

#include "tools/harness/harness.h"

namespace secbox::harness {

// Files are named relative to `base` (absolute) where they are below it, as services that show them want it.
[[nodiscard]] std::string sarif_report(const Report& report, const std::string& base);

}  // namespace secbox::harness
