/* What the shim needs of a supervisor, and no more: answers its hello with a board, and writes down what the
 * boards say.
 *
 * board_host OUT [--hold] [--mark OWN] [--refuse PATH TEXT] [--answer HOW] SHIM PROGRAM [ARGUMENT...]
 *
 * OUT gets a JSON object a line: {"hello": pid}; with --hold {"call": number, ...} for every call that it
 * holds, with the caller's slot at that moment; at the end {"board": ...} for each.
 * --mark: SHIM comes as the supervisor would give it, with OWN (may be "") behind it; else as LD_PRELOAD
 * alone.
 * --answer: not with a board: "none" (no descriptor is free), "zero" (success, but no descriptor), "old" (a
 * board of another version).
 * --refuse: an openat(2) of just PATH is refused, and TEXT said to be why. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/wire.h"

enum { MAX_BOARDS = 256, MAX_ENVIRONMENT = 512 };

static const char* const kFunctions[] = {"",
#define NAME(name, family) #name,
                                         SECBOX_FUNCTIONS(NAME)
#undef NAME
};

static const int kHeld[] = {
#ifdef SYS_open
    SYS_open,   SYS_unlink,   SYS_mkdir,  SYS_rename,   SYS_creat,
#endif
    SYS_openat, SYS_unlinkat, SYS_execve, SYS_execveat, SYS_connect, SYS_sendto, SYS_kill,
};

static struct secbox_board* boards[MAX_BOARDS];
static int board_count;
static FILE* out;

static void fail(const char* what) {
  perror(what);
  exit(125);
}

static int new_board(uint32_t version) {
  const int fd = memfd_create("board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, sizeof(struct secbox_board)) != 0) fail("memfd");
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) fail("seals");
  struct secbox_board* board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (board == MAP_FAILED || board_count == MAX_BOARDS) fail("board");
  board->version = version;
  boards[board_count++] = board;
  return fd;
}

static void print_text(const char* text, size_t size) {
  fputc('"', out);
  for (size_t at = 0; at < size && text[at] != '\0'; ++at) {
    const unsigned char c = (unsigned char)text[at];
    if (c < ' ' || c == '"' || c == '\\' || c > '~') {
      fprintf(out, "\\u%04x", c);
    } else {
      fputc(c, out);
    }
  }
  fputc('"', out);
}

/* The file that is mapped executable at an address of a thread, by its last component. */
static void print_module(unsigned tid, unsigned long long address) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%u/maps", tid);
  FILE* maps = fopen(path, "r");
  char line[4400];
  const char* module = "";
  while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
    unsigned long long start = 0;
    unsigned long long end = 0;
    char flags[5];
    if (sscanf(line, "%llx-%llx %4s", &start, &end, flags) != 3 || address < start || address >= end)
      continue;
    if (flags[2] == 'x' && strchr(line, '/') != NULL) module = strrchr(line, '/') + 1;
    break;
  }
  print_text(module, strcspn(module, "\n"));
  if (maps != NULL) fclose(maps);
}

static unsigned parent_of(unsigned tid) {
  char path[64];
  char line[256];
  unsigned parent = 0;
  snprintf(path, sizeof(path), "/proc/%u/status", tid);
  FILE* status = fopen(path, "r");
  while (status != NULL && fgets(line, sizeof(line), status) != NULL &&
         sscanf(line, "PPid: %u", &parent) != 1) {
  }
  if (status != NULL) fclose(status);
  return parent;
}

static struct secbox_slot* slot_of(unsigned tid) {
  for (int number = board_count - 1; number >= 0; --number) {
    struct secbox_slot* slot = &boards[number]->slots[tid % SECBOX_SLOTS];
    if (slot->tid == tid) return slot;
  }
  return NULL;
}

static void print_slot(const struct secbox_slot* slot, unsigned tid) {
  fprintf(out, "{\"tid\": %u, \"sequence\": %u, \"function\": \"%s\", \"flags\": %u, \"module\": ", slot->tid,
          slot->sequence, slot->function < SECBOX_FUNCTION_COUNT ? kFunctions[slot->function] : "?",
          slot->flags);
  print_module(tid, slot->caller);
  fprintf(out, ", \"argument\": %llu, \"text\": ", (unsigned long long)slot->argument);
  print_text(slot->text, slot->text_length);
  fputc('}', out);
}

