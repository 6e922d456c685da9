// What changes names and what is told of a file.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "preload/hook.h"

HOOK(char*, mkdtemp, (char* name), (name), name)

HOOK(int, unlink, (const char* path), (path), path)
HOOK(int, unlinkat, (int directory, const char* path, int flags), (directory, path, flags), path)
HOOK(int, rmdir, (const char* path), (path), path)
HOOK(int, remove, (const char* path), (path), path)
HOOK(int, rename, (const char* from, const char* to), (from, to), from)
HOOK(int, renameat, (int from_directory, const char* from, int to_directory, const char* to),
     (from_directory, from, to_directory, to), from)
HOOK(int, renameat2, (int from_directory, const char* from, int to_directory, const char* to, unsigned flags),
     (from_directory, from, to_directory, to, flags), from)
HOOK(int, link, (const char* from, const char* to), (from, to), from)
HOOK(int, linkat, (int from_directory, const char* from, int to_directory, const char* to, int flags),
     (from_directory, from, to_directory, to, flags), from)
HOOK(int, symlink, (const char* target, const char* path), (target, path), path)
HOOK(int, symlinkat, (const char* target, int directory, const char* path), (target, directory, path), path)
HOOK(int, mkdir, (const char* path, mode_t mode), (path, mode), path)
HOOK(int, mkdirat, (int directory, const char* path, mode_t mode), (directory, path, mode), path)
HOOK(int, mkfifo, (const char* path, mode_t mode), (path, mode), path)
HOOK(int, mkfifoat, (int directory, const char* path, mode_t mode), (directory, path, mode), path)
HOOK(int, mknod, (const char* path, mode_t mode, dev_t device), (path, mode, device), path)
HOOK(int, mknodat, (int directory, const char* path, mode_t mode, dev_t device),
     (directory, path, mode, device), path)

HOOK(int, chmod, (const char* path, mode_t mode), (path, mode), path)
// Without a pointer: flags make libc go by a descriptor and a name of its own.
HOOK(int, fchmodat, (int directory, const char* path, mode_t mode, int flags), (directory, path, mode, flags),
     flags == 0 ? path : nullptr)
HOOK(int, fchmod, (int fd, mode_t mode), (fd, mode), nullptr)
HOOK(int, chown, (const char* path, uid_t user, gid_t group), (path, user, group), path)
HOOK(int, lchown, (const char* path, uid_t user, gid_t group), (path, user, group), path)
HOOK(int, fchownat, (int directory, const char* path, uid_t user, gid_t group, int flags),
     (directory, path, user, group, flags), path)
HOOK(int, fchown, (int fd, uid_t user, gid_t group), (fd, user, group), nullptr)
HOOK(int, truncate, (const char* path, off_t length), (path, length), path)
HOOK(int, truncate64, (const char* path, off64_t length), (path, length), path)
HOOK(int, utime, (const char* path, const utimbuf* times), (path, times), path)
HOOK(int, utimes, (const char* path, const timeval times[2]), (path, times), path)
HOOK(int, lutimes, (const char* path, const timeval times[2]), (path, times), path)
HOOK(int, futimesat, (int directory, const char* path, const timeval times[2]), (directory, path, times),
     path)
HOOK(int, utimensat, (int directory, const char* path, const timespec times[2], int flags),
     (directory, path, times, flags), path)
HOOK(int, futimens, (int fd, const timespec times[2]), (fd, times), nullptr)
HOOK(int, setxattr, (const char* path, const char* name, const void* value, size_t size, int flags),
     (path, name, value, size, flags), path)
HOOK(int, lsetxattr, (const char* path, const char* name, const void* value, size_t size, int flags),
     (path, name, value, size, flags), path)
HOOK(int, fsetxattr, (int fd, const char* name, const void* value, size_t size, int flags),
     (fd, name, value, size, flags), name)
HOOK(int, removexattr, (const char* path, const char* name), (path, name), path)
HOOK(int, lremovexattr, (const char* path, const char* name), (path, name), path)
HOOK(int, fremovexattr, (int fd, const char* name), (fd, name), name)
HOOK(int, inotify_add_watch, (int fd, const char* path, uint32_t mask), (fd, path, mask), path)
