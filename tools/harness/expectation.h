// Which records of the audit log there have to be, or must not be.
#pragma once

#include <cstddef>
#include <limits>
#include <string>

namespace secbox::harness {

// An empty member matches everything.
struct Expectation {
  std::string op{};      // the permission, the op or the event
  std::string target{};  // with "*" for any text
  std::string errno_name{}, syscall{};
  std::string rule{};  // its id, with "*"
  std::size_t least = 1;
  std::size_t most = std::numeric_limits<std::size_t>::max();

  [[nodiscard]] std::string text() const;
};

}  // namespace secbox::harness
