#include "preload/board.h"

namespace secbox::preload {

namespace {

// Counts on in children, which inherit it: no thread that came out of a fork can know the new number.
std::uint32_t last_generation;

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
  thread.tid = kernel_tid();
  __asm__ volatile("" ::: "memory");  // a signal handler in between does the same again
  thread.generation = generation;
}

}  // namespace secbox::preload
