/* Calls before every constructor: the program's own DT_PREINIT_ARRAY runs before the shim's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int wrong;

static void earliest(void) {
  wrong += open("/nonexistent/earliest", O_RDONLY) != -1 || errno != ENOENT;
  wrong += mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
  wrong += mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED || errno != EINVAL;
  wrong += syscall(SYS_getpid) != getpid();
  wrong += syscall(SYS_openat, -1, NULL, 0) != -1 || errno != EFAULT;
  wrong += getenv("SHIM_TEST_EARLIEST") != NULL;
  wrong += unlink("/nonexistent/earliest") != -1;
  errno = 0;
}

__attribute__((section(".preinit_array"), used)) static void (*const kEarliest)(void) = earliest;

int main(void) {
  const int found = errno;
  printf("%d wrong, errno %d\n", wrong, found);
  return wrong;
}
