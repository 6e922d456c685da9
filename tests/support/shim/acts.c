/* What programs do with the functions that the shim hooks, one act each: acts NAME [ARGUMENT...]. The tests
 * look at what an act prints and at what the board says meanwhile; it must print the same with the shim and
 * without it. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <link.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int check(int holds, const char* what) {
  if (!holds) {
    printf("not so: %s (errno %d)\n", what, errno);
    exit(1);
  }
  return 1;
}

/* Each open of a name of its own, so that the log tells them apart. */
static int try(const char* path) { return open(path, O_RDONLY | O_CLOEXEC); }

static void act_open(char** arguments) {
  errno = 7;
  const int fd = open(arguments[0], O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
  check(fd >= 0 && errno == 7, "open makes a file and leaves errno alone");
  check(write(fd, "x", 1) == 1 && close(fd) == 0, "write");
  check(try("/nonexistent/a") == -1 && errno == ENOENT, "errno of open");
  FILE* file = fopen(arguments[0], "r");
  check(file != NULL && fgetc(file) == 'x' && fclose(file) == 0, "fopen");
  check(opendir(arguments[0]) == NULL && errno == ENOTDIR, "errno of opendir");
  check(unlink(arguments[0]) == 0 && unlink(arguments[0]) == -1 && errno == ENOENT, "unlink");
  check(openat(-5, "x", O_RDONLY) == -1 && errno == EBADF, "errno of openat");
  check(syscall(SYS_unlinkat, AT_FDCWD, "/nonexistent/b", 0) == -1 && errno == ENOENT, "errno of syscall");
  check(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF,
        "errno of mmap");
}

/* A call inside another one: what the outer one says is there again after it. */
static int visit(const char* path, const struct stat* status, int type) {
  (void)path;
  (void)status;
  (void)type;
  static int visits;
  try("/nonexistent/inner");
  syscall(SYS_openat, AT_FDCWD, "/nonexistent/direct", O_RDONLY);
  return visits++; /* after the first one, ftw() itself opens the folder */
}

static void act_nested(char** arguments) {
  (void)arguments;
  ftw("/etc", visit, 4);
  try("/nonexistent/after");
}

static jmp_buf back;

static int visit_and_leave(const char* path, const struct stat* status, int type) {
  (void)path;
  (void)status;
  (void)type;
  longjmp(back, 1);
}

/* Left by longjmp: the next call does not take what is left for an outer one. */
static void act_longjmp(char** arguments) {
  (void)arguments;
  if (setjmp(back) == 0) ftw("/", visit_and_leave, 4);
  try("/nonexistent/after");
}

static void* opens(void* data) {
  char path[64];
  for (int number = 0; number < 200; ++number) {
    snprintf(path, sizeof(path), "/nonexistent/%ld", (long)(intptr_t)data);
    check(try(path) == -1 && errno == ENOENT, "errno in threads");
    check(getenv("HOME") == getenv("HOME"), "getenv in threads");
  }
  return NULL;
}

static void act_threads(char** arguments) {
  (void)arguments;
  pthread_t threads[8];
  for (intptr_t number = 0; number < 8; ++number)
    pthread_create(&threads[number], NULL, opens, (void*)number);
  for (int number = 0; number < 8; ++number) pthread_join(threads[number], NULL);
}

static int wait_for(pid_t child) {
  int status = 0;
  check(waitpid(child, &status, 0) == child, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static void act_children(char** arguments) {
  (void)arguments;
  try("/nonexistent/parent");
  pid_t child = fork();
  if (child == 0) {
    try("/nonexistent/forked");
    child = fork();
    if (child == 0) {
      opens((void*)99);
      _exit(try("/nonexistent/grandchild") == -1 ? 3 : 4);
    }
    _exit(wait_for(child));
  }
  check(wait_for(child) == 3, "fork in a fork");
  child = vfork();
  if (child == 0) {
    try("/nonexistent/vforked");
    execl("/nonexistent/program", "program", NULL);
    execl("/bin/sh", "sh", "-c", "exit $#", "name", "1", "2", "3", "4", "5", "6", "7", "8", NULL);
    _exit(126);
  }
  check(wait_for(child) == 8, "vfork and execl");
  char* argv[] = {"sh", "-c", "exit 9", NULL};
  check(posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ) == 0 && wait_for(child) == 9,
        "posix_spawn");
  check(posix_spawnp(&child, "no-such-program", NULL, NULL, argv, environ) == ENOENT, "posix_spawnp");
  check(WEXITSTATUS(system("exit 5")) == 5, "system");
  FILE* pipe = popen("echo 12", "r");
  int number = 0;
  check(fscanf(pipe, "%d", &number) == 1 && number == 12 && WEXITSTATUS(pclose(pipe)) == 0, "popen");
  try("/nonexistent/after");
}

#define TEN "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"

static void act_execl(char** arguments) {
  char* environment[] = {"ONLY=this", NULL};
  if (strcmp(arguments[0], "execl") == 0) execl("/bin/echo", "echo", TEN, TEN, TEN, TEN, NULL);
  if (strcmp(arguments[0], "execlp") == 0) execlp("echo", "echo", TEN, TEN, TEN, NULL);
  if (strcmp(arguments[0], "execle") == 0)
    execle("/bin/sh", "sh", "-c", "echo $ONLY $*", TEN, TEN, NULL, environment);
  check(0, "exec");
}

static volatile sig_atomic_t signals_seen;

static void on_signal(int number) {
  (void)number;
  const int saved = errno;
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  signals_seen = signals_seen + 1;
  errno = saved;
}

/* A handler that opens comes at every point of a hook: one signal for each open, sooner or later. */
static void act_storm(char** arguments) {
  (void)arguments;
  static char stack[65536];
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
  sigaction(SIGALRM, &action, NULL);
  for (int number = 0; number < 3000; ++number) {
    const struct itimerval soon = {.it_value = {0, 1 + number % 50}};
    const int before = signals_seen;
    setitimer(ITIMER_REAL, &soon, NULL);
    do {
      check(try("/nonexistent/main") == -1 && errno == ENOENT, "errno beside a signal handler");
    } while (signals_seen == before);
  }
  try("/nonexistent/after");
}

static int cancelled;
static int cleaned;

static void note_cleanup(void* data) { *(int*)data = 1; }

static void* opens_when_cancelled(void* data) {
  pthread_cleanup_push(note_cleanup, &cleaned);
  while (!__atomic_load_n(&cancelled, __ATOMIC_ACQUIRE)) sched_yield();
  open("/nonexistent/cancelled", O_RDONLY); /* a cancellation point */
  pthread_cleanup_pop(0);
  return data;
}

/* Cancelled inside a hooked call. */
static void act_cancel(char** arguments) {
  (void)arguments;
  pthread_t thread;
  void* result = NULL;
  pthread_create(&thread, NULL, opens_when_cancelled, NULL);
  pthread_cancel(thread);
  __atomic_store_n(&cancelled, 1, __ATOMIC_RELEASE);
  pthread_join(thread, &result);
  check(result == PTHREAD_CANCELED && cleaned == 1, "cancelled");
  try("/nonexistent/after");
}

/* The first call of all is made by a child on its parent's memory: it must not be taken for the parent's. */
static void act_vfork_first(char** arguments) {
  (void)arguments;
  const pid_t child = vfork();
  if (child == 0) {
    execl("/nonexistent/program", "program", NULL);
    open("/nonexistent/vforked", O_RDONLY);
    _exit(11);
  }
  check(wait_for(child) == 11, "vfork");
  try("/nonexistent/after");
}

static void* old_version(const char* name) {
#ifdef __x86_64__
  return dlvsym(RTLD_DEFAULT, name, "GLIBC_2.2.5");
#else
  return dlvsym(RTLD_DEFAULT, name, "GLIBC_2.17");
#endif
}

/* Whose are the functions that programs built for an older libc ask for, and those of today. */
static void act_versions(char** arguments) {
  Dl_info info;
  for (; *arguments != NULL; ++arguments) {
    check(dladdr(old_version(*arguments), &info) != 0, "dladdr");
    printf("%s: old %s", *arguments, strrchr(info.dli_fname, '/') + 1);
    check(dladdr(dlsym(RTLD_DEFAULT, *arguments), &info) != 0, "dladdr");
    printf(", new %s\n", strrchr(info.dli_fname, '/') + 1);
  }
}

static _Noreturn void child_on_stack(void) {
  syscall(SYS_exit, 6);
  __builtin_unreachable();
}

/* syscall(2) comes back on another stack in the child: nothing of the shim's may be on it. */
static void act_clone(char** arguments) {
  (void)arguments;
#ifdef __x86_64__
  void** top = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  top += 65536 / sizeof(void*) - 2;
  *top = (void*)child_on_stack; /* where the system call's function returns to */
  const long child = syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, top, NULL, NULL, 0);
  check(child > 0 && wait_for((pid_t)child) == 6, "clone by number");
#endif
  check(syscall(SYS_getpid) == getpid(), "getpid by number");
  const pid_t forked = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (forked == 0) {
    try("/nonexistent/cloned");
    _exit(7);
  }
  check(wait_for(forked) == 7, "fork by number");
  void* all_six =
      (void*)syscall(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, open(arguments[0], O_RDONLY), 4096);
  check(all_six != MAP_FAILED && memcmp(all_six, "second page", 11) == 0, "the sixth argument");
}

static void act_variables(char** arguments) {
  (void)arguments;
  char name[128];
  for (int number = 0; number < 3; ++number) getenv("SHIM_TEST_ONE");
  secure_getenv("SHIM_TEST_TWO");
  if (fork() == 0) {
    getenv("SHIM_TEST_ONE");
    getenv("SHIM_TEST_CHILD");
    _exit(0);
  }
  wait(NULL);
  getenv("SHIM_TEST_CHILD");
  memset(name, 'L', sizeof(name));
  name[100] = '\0';
  getenv(name);
  getenv("");
  for (int number = 0; number < 300; ++number) {
    snprintf(name, sizeof(name), "SHIM_TEST_MANY_%d", number);
    getenv(name);
    getenv(name);
  }
}

static void act_lookup(char** arguments) {
  struct addrinfo hints = {.ai_family = AF_INET};
  struct addrinfo* answers = NULL;
  check(getaddrinfo("localhost", "80", &hints, &answers) == 0, "getaddrinfo");
  freeaddrinfo(answers);
  hints.ai_flags = AI_NUMERICHOST;
  check(getaddrinfo("127.0.0.9", NULL, &hints, &answers) == 0, "getaddrinfo of figures");
  freeaddrinfo(answers);
  check(gethostbyname(arguments[0]) != NULL, "gethostbyname");
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0, "socket");
}

