// What brings code in. The loader looks at the address that dlopen() returns to: it says whose RUNPATH
// counts, and which namespace is meant. So the real one is jumped to (a sibling call: this file needs -O2
// -fomit-frame-pointer), and what the slot says stays there until the thread's next hooked call.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "preload/deep_binding.h"
#include "preload/hook.h"

using secbox::preload::kernel_call;
using secbox::preload::leave_behind;

SECBOX_AS_DECLARED(void*, dlopen, (const char*, int));
SECBOX_EXPORT(void*, dlopen, (const char* file, int mode)) {
  if ((mode & RTLD_DEEPBIND) != 0 && secbox::preload::can_bind_after(file, SECBOX_SITE.caller)) {
    return secbox::preload::open_and_bind(file, mode, SECBOX_SITE);
  }
  leave_behind(SECBOX_FUNCTION_dlopen, SECBOX_SITE, file);
  return SECBOX_REAL(void*, dlopen, (const char*, int))(file, mode);
}

SECBOX_AS_DECLARED(void*, dlmopen, (Lmid_t, const char*, int));
SECBOX_EXPORT(void*, dlmopen, (Lmid_t name_space, const char* file, int mode)) {
  leave_behind(SECBOX_FUNCTION_dlmopen, SECBOX_SITE, file);
  return SECBOX_REAL(void*, dlmopen, (Lmid_t, const char*, int))(name_space, file, mode);
}

namespace {

using Map = void*(void*, size_t, int, int, int, off64_t);

void* map_file(unsigned function, secbox::preload::Site site, void* address, size_t length, int protection,
               int flags, int fd, off64_t offset) {
  secbox::preload::Context context{static_cast<std::uint16_t>(function), site, nullptr};
  return context.done(secbox::preload::real<Map>(function)(address, length, protection, flags, fd, offset));
}

// Allocators map memory before anything else runs, and while the real mmap is looked for.
void* map_early(void* address, size_t length, int protection, int flags, int fd, off64_t offset) {
  const long answer = kernel_call(SYS_mmap, secbox::preload::as_argument(address), static_cast<long>(length),
                                  protection, flags, fd, offset);
  if (secbox::preload::is_error(answer)) {
    errno = static_cast<int>(-answer);
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(answer);
}

}  // namespace

// Only code from a file is anyone's business.
#define HOOK_MMAP(name)                                                                                   \
  SECBOX_AS_DECLARED(void*, name, (void*, size_t, int, int, int, off64_t));                               \
  SECBOX_EXPORT(void*, name,                                                                              \
                (void* address, size_t length, int protection, int flags, int fd, off64_t offset)) {      \
    void* known =                                                                                         \
        __atomic_load_n(&secbox::preload::real_functions[SECBOX_FUNCTION_##name], __ATOMIC_RELAXED);      \
    if (known == nullptr) return map_early(address, length, protection, flags, fd, offset);               \
    if ((protection & PROT_EXEC) == 0 || fd < 0) {                                                        \
      return reinterpret_cast<Map*>(known)(address, length, protection, flags, fd, offset);               \
    }                                                                                                     \
    return map_file(SECBOX_FUNCTION_##name, SECBOX_SITE, address, length, protection, flags, fd, offset); \
  }

HOOK_MMAP(mmap)
HOOK_MMAP(mmap64)
