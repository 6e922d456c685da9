/* A library with a RUNPATH of its own (DT_RUNPATH $ORIGIN/private) that loads another one by its bare name.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

int call_loaded(void) {
  void* handle = dlopen("libshim-private.so", RTLD_NOW);
  if (handle == NULL) {
    printf("%s\n", dlerror());
    return -1;
  }
  int (*call)(void) = (int (*)(void))dlsym(handle, "call_loaded");
  void* by_origin = dlopen("$ORIGIN/private/libshim-private.so", RTLD_NOW | RTLD_DEEPBIND);
  if (by_origin != handle) printf("%s\n", dlerror());
  return call();
}