/* dlopen of what only the caller's RUNPATH finds; and the texts of dlerror. */
static void act_load(char** arguments) {
  void* handle = dlopen(arguments[0], RTLD_NOW);
  if (handle == NULL) {
    printf("%s\n", dlerror());
    return;
  }
  int (*call)(void) = (int (*)(void))dlsym(handle, "call_loaded");
  check(dlerror() == NULL, "no error");
  if (call == NULL) {
    printf("%s\n", dlerror());
  } else {
    printf("%d\n", call());
  }
  try("/nonexistent/after");
  dlclose(handle);
  printf("%s\n", dlopen("/nonexistent/lib.so", RTLD_NOW) == NULL ? dlerror() : "loaded");
  printf("%s\n", dlopen("no-such-library.so", RTLD_NOW) == NULL ? dlerror() : "loaded");
  printf("%s\n", dlsym(RTLD_DEFAULT, "no_such_symbol") == NULL ? dlerror() : "there");
  handle = dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW);
  check(handle != NULL && dlsym(handle, "cos") != NULL, "dlmopen");
}

/* A library that binds libc's functions before ours; ARGUMENTS: its name or path, "lazy" or "now". */
static void act_deep(char** arguments) {
  void* handle =
      dlopen(arguments[0], RTLD_DEEPBIND | (strcmp(arguments[1], "lazy") == 0 ? RTLD_LAZY : RTLD_NOW));
  if (handle == NULL) {
    printf("%s\n", dlerror());
    return;
  }
  check(dlerror() == NULL, "no error");
  int (*call)(void) = (int (*)(void))dlsym(handle, "call_loaded");
  printf("%d\n", call());
  check(dlclose(handle) == 0, "dlclose");
}

