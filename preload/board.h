// The process's board, if there is one, and which slot of it is the thread's.
#ifndef SECBOX_PRELOAD_BOARD_H
#define SECBOX_PRELOAD_BOARD_H

#include <cstdint>

#include "preload/kernel.h"
#include "preload/wire.h"

namespace secbox::preload {

struct Board {
  secbox_board* shared;       // null: nobody looks, and the hooks do nothing
  std::uint32_t* generation;  // of the process. A page of its own, which the kernel clears in a forked child
  std::uint32_t flags;        // of every slot
};

// Written by the constructor alone.
extern Board board;

// What a thread knows of itself. After fork(2) it is what the parent's thread knew.
struct Thread {
  std::uint32_t generation;
  std::uint32_t tid;
};

inline std::uint32_t kernel_tid() { return static_cast<std::uint32_t>(kernel_call(SYS_gettid)); }

// The slow half of thread(): its first hooked call in this process.
void learn_thread(Thread& thread);

// Only with a board. A child of vfork(2) is taken for its parent, whose memory it uses.
[[gnu::always_inline]] inline const Thread& thread() {
  [[gnu::tls_model("initial-exec")]] static __thread Thread known;
  const std::uint32_t generation = __atomic_load_n(board.generation, __ATOMIC_RELAXED);
  if (__builtin_expect(generation == 0 || known.generation != generation, 0)) learn_thread(known);
  return known;
}

}  // namespace secbox::preload

#endif
