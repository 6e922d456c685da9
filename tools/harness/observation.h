// All that one run showed: of the command itself, and of the world around it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tools/harness/audit_log.h"
#include "tools/harness/variables.h"

namespace secbox::harness {

struct Seen {
  bool happened = false;
  std::string text{};  // what was seen, or that it was not
};

struct Observation {
  std::string setup_problem{};  // "": the command was started
  int wait_status = 0;
  bool timed_out = false;
  std::string out{}, err{};
  std::string outside{};  // what the outside process said
  std::vector<Seen> forbidden{}, required{};
  std::optional<AuditLog> log{};
  std::string log_text{}, log_problem{};
  Variables variables{};
  std::chrono::milliseconds duration{0};
};

}  // namespace secbox::harness
