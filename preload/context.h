// What a thread is doing, told by the hook around it: written into its slot before the real function runs,
// taken back after. No lock, no allocation, no system call; errno is not touched. A signal handler may come
// at any point: its own hooks leave the slot exactly as they found it.
#ifndef SECBOX_PRELOAD_CONTEXT_H
#define SECBOX_PRELOAD_CONTEXT_H

#include <cstddef>
#include <cstdint>

#include "preload/board.h"

namespace secbox::preload {

// Where a hook was called from.
struct Site {
  const void* caller;  // the address it returns to
  const void* frame;   // of its stack; the stack grows towards lower addresses
};

// Only in the hook itself.
#define SECBOX_SITE                                                                   \
  ::secbox::preload::Site {                                                           \
    __builtin_extract_return_addr(__builtin_return_address(0)), __builtin_dwarf_cfa() \
  }

// What a slot held before. Text is kept by those who write one.
struct Outer {
  std::uint32_t tid;
  std::uint16_t function;
  std::uint16_t text_length;
  std::uint64_t caller;
  std::uint64_t argument;
  std::uint64_t frame;
};

secbox_slot* enter(Outer& outer, std::uint16_t function, Site site, const void* argument, std::uint32_t tid);
void leave(secbox_slot* slot, const Outer& outer);
// After a hooked call: prints why it was refused, if the supervisor said so.
void explain(secbox_slot* slot, bool failed);

// As much of `text` as there is room for becomes the slot's.
void set_text(secbox_slot* slot, const char* text);

inline bool is_failure(const void* result) {
  return result == nullptr || reinterpret_cast<long>(result) == -1;
}
inline bool is_failure(long result) { return result < 0; }

class Context {
 public:
  // `argument`: a pointer that the system call will have too; null where that is not known.
  [[gnu::always_inline]] Context(std::uint16_t function, Site site, const void* argument) {
    if (board.shared == nullptr) return;
    const Thread& self = thread();
    generation_ = self.generation;
    tid_ = self.tid;
    slot_ = enter(outer_, function, site, argument, tid_);
  }

  [[gnu::always_inline]] ~Context() {
    if (has_slot()) leave(slot_, outer_);
  }

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Passes on what the real function returned.
  template <typename Result>
  [[gnu::always_inline]] Result done(Result result) {
    return done(result, is_failure(result));
  }
  template <typename Result>
  [[gnu::always_inline]] Result done(Result result, bool failed) {
    if (board.flags != 0 && has_slot()) explain(slot_, failed);
    return result;
  }

 protected:
  // Not if a thread whose number is the same modulo the slots has taken it, nor in a child that was forked in
  // between and returns here too: that slot is its parent's.
  [[gnu::always_inline]] bool has_slot() const {
    return slot_ != nullptr && slot_->tid == tid_ &&
           __atomic_load_n(board.generation, __ATOMIC_RELAXED) == generation_;
  }

  struct OfKernelThread {};
  // For what may run in a child of vfork(2) and never return: the slot of its own number, so that the parent
  // finds its slot as it was.
  [[gnu::always_inline]] Context(std::uint16_t function, Site site, const void* argument, OfKernelThread) {
    if (board.shared == nullptr) return;
    generation_ = thread().generation;
    tid_ = kernel_tid();
    slot_ = enter(outer_, function, site, argument, tid_);
  }

  secbox_slot* slot_ = nullptr;
  Outer outer_;
  std::uint32_t tid_;
  std::uint32_t generation_;
};

class ExecContext : public Context {
 public:
  [[gnu::always_inline]] ExecContext(std::uint16_t function, Site site, const void* argument)
      : Context(function, site, argument, OfKernelThread{}) {}
};

// With a text: a host name, a command.
class TextContext : public Context {
 public:
  [[gnu::always_inline]] TextContext(std::uint16_t function, Site site, const char* text)
      : Context(function, site, nullptr) {
    if (slot_ == nullptr) return;
    __builtin_memcpy(outer_text_, slot_->text, sizeof(outer_text_));
    set_text(slot_, text);
  }

  [[gnu::always_inline]] ~TextContext() {
    if (!has_slot()) return;
    slot_->function = SECBOX_FUNCTION_NONE;
    __asm__ volatile("" ::: "memory");
    __builtin_memcpy(slot_->text, outer_text_, sizeof(outer_text_));
  }

 private:
  char outer_text_[sizeof(secbox_slot::text)];
};

// For a function that has to be jumped to: what it says stays until the thread's next hooked call. Out of
// line, for the compiler jumps only where the hook has nothing on the stack.
void leave_behind(std::uint16_t function, Site site, const char* text);

}  // namespace secbox::preload

#endif
