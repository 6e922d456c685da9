/* What the shim and the supervisor agree on. Plain C: also read by programs that speak to neither.
 * Only ever a hint: whatever runs in the plugin's process can write the same, so each side takes what the other
 * wrote as hostile, and nothing that is decided depends on it. */
#ifndef SECBOX_PRELOAD_WIRE_H
#define SECBOX_PRELOAD_WIRE_H

#include <stdint.h>

/* prctl(SECBOX_HELLO_PRCTL, SECBOX_WIRE_VERSION, process id, 0, 0): "the shim is loaded in this process". A
 * private option: without a supervisor the kernel answers EINVAL, and nothing happens. The result is a descriptor
 * (close-on-exec) of the process's board: a memory file of sizeof(struct secbox_board) bytes, zeroed, whose size is
 * sealed, to be mapped MAP_SHARED and closed. -1: there is none (EINVAL: no supervisor, or one of another version). */
#define SECBOX_HELLO_PRCTL 0x53424f58 /* "SBOX" */
#define SECBOX_WIRE_VERSION 2

/* LD_PRELOAD is put into a new program's environment by the supervisor, outside of what the program was given:
 * behind the string's NUL come these eight bytes and the program's own "LD_PRELOAD=..." or "" for none, with its
 * NUL. The shim puts that back before main(). */
#define SECBOX_ENVIRONMENT_MARK "SBXENV1" /* with its NUL: 8 bytes */

/* The hooked functions, with the family that says which calls they can stand behind. The number of a function is its
 * place here, from 1; names are only added at the end. */
#define SECBOX_FUNCTIONS(X)                                                                                        \
  X(open, open) X(open64, open) X(openat, open) X(openat64, open) X(creat, open) X(creat64, open)                  \
  X(__open_2, open) X(__open64_2, open) X(__openat_2, open) X(__openat64_2, open)                                  \
  X(fopen, open) X(fopen64, open) X(freopen, open) X(freopen64, open) X(opendir, open)                             \
  X(mkstemp, open) X(mkstemp64, open) X(mkostemp, open) X(mkostemp64, open) X(mkstemps, open) X(mkstemps64, open)  \
  X(mkostemps, open) X(mkostemps64, open) X(mkdtemp, path) X(tmpfile, open) X(tmpfile64, open)                     \
  X(scandir, open) X(scandir64, open) X(glob, open) X(glob64, open) X(ftw, open) X(ftw64, open) X(nftw, open)      \
  X(nftw64, open) X(fts_open, open)                                                                                \
  X(setlocale, open) X(newlocale, open) X(iconv_open, open) X(tzset, open) X(localtime, open)                      \
  X(localtime_r, open) X(mktime, open)                                                                             \
  X(unlink, path) X(unlinkat, path) X(rmdir, path) X(remove, path) X(rename, path) X(renameat, path)               \
  X(renameat2, path) X(link, path) X(linkat, path) X(symlink, path) X(symlinkat, path) X(mkdir, path)              \
  X(mkdirat, path) X(mkfifo, path) X(mkfifoat, path) X(mknod, path) X(mknodat, path) X(chmod, path)                \
  X(fchmodat, path) X(fchmod, path) X(chown, path) X(lchown, path) X(fchownat, path) X(fchown, path)               \
  X(truncate, path) X(truncate64, path) X(utime, path) X(utimes, path) X(lutimes, path) X(futimesat, path)         \
  X(utimensat, path) X(futimens, path) X(setxattr, path) X(lsetxattr, path) X(fsetxattr, path)                     \
  X(removexattr, path) X(lremovexattr, path) X(fremovexattr, path) X(inotify_add_watch, path)                      \
  X(execve, exec) X(execv, exec) X(execvp, exec) X(execvpe, exec) X(execl, exec) X(execlp, exec) X(execle, exec)   \
  X(fexecve, exec) X(execveat, exec) X(posix_spawn, exec) X(posix_spawnp, exec) X(system, exec) X(popen, exec)     \
  X(connect, net) X(bind, net) X(listen, net) X(sendto, net) X(sendmsg, net) X(sendmmsg, net) X(send, net)         \
  X(getaddrinfo, lookup) X(gethostbyname, lookup) X(gethostbyname2, lookup) X(gethostbyname_r, lookup)             \
  X(gethostbyname2_r, lookup) X(gethostbyaddr, lookup) X(getnameinfo, lookup) X(getpwnam, lookup)                  \
  X(getpwuid, lookup) X(getpwnam_r, lookup) X(getpwuid_r, lookup) X(getgrnam, lookup) X(getgrgid, lookup)          \
  X(getgrnam_r, lookup) X(getgrgid_r, lookup) X(getservbyname, lookup) X(getservbyname_r, lookup)                  \
  X(dlopen, load) X(dlmopen, load) X(mmap, load) X(mmap64, load) X(syscall, any) X(kill, signal)

enum secbox_function {
  SECBOX_FUNCTION_NONE = 0,
#define SECBOX_FUNCTION_NUMBER(name, family) SECBOX_FUNCTION_##name,
  SECBOX_FUNCTIONS(SECBOX_FUNCTION_NUMBER)
#undef SECBOX_FUNCTION_NUMBER
      SECBOX_FUNCTION_COUNT
};

enum {
  SECBOX_SLOTS = 1024,     /* of a thread: its number modulo this; two that share one lose their context */
  SECBOX_NAMES = 64,       /* the newest answers of the resolver, round and round */
  SECBOX_VARIABLES = 256,  /* names of environment variables, each once, in the order of their first use */
  SECBOX_SLOT_WANTS_EXPLANATION = 1
};

/* What a thread is doing. Its own thread writes it, between calls; the supervisor reads it while it holds a call of
 * that thread, and writes `explanation` alone. A hook that runs inside another one puts the outer one's back. */
struct secbox_slot {
  uint32_t tid;      /* gettid() */
  uint32_t sequence; /* of the thread's hooked calls */
  uint16_t function; /* enum secbox_function. Cleared before the rest is written, set after it */
  uint16_t text_length;
  uint32_t flags;
  uint64_t caller;   /* the address that the hooked function returns to */
  uint64_t argument; /* a pointer that the system call will have among its arguments; 0 = none is known */
  uint64_t reserved[4];
  char text[192];        /* host name, command, library: text_length bytes, cut where it is longer */
  char explanation[256]; /* why the call was refused, NUL-terminated; "" = it was not */
};

/* An address that the resolver gave for a name. */
struct secbox_name {
  uint32_t sequence; /* odd while it is being written; 0 = never */
  uint8_t length;    /* of name */
  uint8_t reserved[3];
  uint8_t address[16]; /* IPv4 as IPv4-mapped IPv6 */
  char name[232];
};

struct secbox_variable {
  char name[64]; /* NUL-terminated, cut where it is longer; never a value */
};

struct secbox_board {
  uint32_t version;        /* SECBOX_WIRE_VERSION, written by the supervisor */
  uint32_t names_written;  /* counts on; the next one goes to names[names_written % SECBOX_NAMES] */
  uint32_t variables;      /* complete ones */
  uint32_t variables_lost; /* for which there was no room */
  uint8_t reserved[4080];
  struct secbox_slot slots[SECBOX_SLOTS];
  struct secbox_name names[SECBOX_NAMES];
  struct secbox_variable variable[SECBOX_VARIABLES];
};

#endif
