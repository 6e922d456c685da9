#include "preload/context.h"

#include <unistd.h>

namespace secbox::preload {

namespace {

// Between the stores: the supervisor sees the slot while the thread is held in a call, a signal handler
// anywhere.
void barrier() { __asm__ volatile("" ::: "memory"); }

}  // namespace

secbox_slot* enter(Outer& outer, std::uint16_t function, Site site, const void* argument, std::uint32_t tid) {
  secbox_slot* slot = &board.shared->slots[tid % SECBOX_SLOTS];
  const auto frame = reinterpret_cast<std::uint64_t>(site.frame);
  outer.tid = slot->tid;
  outer.caller = slot->caller;
  outer.argument = slot->argument;
  outer.text_length = slot->text_length;
  outer.frame = slot->reserved[0];
  // What another thread left, or a call of ours that was left by longjmp(3) or a cancellation: over, not
  // outer.
  outer.function =
      slot->tid == tid && frame < outer.frame ? slot->function : std::uint16_t{SECBOX_FUNCTION_NONE};

  slot->function = SECBOX_FUNCTION_NONE;
  barrier();
  slot->tid = tid;
  slot->sequence = slot->sequence + 1;
  slot->caller = reinterpret_cast<std::uint64_t>(site.caller);
  slot->argument = reinterpret_cast<std::uint64_t>(argument);
  slot->text_length = 0;
  slot->flags = board.flags;
  slot->reserved[0] = frame;
  if (board.flags != 0) slot->explanation[0] = '\0';
  barrier();
  slot->function = function;
  barrier();
  return slot;
}

void leave(secbox_slot* slot, const Outer& outer) {
  barrier();
  slot->function = SECBOX_FUNCTION_NONE;
  barrier();
  slot->tid = outer.tid;
  slot->caller = outer.caller;
  slot->argument = outer.argument;
  slot->text_length = outer.text_length;
  slot->reserved[0] = outer.frame;
  barrier();
  slot->function = outer.function;
}

void set_text(secbox_slot* slot, const char* text) {
  if (text == nullptr) return;
  std::uint16_t length = 0;
  while (length < sizeof(slot->text) && text[length] != '\0') {
    slot->text[length] = text[length];
    ++length;
  }
  barrier();
  slot->text_length = length;
}

void leave_behind(std::uint16_t function, Site site, const char* text) {
  if (board.shared == nullptr) return;
  Outer outer;
  set_text(enter(outer, function, site, nullptr, thread().tid), text);
}

void explain(secbox_slot* slot, bool failed) {
  char line[sizeof(slot->explanation) + 1];
  std::size_t length = 0;
  while (length < sizeof(slot->explanation) && slot->explanation[length] != '\0') {
    line[length] = slot->explanation[length];
    ++length;
  }
  slot->explanation[0] = '\0';
  if (!failed || length == 0) return;
  if (line[length - 1] != '\n') line[length++] = '\n';
  (void)kernel_call(SYS_write, STDERR_FILENO, as_argument(line), static_cast<long>(length));
}

}  // namespace secbox::preload
