/* Where the calls of hooks.cpp end: what is measured is not the kernel. */
#include <stddef.h>
#include <sys/types.h>

int open(const char* path, int flags, ...) { return path == NULL ? flags : 3; }
int unlink(const char* path) { return path == NULL; }
ssize_t send(int fd, const void* data, size_t length, int flags) {
  return fd + flags + (data == NULL) + (ssize_t)length;
}
int system(const char* command) { return command == NULL; }
char* getenv(const char* name) { return (char*)name; }
void* mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  return (char*)address + length + protection + flags + fd + offset;
}
long syscall(long number, ...) { return number; }
