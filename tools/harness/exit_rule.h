// Which ways to end are the expected ones.
#pragma once

#include <string>
#include <vector>

namespace secbox::harness {

struct ExitRule {
  bool any = true;
  std::vector<int> statuses{};  // exit statuses
  std::vector<int> signals{};   // deaths by signal

  // `wait_status` as waitpid(2) gives it.
  [[nodiscard]] bool holds(int wait_status) const;
  [[nodiscard]] std::string text() const;
};

// "exit status 3", "killed by SIGKILL".
[[nodiscard]] std::string ending_text(int wait_status);

}  // namespace secbox::harness