static void read_path(unsigned tid, unsigned long long address, char* path, size_t size) {
  struct iovec local = {path, size - 1};
  struct iovec remote = {(void*)(uintptr_t)address, size - 1};
  ssize_t got = process_vm_readv((pid_t)tid, &local, 1, &remote, 1, 0);
  if (got < 0) {
    /* It may lie shortly before a page that is not there. */
    local.iov_len = remote.iov_len = 4096 - address % 4096 < size ? 4096 - address % 4096 : size - 1;
    got = process_vm_readv((pid_t)tid, &local, 1, &remote, 1, 0);
  }
  path[got < 0 ? 0 : got] = '\0';
}

static void answer_hello(int listener, const struct seccomp_notif* call, const char* how) {
  fprintf(out, "{\"hello\": %u, \"version\": %llu}\n", call->pid, (unsigned long long)call->data.args[1]);
  if (strcmp(how, "none") == 0 || strcmp(how, "zero") == 0) {
    struct seccomp_notif_resp response = {.id = call->id, .error = strcmp(how, "none") == 0 ? -EMFILE : 0};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    return;
  }
  const int fd = new_board(strcmp(how, "old") == 0 ? SECBOX_WIRE_VERSION - 1 : SECBOX_WIRE_VERSION);
  struct seccomp_notif_addfd add = {
      .id = call->id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (unsigned)fd, .newfd_flags = O_CLOEXEC};
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0) fail("addfd");
  close(fd);
}

static void answer(int listener, const char* how, const char* refused, const char* why) {
  struct seccomp_notif call = {0};
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
  if (call.data.nr == SYS_prctl) {
    answer_hello(listener, &call, how);
    return;
  }
  char path[512] = "";
  if (call.data.nr == SYS_openat) read_path(call.pid, call.data.args[1], path, sizeof(path));
#ifdef SYS_open
  if (call.data.nr == SYS_open || call.data.nr == SYS_unlink || call.data.nr == SYS_execve)
#else
  if (call.data.nr == SYS_execve)
#endif
    read_path(call.pid, call.data.args[0], path, sizeof(path));
  struct secbox_slot* slot = slot_of(call.pid);
  const struct secbox_slot none = {0};
  const struct secbox_slot seen = slot != NULL ? *slot : none;
  const struct secbox_slot* of_parent = slot_of(parent_of(call.pid));
  const struct secbox_slot parents = of_parent != NULL ? *of_parent : none;
  /* Else a signal has come in between, and the thread does something else by now. */
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id) != 0) return;
  fprintf(out, "{\"call\": %d, \"tid\": %u, \"path\": ", call.data.nr, call.pid);
  print_text(path, sizeof(path));
  fputs(", \"args\": [", out);
  for (int number = 0; number < 6; ++number) {
    fprintf(out, "%s%llu", number == 0 ? "" : ", ", (unsigned long long)call.data.args[number]);
  }
  fputs("], \"slot\": ", out);
  print_slot(&seen, call.pid);
  fputs(", \"parents\": ", out);
  print_slot(&parents, call.pid);
  fputs("}\n", out);
  struct seccomp_notif_resp response = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  if (refused != NULL && strcmp(path, refused) == 0) {
    response.flags = 0;
    response.error = -EACCES;
    if (slot != NULL && (slot->flags & SECBOX_SLOT_WANTS_EXPLANATION) != 0) {
      snprintf(slot->explanation, sizeof(slot->explanation), "%s", why);
    }
  }
  ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static void print_boards(void) {
  for (int number = 0; number < board_count; ++number) {
    const struct secbox_board* board = boards[number];
    fprintf(out, "{\"board\": %d, \"left\": [", number);
    const char* separator = "";
    for (unsigned at = 0; at < SECBOX_SLOTS; ++at) {
      if (board->slots[at].function == SECBOX_FUNCTION_NONE) continue;
      fputs(separator, out);
      print_slot(&board->slots[at], board->slots[at].tid);
      separator = ", ";
    }
    fprintf(out, "], \"lost\": %u, \"variables\": [", board->variables_lost);
    for (unsigned at = 0; at < board->variables && at < SECBOX_VARIABLES; ++at) {
      if (at != 0) fputs(", ", out);
      print_text(board->variable[at].name, sizeof(board->variable[at].name));
    }
    fputs("], \"names\": [", out);
    separator = "";
    for (unsigned at = 0; at < SECBOX_NAMES; ++at) {
      const struct secbox_name* name = &board->names[at];
      if (name->sequence == 0 || name->sequence % 2 != 0) continue;
      fputs(separator, out);
      fputc('[', out);
      print_text(name->name, name->length);
      fputs(", \"", out);
      for (int byte = 0; byte < 16; ++byte) fprintf(out, "%02x", name->address[byte]);
      fputs("\"]", out);
      separator = ", ";
    }
    fputs("]}\n", out);
  }
}

