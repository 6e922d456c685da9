// Starting a program as the tested user, with nothing of the harness in it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"
#include "tools/harness/user.h"

namespace secbox::harness {

struct SpawnPlan {
  std::vector<std::string> argv{};
  std::string directory{};
  std::vector<std::string> environment{};  // "NAME=value"
  User user{};
  int in = -1, out = -1, err = -1;  // -1: /dev/null
};

// In a session of its own: no terminal, and a signal to its group stays with it. An Error also where the
// program cannot be executed.
[[nodiscard]] Result<pid_t> spawn(const SpawnPlan& plan);

}  // namespace secbox::harness
