#include "supervisor/sys/landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

namespace secbox::sys {

namespace {
// Layouts of include/uapi/linux/landlock.h (Linux 6.12); the kernel takes shorter structs from older callers.
struct RulesetAttr {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};
struct PathBeneathAttr {
  std::uint64_t allowed_access;
  std::int32_t parent_fd;
} __attribute__((packed));

constexpr int kRulePathBeneath = 1;
constexpr std::uint32_t kCreateRulesetVersion = 1;
constexpr std::uint64_t kFileRights =
    kFsExecute | kFsWriteFile | kFsReadFile | (1U << 14) | kFsIoctlDev;  // 14: truncate

// All file rights of an ABI.
std::uint64_t fs_rights(int abi) {
  constexpr std::array<std::uint64_t, 6> kByAbi{
      0, (1U << 13) - 1, (1U << 14) - 1, (1U << 15) - 1, (1U << 15) - 1, (1U << 16) - 1};
  return kByAbi[static_cast<std::size_t>(std::clamp(abi, 0, 5))];
}
}  // namespace

int landlock_abi() {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kCreateRulesetVersion);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

Result<UniqueFd> make_landlock_ruleset(int abi, const LandlockPlan& plan) {
  RulesetAttr attr{};
  attr.handled_access_fs = fs_rights(abi) & plan.handled_fs;
  if (abi >= 4) attr.handled_access_net = plan.handled_net;
  if (abi >= 6) attr.scoped = (plan.scope_abstract_sockets ? 1U : 0U) | (plan.scope_signals ? 2U : 0U);
  const std::size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 16 : 8;
  UniqueFd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attr, size, 0)));
  if (!ruleset.valid()) return errno_failure("landlock_create_ruleset");
  for (const LandlockRule& rule : plan.rules) {
    const UniqueFd object(::open(rule.path.c_str(), O_PATH | O_CLOEXEC));
    if (!object.valid()) continue;
    struct stat st{};
    if (::fstat(object.get(), &st) != 0) continue;
    PathBeneathAttr beneath{};
    beneath.allowed_access = rule.access & attr.handled_access_fs;
    if (!S_ISDIR(st.st_mode)) beneath.allowed_access &= kFileRights;
    beneath.parent_fd = object.get();
    if (beneath.allowed_access == 0) continue;
    if (::syscall(SYS_landlock_add_rule, ruleset.get(), kRulePathBeneath, &beneath, 0) != 0) {
      return errno_failure("landlock_add_rule for " + rule.path);
    }
  }
  return ruleset;
}

int restrict_self(int ruleset_fd) {
  return ::syscall(SYS_landlock_restrict_self, ruleset_fd, 0) == 0 ? 0 : errno;
}

}  // namespace secbox::sys
