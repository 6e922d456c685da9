// Landlock by raw system calls: what no won race, no forgotten call and no dead supervisor lets the plugin
// exceed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"

namespace secbox::sys {

// 0 where the kernel has no Landlock.
[[nodiscard]] int landlock_abi();

// Access rights as include/uapi/linux/landlock.h names them; kept here since Debian 12's headers end at
// ABI 2.
inline constexpr std::uint64_t kFsExecute = 1U << 0;
inline constexpr std::uint64_t kFsWriteFile = 1U << 1;
inline constexpr std::uint64_t kFsReadFile = 1U << 2;
inline constexpr std::uint64_t kFsReadDir = 1U << 3;
inline constexpr std::uint64_t kFsMakeSock = 1U << 9;
inline constexpr std::uint64_t kFsIoctlDev = 1U << 15;

struct LandlockRule {
  std::string path;      // a file or directory; skipped where it does not exist
  std::uint64_t access;  // rights on it, or on everything below it
};

struct LandlockPlan {
  std::vector<LandlockRule> rules;
  bool scope_signals = true;
  bool scope_abstract_sockets = true;
};

// A ruleset that handles everything the host's ABI knows: all file rights, TCP, scopes. What `plan` does not
// grant is denied. A file in a directory-only right is narrowed by itself.
[[nodiscard]] Result<UniqueFd> make_landlock_ruleset(int abi, const LandlockPlan& plan);
// Confines the calling thread for good. 0 or an errno; async-signal-safe.
[[nodiscard]] int restrict_self(int ruleset_fd);

}  // namespace secbox::sys
