// The capabilities that a session keeps when secbox is run as root: those of file ownership, users and ports,
// which what is granted needs. Whatever reaches the machine as a whole (CAP_SYS_ADMIN, CAP_NET_ADMIN,
// CAP_SYS_PTRACE, CAP_MKNOD, CAP_IPC_LOCK, ...) is gone for good. So are CAP_DAC_READ_SEARCH, which opens
// files by handle and else gives no more than CAP_DAC_OVERRIDE, and CAP_FSETID, with which a set-user-ID
// program that is written to stays one.
#pragma once

#include <linux/capability.h>

#include <cstdint>

namespace secbox::launch {

inline constexpr std::uint64_t kPluginCaps =
    (1ULL << CAP_CHOWN) | (1ULL << CAP_DAC_OVERRIDE) | (1ULL << CAP_FOWNER) | (1ULL << CAP_KILL) |
    (1ULL << CAP_SETGID) | (1ULL << CAP_SETUID) | (1ULL << CAP_NET_BIND_SERVICE) |
    (1ULL << CAP_SETPCAP);  // to give up more: PR_CAPBSET_DROP
// The supervisor's own: it acts for the plugin, whose scheduling only a process with all of its capabilities
// may change (cap_safe_nice), reads its memory and takes its descriptors.
inline constexpr std::uint64_t kSupervisorCaps = kPluginCaps | (1ULL << CAP_SYS_PTRACE);
// The guardian's: it ends processes of other users, where the plugin left root, and removes a control group
// from a directory that not even its owner may write.
inline constexpr std::uint64_t kGuardianCaps = (1ULL << CAP_KILL) | (1ULL << CAP_DAC_OVERRIDE);

// Drops everything outside `kept` from the permitted, effective, inheritable and ambient sets of the calling
// thread. Programs started later cannot get them back: no_new_privs is set as well. (The bounding set stays:
// without it a program with file capabilities, such as ping, could not even be started.) 0 or an errno;
// nothing to do, and 0, for a process without capabilities. Async-signal-safe.
[[nodiscard]] int keep_only(std::uint64_t kept);
[[nodiscard]] bool has_capability(unsigned capability);

}  // namespace secbox::launch
