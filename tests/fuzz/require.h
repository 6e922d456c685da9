// How a fuzzer says that a property does not hold.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace secbox::fuzz {

inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace secbox::fuzz
