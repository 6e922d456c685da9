// RTLD_DEEPBIND: such a library finds libc's functions before ours. What it was bound to is replaced once it
// is loaded; its constructors have run by then, and went without a context.
#ifndef SECBOX_PRELOAD_DEEP_BINDING_H
#define SECBOX_PRELOAD_DEEP_BINDING_H

#include "preload/context.h"

namespace secbox::preload {

// Whether it makes no difference to the loader that the shim calls it instead of `caller`: only then can
// anything be done afterwards. Where it does make one, the library stays without context.
bool can_bind_after(const char* file, const void* caller);

// dlopen(3), and then the hooks into what was loaded.
void* open_and_bind(const char* file, int mode, Site site);

}  // namespace secbox::preload

#endif
