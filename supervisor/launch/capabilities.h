// The capabilities that a session keeps when secbox is run as root: those of file ownership, users and ports.
// Whatever reaches the machine as a whole (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_MKNOD, ...) is
// gone for good.
#pragma once

#include <linux/capability.h>

#include <cstdint>

namespace secbox::launch {

inline constexpr std::uint64_t kPluginCaps =
    (1ULL << CAP_CHOWN) | (1ULL << CAP_DAC_OVERRIDE) | (1ULL << CAP_DAC_READ_SEARCH) | (1ULL << CAP_FOWNER) |
    (1ULL << CAP_FSETID) | (1ULL << CAP_KILL) | (1ULL << CAP_SETGID) | (1ULL << CAP_SETUID) |
    (1ULL << CAP_SETPCAP) | (1ULL << CAP_NET_BIND_SERVICE) | (1ULL << CAP_IPC_LOCK);
// The supervisor's own: it reads the plugin's memory and takes its descriptors.
inline constexpr std::uint64_t kSupervisorCaps = kPluginCaps | (1ULL << CAP_SYS_PTRACE);

// Drops everything outside `kept` from the permitted, effective, inheritable and ambient sets of the calling
// thread. Programs started later cannot get them back: no_new_privs is set as well. (The bounding set stays:
// without it a program with file capabilities, such as ping, could not even be started.) 0 or an errno;
// nothing to do, and 0, for a process without capabilities. Async-signal-safe.
[[nodiscard]] int keep_only(std::uint64_t kept);
[[nodiscard]] bool has_capability(unsigned capability);

}  // namespace secbox::launch
