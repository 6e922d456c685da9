// What is at a path: enough to see that it was changed.
#pragma once

#include <string>

namespace secbox::harness {

// Kind, content (by digest), mode, owner, time of change, links and extended attributes, as a text for people
// too: two snapshots differ where one of these does. Reading is no change.
[[nodiscard]] std::string snapshot_of(const std::string& path);
// Where `before` and `after` differ, in words.
[[nodiscard]] std::string difference(const std::string& before, const std::string& after);

}  // namespace secbox::harness
