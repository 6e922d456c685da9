#include "preload/real.h"

#include <dlfcn.h>

#include <cerrno>

namespace secbox::preload {

namespace {

constexpr const char* kNames[kHooked] = {
    nullptr,
#define SECBOX_FUNCTION_NAME(name, family) #name,
    SECBOX_FUNCTIONS(SECBOX_FUNCTION_NAME)
#undef SECBOX_FUNCTION_NAME
        "getenv",
    "secure_getenv",
};

// An older libc may lack the newest ones. Who asks by a weak reference is told that they are there.
long missing() {
  errno = ENOSYS;
  return -1;
}

// Libraries choose functions (ifunc) while they are relocated, which is before the shim is: then there is no
// way to libc at all, not even to errno.
long not_yet() { return -1; }
void* not_there_yet() { return nullptr; }

// An address that the loader has to put right.
const char* const* const volatile relocated = kNames;

}  // namespace

void* real_functions[kHooked];

const char* name_of(unsigned number) { return kNames[number]; }

void* find_real(unsigned number) {
  if (relocated != kNames) {
    const bool is_variable = number == kGetenv || number == kSecureGetenv;
    return is_variable ? reinterpret_cast<void*>(&not_there_yet) : reinterpret_cast<void*>(&not_yet);
  }
  const int saved = errno;
  void* found = ::dlsym(RTLD_NEXT, kNames[number]);
  if (found == nullptr) found = reinterpret_cast<void*>(&missing);
  __atomic_store_n(&real_functions[number], found, __ATOMIC_RELAXED);
  errno = saved;
  return found;
}

void find_all_real() {
  for (unsigned number = SECBOX_FUNCTION_NONE + 1; number < kHooked; ++number) find_real(number);
}

}  // namespace secbox::preload
