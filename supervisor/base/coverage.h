// Coverage builds alone: line counters are written at exit(3), which a process that ends by _exit(2) or
// execve(2) does not reach.
#pragma once

#ifdef SECBOX_COVERAGE
extern "C" void __gcov_dump();
extern "C" void __gcov_reset();
#endif

namespace secbox {

// Adds this process's counters to the files, and begins anew.
inline void keep_coverage() {
#ifdef SECBOX_COVERAGE
  __gcov_dump();
  __gcov_reset();
#endif
}

}  // namespace secbox