static void act_environment(char** arguments) {
  (void)arguments;
  for (char** entry = environ; *entry != NULL; ++entry) puts(*entry);
  const char* preload = getenv("LD_PRELOAD");
  printf("LD_PRELOAD is %s\n", preload == NULL ? "not there" : preload);
}

static void act_descriptors(char** arguments) {
  (void)arguments;
  DIR* all = opendir("/proc/self/fd");
  for (struct dirent* entry = NULL; (entry = readdir(all)) != NULL;) {
    if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(all)) puts(entry->d_name);
  }
}

static void act_refused(char** arguments) {
  errno = 0;
  const int fd = try(arguments[0]);
  printf("%d %d\n", fd, errno);
  fflush(stdout);
  try("/nonexistent/other");
}

static const struct {
  const char* name;
  void (*act)(char** arguments);
} kActs[] = {
    {"open", act_open},           {"nested", act_nested},           {"longjmp", act_longjmp},
    {"threads", act_threads},     {"children", act_children},       {"execl", act_execl},
    {"storm", act_storm},         {"cancel", act_cancel},           {"clone", act_clone},
    {"variables", act_variables}, {"lookup", act_lookup},           {"load", act_load},
    {"deep", act_deep},           {"environment", act_environment}, {"descriptors", act_descriptors},
    {"refused", act_refused},     {"vfork_first", act_vfork_first}, {"versions", act_versions},
};

int main(int argc, char** argv) {
  for (size_t number = 0; argc > 1 && number < sizeof(kActs) / sizeof(kActs[0]); ++number) {
    if (strcmp(argv[1], kActs[number].name) != 0) continue;
    kActs[number].act(argv + 2);
    puts("done");
    return 0;
  }
  return 2;
}
