// A process that does nothing but wait for the supervisor's end. Where that came by SIGKILL or a crash, it
// ends the session's processes: nothing else would. They are not the supervisor's children, and their held
// calls failing (ENOSYS) does not stop a program that makes none.
//
// It shares the supervisor's memory, not its descriptors: a copy would cost each start half a millisecond.
// While the supervisor lives it makes raw system calls only; afterwards it takes no lock and allocates
// nothing, since a thread may have died in the middle of either.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/limits/cgroup.h"
#include "supervisor/session/processes.h"
#include "supervisor/sys/target.h"

namespace secbox::session {

class Guardian {
 public:
  // Starts it. Must not be destroyed before this process ends. `group` is removed at the end as well.
  // After `run_ms`, if that is not 0, a stopped supervisor is made to go on: the plugin's time is over.
  [[nodiscard]] Result<void> start(const sys::Procfs& proc, const sys::SessionMark& mark,
                                   const limits::Cgroup& group, std::uint64_t run_ms);
  [[nodiscard]] pid_t pid() const { return pid_; }
  // Nothing is left to guard.
  void dismiss();

 private:
  static int run(void* guardian);
  void guard() const;

  std::optional<Processes> processes_;
  const limits::Cgroup* group_ = nullptr;
  std::vector<int> kept_;  // descriptors that it needs, in order
  UniqueFd supervisor_;
  pid_t supervisor_pid_ = 0;
  std::uint64_t run_ms_ = 0;
  pid_t pid_ = 0;
};

}  // namespace secbox::session
