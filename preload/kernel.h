// System calls without libc: no errno, no other preload in between, and they work before either is there.
#ifndef SECBOX_PRELOAD_KERNEL_H
#define SECBOX_PRELOAD_KERNEL_H

#include <sys/syscall.h>

namespace secbox::preload {

// The kernel's answer: -4095..-1 is a negative errno.
[[gnu::always_inline]] inline long kernel_call(long number, long a = 0, long b = 0, long c = 0, long d = 0,
                                               long e = 0, long f = 0) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result = number;
  __asm__ volatile("syscall"
                   : "+a"(result)
                   : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
#endif
}

inline bool is_error(long answer) { return static_cast<unsigned long>(answer) >= -4095UL; }

template <typename T>
long as_argument(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

}  // namespace secbox::preload

#endif
