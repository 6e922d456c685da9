/* A library that is loaded by name: makes one call that is hooked. Says which number it has. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int (*const by_pointer)(const char*) = unlink;

int call_loaded(void) {
  const int fd = open("/nonexistent/loaded", O_RDONLY);
  const int error = errno;
  getenv("SHIM_TEST_LOADED");
  if (by_pointer("/nonexistent/by-pointer") != -1) return -1;
  return fd == -1 && error == ENOENT ? LOADED_NUMBER : -1;
}
