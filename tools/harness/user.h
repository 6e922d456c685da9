// The user that a run is made as.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "tools/harness/fixture.h"

namespace secbox::harness {

inline constexpr uid_t kOrdinaryUser = 1000;

struct User {
  UserKind kind = UserKind::Ordinary;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Root, or the ordinary user: uid 1000 where this process is root, else the present one. nullopt: cannot be
// had here.
[[nodiscard]] std::optional<User> user_of(UserKind kind);

// Makes the calling process one of `user`, for ever: no groups, no capabilities. For a child before exec:
// makes system calls only. False with errno.
[[nodiscard]] bool become(const User& user);

}  // namespace secbox::harness
