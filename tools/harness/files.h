// Files of the harness: read, written, copied and removed without following what a plugin left in the way.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "supervisor/base/result.h"
#include "tools/harness/user.h"

namespace secbox::harness {

// At most `most` bytes. nullopt where it is no regular file, a link, or cannot be read.
[[nodiscard]] std::optional<std::string> read_file(const std::string& path, std::size_t most);
// A new file; there must be none.
[[nodiscard]] Result<void> write_file(const std::string& path, std::string_view content, mode_t mode);
[[nodiscard]] Result<void> make_directory(const std::string& path, mode_t mode);
// Owner first: a change of it takes the set-user-id bit away.
[[nodiscard]] Result<void> set_owner_and_mode(const std::string& path, uid_t uid, gid_t gid, mode_t mode);
// Files, directories and links of `from` to the existing directory `to`, all owned by `user`.
[[nodiscard]] Result<void> copy_tree(const std::string& from, const std::string& to, const User& user);
[[nodiscard]] Result<void> copy_file(const std::string& from, const std::string& to, mode_t mode);
// Removes a directory and all below it. Goes through no link and into no mount. False where something stays.
bool remove_tree(const std::string& path);

}  // namespace secbox::harness
