// Which records of a log an expectation is about.
#pragma once

#include <string_view>

#include "tools/harness/audit_log.h"
#include "tools/harness/expectation.h"
#include "tools/harness/variables.h"

namespace secbox::harness {

// "*" stands for any text, "/" too; all else for itself.
[[nodiscard]] bool matches_glob(std::string_view pattern, std::string_view text);
[[nodiscard]] bool matches(const Expectation& expectation, const LogRecord& record,
                           const Variables& variables);
// Those with this decision.
[[nodiscard]] std::size_t count_matches(const Expectation& expectation, std::string_view decision,
                                        const AuditLog& log, const Variables& variables);

}  // namespace secbox::harness
