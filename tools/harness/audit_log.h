// The audit log of a run, as far as tests look at it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/result.h"

namespace secbox::harness {

struct LogRecord {
  std::string event{}, op{}, syscall{}, permission{}, decision{}, errno_name{}, rule{}, layer{}, reason{};
  std::vector<std::string> targets{};  // every way to name what was acted on
  // "file:read /etc/shadow EACCES (rule default)", for people.
  [[nodiscard]] std::string text() const;
};

struct AuditLog {
  std::vector<LogRecord> records{};
  bool has_start = false, has_end = false;
};

// An Error where a line is no JSON object.
[[nodiscard]] Result<AuditLog> parse_audit_log(std::string_view text);

}  // namespace secbox::harness
