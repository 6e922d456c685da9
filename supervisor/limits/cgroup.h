// A control group of the session's own, where the host lets this user make one: version 2, or the memory,
// pids and cpu hierarchies of version 1, each by itself. What has no group is counted by ProcessMeter.
//
// Made before the plugin starts; the process that becomes the plugin enters it, and everything that it starts
// is in it. Nothing here needs a path once make() has returned.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "supervisor/base/limits.h"
#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"
#include "supervisor/limits/usage.h"

namespace secbox::limits {

class Cgroup {
 public:
  // What the limits need, as far as the host has it; nothing where it has none: see what(). `mount` is where
  // control groups are mounted ("/sys/fs/cgroup"), `own` the text of /proc/self/cgroup.
  [[nodiscard]] static Cgroup make(const Limits& limits, const std::string& name,
                                   const std::string& mount = "/sys/fs/cgroup", std::string own = {});
  Cgroup() = default;
  Cgroup(Cgroup&&) noexcept = default;
  Cgroup& operator=(Cgroup&&) noexcept = default;
  ~Cgroup() = default;  // the group stays: see remove()

  // Puts the calling process into it. 0 or an errno. Async-signal-safe.
  [[nodiscard]] int enter_self() const;
  // For the process that stays outside.
  void forget_entry();
  // Fills in what the group tells; true for `memory`, `cpu`, `tasks` where it did.
  struct Told {
    bool memory = false, cpu = false, tasks = false;
  };
  Told sample(Usage& usage) const;
  [[nodiscard]] bool keeps_tasks() const { return keeps_tasks_; }
  [[nodiscard]] bool keeps_cpu() const { return keeps_cpu_; }
  // "cgroup2", "cgroup1", or "" where there is none.
  [[nodiscard]] const char* what() const;
  // Removes it. False while there is still a process in it. Allocates nothing.
  bool remove() const;
  // What a process that removes it must keep open.
  [[nodiscard]] std::vector<int> descriptors_to_remove() const;

 private:
  struct Group {
    UniqueFd parent;  // the directory that holds it
    UniqueFd entry;   // its cgroup.procs
  };

  bool make_v2(const Limits& limits, const std::string& mount, const std::string& own);
  void make_v1(const Limits& limits, const std::string& mount, const std::string& own);

  std::string name_;
  std::vector<Group> groups_;
  bool v2_ = false, keeps_tasks_ = false, keeps_cpu_ = false;
  std::uint64_t memory_limit_ = 0;
  UniqueFd memory_usage_, memory_stat_, memory_events_, cpu_usage_, tasks_now_, tasks_events_;
};

}  // namespace secbox::limits
