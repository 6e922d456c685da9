#include "preload/board.h"

#include <pthread.h>
#include <time.h>

namespace secbox::preload {

namespace {

// Counts on in children, which inherit it: no thread that came out of a fork can know the new number.
std::uint32_t last_generation;

// What libc has noted, without a system call: a program may have forbidden itself those. The number is in the
// thread's clock, inverted, above three bits of its own (clock_getcpuclockid(3), linux/posix-timers.h).
std::uint32_t noted_tid() {
  clockid_t clock = 0;
  ::pthread_getcpuclockid(::pthread_self(), &clock);
  return static_cast<std::uint32_t>(~(clock >> 3));
}

}  // namespace

Board board;

void learn_thread(Thread& thread) {
  std::uint32_t generation = __atomic_load_n(board.generation, __ATOMIC_RELAXED);
  if (generation == 0) {
    const std::uint32_t next = __atomic_add_fetch(&last_generation, 1, __ATOMIC_RELAXED);
    // Another thread may be first: then `generation` becomes its number.
    if (__atomic_compare_exchange_n(board.generation, &generation, next, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
      generation = next;
    }
  }
  thread.tid = noted_tid();
  __asm__ volatile("" ::: "memory");  // a signal handler in between does the same again
  thread.generation = generation;
}

}  // namespace secbox::preload
