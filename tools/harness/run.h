// One run of a case's command in a world of its own, natively or under secbox.
#pragma once

#include <string>

#include "tools/harness/fixture.h"
#include "tools/harness/observation.h"
#include "tools/harness/user.h"
#include "tools/harness/world.h"

namespace secbox::harness {

struct RunPlan {
  const Fixture* fixture = nullptr;
  const Case* one = nullptr;
  const Route* route = nullptr;
  User user{};
  Way way = Way::Native;
  std::string secbox{};     // the program, where the user can start it
  std::string directory{};  // of the run: exists, empty
  std::string build{};
};

// This process must have adopt_orphans() behind it and no children: all are ended in the end.
[[nodiscard]] Observation observe(const RunPlan& plan);

}  // namespace secbox::harness
