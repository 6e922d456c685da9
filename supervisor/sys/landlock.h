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
inline constexpr std::uint64_t kFsMakeChar = 1U << 6;
inline constexpr std::uint64_t kFsMakeSock = 1U << 9;
inline constexpr std::uint64_t kFsMakeBlock = 1U << 11;
inline constexpr std::uint64_t kFsRefer = 1U << 13;
inline constexpr std::uint64_t kFsIoctlDev = 1U << 15;
inline constexpr std::uint64_t kNetBindTcp = 1U << 0;
inline constexpr std::uint64_t kNetConnectTcp = 1U << 1;

struct LandlockRule {
  std::string path;      // a file or directory; skipped where it does not exist
  std::uint64_t access;  // rights on it, or on everything below it
};

struct LandlockPlan {
  std::vector<LandlockRule> rules;
  // What is denied where no rule grants it. Other rights stay as they are.
  std::uint64_t handled_fs = ~std::uint64_t{0};
  std::uint64_t handled_net = kNetBindTcp | kNetConnectTcp;
  bool scope_signals = true;
  bool scope_abstract_sockets = true;
};

// A ruleset of what `plan` handles, as far as the host's ABI knows it. A file in a directory-only right is
// narrowed by itself.
[[nodiscard]] Result<UniqueFd> make_landlock_ruleset(int abi, const LandlockPlan& plan);
// Confines the calling thread for good. 0 or an errno; async-signal-safe.
[[nodiscard]] int restrict_self(int ruleset_fd);

}  // namespace secbox::sys
