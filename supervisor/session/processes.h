// The session's processes, found by their mark, and their end. Used by the supervisor when the plugin ends,
// and by the guardian when the supervisor does: nothing here allocates, once open() has returned.
#pragma once

#include <sys/types.h>

#include <functional>

#include "supervisor/base/result.h"
#include "supervisor/limits/cgroup.h"
#include "supervisor/sys/target.h"

namespace secbox::session {

class Processes {
 public:
  // Opens /proc now: at the end the plugin may have seen to it that nothing can be opened any more.
  [[nodiscard]] static Result<Processes> open(const sys::Procfs& proc, const sys::SessionMark& mark);

  // Kills every process of the session, `except` not counted, until a look finds none, or 10 s have passed
  // (what is stuck in the kernel, D, dies when it comes back). `gone`, where given, is proof that none is
  // left; a look is none: a process that forks and ends at once can be missed by it.
  void end(pid_t except, const std::function<bool()>& gone = {}) const;
  // Kills all that a look or two find, and waits for nothing.
  void kill(pid_t except) const;
  [[nodiscard]] int descriptor() const { return ::dirfd(dir_.get()); }
  // The number that was given out last on this host, or 0.
  [[nodiscard]] pid_t newest() const;

 private:
  Processes(const sys::Procfs& proc, const sys::SessionMark& mark) : proc_(proc), mark_(mark) {}
  // True where it was a living process of the session.
  bool kill_if_own(pid_t pid) const;
  // True where one was alive, or /proc could not be read.
  bool kill_all(pid_t except) const;
  void chase_newest(const std::function<bool()>& gone) const;

  const sys::Procfs& proc_;
  sys::SessionMark mark_;
  sys::Directory dir_;
};

// Removes the group once the last process has left it, within a second. Allocates nothing.
void remove_group(const limits::Cgroup& group);

}  // namespace secbox::session
