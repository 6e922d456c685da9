#include "tools/harness/user.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace secbox::harness {

std::optional<User> user_of(UserKind kind) {
  const uid_t present = ::geteuid();
  if (kind == UserKind::Root) return present == 0 ? std::optional(User{kind, 0, 0}) : std::nullopt;
  if (present == 0) return User{kind, kOrdinaryUser, kOrdinaryUser};
  return User{kind, present, ::getegid()};
}

bool become(const User& user) {
  if (::geteuid() != 0 || user.uid == 0) return true;
  if (::setgroups(0, nullptr) != 0) return false;
  if (::setresgid(user.gid, user.gid, user.gid) != 0) return false;
  if (::setresuid(user.uid, user.uid, user.uid) != 0) return false;
  // What a container's manager left inheritable would come back with some program.
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  return ::syscall(SYS_capset, &header, none) == 0;
}

}  // namespace secbox::harness
