/* Another preload library: counts the opens and getenvs that pass through it, with a constructor that makes
 * some. Says how many at the end. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

static int opens;
static int variables;

int open(const char* path, int flags, ...) {
  int (*next)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, "open");
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  __atomic_add_fetch(&opens, 1, __ATOMIC_RELAXED);
  return next(path, flags, mode);
}

char* getenv(const char* name) {
  char* (*next)(const char*) = (char* (*)(const char*))dlsym(RTLD_NEXT, "getenv");
  __atomic_add_fetch(&variables, 1, __ATOMIC_RELAXED);
  return next(name);
}

__attribute__((constructor)) static void early(void) {
  open("/nonexistent/early", O_RDONLY);
  getenv("SHIM_TEST_EARLY");
}

__attribute__((destructor)) static void late(void) {
  fprintf(stderr, "%d opens, %d variables\n", opens, variables);
}
