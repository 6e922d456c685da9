// What calls by path and calls by descriptor share when they change an object.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/broker/call.h"

namespace secbox::broker {

// Pipes, sockets, memory files, and files without a name: nothing outside reaches them by a path. A file that
// lost its name is the plugin's own only where the plugin holds it open for writing: the host may have passed
// a descriptor for reading.
[[nodiscard]] bool is_unnamed(Call& call, const sys::PinnedPath& path);

// "/proc/self/fd/N" of a descriptor of ours: for calls that have no form by descriptor. Safe: it names what
// is pinned.
[[nodiscard]] std::string own_descriptor_path(int fd);

// chmod of a pinned object (an O_PATH handle is enough). 0, or -1 with errno.
[[nodiscard]] std::int64_t change_mode(Call& call, int object, mode_t mode);

// Set-user-ID and set-group-ID bits make a program another user's; on a directory they do not. `kind` has its
// S_IFMT bits.
[[nodiscard]] bool setid_refused(Call& call, mode_t mode, mode_t kind);

// Duplicates the caller's descriptor, judges FileWrite on the object behind it, and performs `act` on the
// duplicate.
[[nodiscard]] Action change_descriptor(Call& call, int fd,
                                       const std::function<Action(const sys::PinnedPath&)>& act);

struct XattrChange {
  std::string name;
  std::vector<std::byte> value;
  int flags = 0;
};
// Reads name, value and flags from argument `index` on; with `by_struct` value and flags stand in a struct
// xattr_args.
[[nodiscard]] std::optional<Action> decode_xattr(Call& call, std::size_t index, bool removes, bool by_struct,
                                                 XattrChange& out);
// security.* attributes are privileges (file capabilities, labels). True = go on.
[[nodiscard]] bool xattr_allowed(Call& call, const XattrChange& change);

}  // namespace secbox::broker
