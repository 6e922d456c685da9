// What this kernel and this user really get, found by trying it: versions lie (backports, security modules,
// containers). Used by `secbox doctor`, and by whoever must choose between two ways of doing something.
#pragma once

#include <cstdint>
#include <string>

namespace secbox::sys {

struct Probe {
  enum class State : std::uint8_t { Untested, Works, Fails };  // Untested: what it needs failed before it
  State state = State::Untested;
  int error = 0;  // Fails: the errno

  [[nodiscard]] bool works() const { return state == State::Works; }
};

enum class CgroupKind : std::uint8_t { None, V1, V2, Hybrid };

struct HostFeatures {
  std::string kernel;  // uname -r
  Probe procfs;        // another process can be seen in /proc

  // A seccomp listener. EBUSY: another supervisor (a container runtime, secbox itself) has one already.
  Probe listener;
  Probe wait_killable;  // Linux 5.19
  Probe add_fd;         // 5.9
  Probe add_fd_send;    // 5.14
  Probe sync_wake_up;   // 6.6

  int landlock_abi = 0;

  // Into a child of this process, and into a process of the same user that is no descendant.
  Probe child_memory;
  Probe child_descriptors;
  Probe child_trace;
  Probe beside_memory;
  Probe beside_descriptors;
  Probe beside_trace;
  int yama_scope = -1;  // kernel.yama.ptrace_scope, -1 without Yama

  Probe pidfd_thread;     // 6.9
  Probe openat2;          // 5.6
  Probe user_namespaces;  // never needed; told because other sandboxes need them

  CgroupKind cgroup = CgroupKind::None;
  std::string cgroup_directory;    // of this process: cgroup v2, else the memory hierarchy of v1
  std::string cgroup_controllers;  // usable in that directory, space between
  Probe cgroup_writable;           // a group can be made there

  [[nodiscard]] bool can_supervise_child() const {
    return child_memory.works() && child_descriptors.works() && child_trace.works();
  }
  [[nodiscard]] bool can_supervise_beside() const {
    return beside_memory.works() && beside_descriptors.works() && beside_trace.works();
  }
  // Everything without which secbox refuses to run a plugin.
  [[nodiscard]] bool can_enforce() const;
};

// Forks short-lived children and waits for them, about 5 ms; the caller must have a single thread. Changes
// nothing that stays.
[[nodiscard]] HostFeatures probe_host();

}  // namespace secbox::sys
