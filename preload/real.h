// The functions behind the hooks: libc's, or those of the next library that hooks them too.
#ifndef SECBOX_PRELOAD_REAL_H
#define SECBOX_PRELOAD_REAL_H

#include "preload/wire.h"

namespace secbox::preload {

// Hooked, but no call is attributed to them: they follow enum secbox_function.
enum : unsigned { kGetenv = SECBOX_FUNCTION_COUNT, kSecureGetenv, kHooked };

extern void* real_functions[kHooked];  // by number; null = not looked for yet

// All of them at once: dlsym(3) is not async-signal-safe, and it forgets the text that dlerror(3) has.
void find_all_real();

// Before that was done: in constructors that ran before ours.
void* find_real(unsigned number);

template <typename Function>
[[gnu::always_inline]] inline Function* real(unsigned number) {
  void* found = __atomic_load_n(&real_functions[number], __ATOMIC_RELAXED);
  if (__builtin_expect(found == nullptr, 0)) found = find_real(number);
  return reinterpret_cast<Function*>(found);
}

// The name of a hooked function.
const char* name_of(unsigned number);

}  // namespace secbox::preload

#endif
