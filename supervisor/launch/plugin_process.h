// What the process that becomes the plugin does to itself, in order: descriptors, limits, identity, floor,
// filter, exec.
#pragma once

#include <linux/filter.h>
#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "supervisor/base/limits.h"
#include "supervisor/launch/handoff.h"
#include "supervisor/limits/cgroup.h"
#include "supervisor/sys/landlock.h"
#include "supervisor/sys/target.h"

namespace secbox::launch {

// Audit: nothing is blocked, so there is no floor and no capability is given up.
enum class Mode : std::uint8_t { Enforce, Audit };

struct PluginPlan {
  std::string program;  // the file to execute
  std::vector<std::string> argv;
  std::vector<std::string> environment;
  std::span<const sock_filter> filter;
  sys::SessionMark mark;
  int landlock_abi = 0;
  Mode mode = Mode::Enforce;
  sys::LandlockPlan floor;
  Limits limits;  // those that the kernel keeps for each process
  std::optional<rlim_t>
      descriptors;  // the soft limit that the program is to find, where it was raised meanwhile
};

// First step, beside the supervisor's start: control group, descriptors, identity, floor. 0, or the exit code
// to end with (125) after a message on stderr.
[[nodiscard]] int confine_plugin(const PluginPlan& plan, const limits::Cgroup& group, Handoff& handoff,
                                 UniqueFd& floor);
// Second step, once handoff.supervisor_pid is known: the filter, limits, and the program. Returns only on
// failure: the exit code to end with (125, 126, 127), after a message on stderr.
[[nodiscard]] int start_plugin(const PluginPlan& plan, Handoff& handoff, UniqueFd floor);

}  // namespace secbox::launch