static int install_filter(int hold) {
  enum { HELD = sizeof(kHeld) / sizeof(kHeld[0]) };
  struct sock_filter program[6 + 2 * HELD];
  size_t length = 0;
#define ADD(...) program[length++] = (struct sock_filter)__VA_ARGS__
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  for (int at = 0; hold && at < HELD; ++at) {
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)kHeld[at], 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3));
  ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SECBOX_HELLO_PRCTL, 0, 1));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
#undef ADD
  struct sock_fprog all = {.len = (unsigned short)length, .filter = program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("no_new_privs");
  const long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &all);
  if (fd < 0) fail("seccomp");
  return (int)fd;
}

/* The listener's number, for the parent to take it: through memory that both share, for a call that carried
 * it could be held. */
struct handover {
  int listener; /* 0: not made yet */
  int taken;
};

static void start(char** command, const char* shim, const char* own, int hold, struct handover* handover) {
  static char preload[4096];
  static char* environment[MAX_ENVIRONMENT];
  int count = 0;
  snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", shim);
  environment[count++] = preload;
  /* execve(2) lays the strings one behind the other. */
  if (own != NULL) {
    environment[count++] = SECBOX_ENVIRONMENT_MARK;
    environment[count++] = (char*)own;
  }
  for (char** entry = environ; *entry != NULL && count < MAX_ENVIRONMENT - 1; ++entry)
    environment[count++] = *entry;
  environment[count] = NULL;
  __atomic_store_n(&handover->listener, install_filter(hold), __ATOMIC_RELEASE);
  while (!__atomic_load_n(&handover->taken, __ATOMIC_ACQUIRE)) sched_yield();
  execve(command[0], command, environment);
  fail(command[0]);
}

int main(int argc, char** argv) {
  int hold = 0;
  const char* own = NULL;
  const char* how = "board";
  const char* refused = NULL;
  const char* why = NULL;
  int at = 2;
  for (; at < argc && strncmp(argv[at], "--", 2) == 0; ++at) {
    if (strcmp(argv[at], "--hold") == 0) {
      hold = 1;
    } else if (strcmp(argv[at], "--mark") == 0 && at + 1 < argc) {
      own = argv[++at];
    } else if (strcmp(argv[at], "--answer") == 0 && at + 1 < argc) {
      how = argv[++at];
    } else if (strcmp(argv[at], "--refuse") == 0 && at + 2 < argc) {
      refused = argv[++at];
      why = argv[++at];
    }
  }
  if (at + 1 >= argc) return 2;
  out = fopen(argv[1], "we");
  if (out == NULL) fail(argv[1]);
  struct handover* handover =
      mmap(NULL, sizeof(*handover), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (handover == MAP_FAILED) fail("mmap");
  const pid_t child = fork();
  if (child == 0) start(argv + at + 1, argv[at], own, hold, handover);

  const int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
  int there = 0;
  while ((there = __atomic_load_n(&handover->listener, __ATOMIC_ACQUIRE)) == 0) {
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (poll(&ended, 1, 1) == 1) return 125;
  }
  const int fd = (int)syscall(SYS_pidfd_getfd, pidfd, there, 0);
  if (fd < 0) fail("pidfd_getfd");
  __atomic_store_n(&handover->taken, 1, __ATOMIC_RELEASE);
  for (;;) {
    struct pollfd events[2] = {{.fd = fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    poll(events, 2, -1);
    if ((events[0].revents & POLLIN) != 0) {
      answer(fd, how, refused, why);
    } else if ((events[0].revents & POLLHUP) != 0 || (events[1].revents & POLLIN) != 0) {
      break;
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  print_boards();
  fclose(out);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
