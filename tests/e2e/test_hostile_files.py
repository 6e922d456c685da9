"""Programs written to get out: each does its act natively (exit code 3), and is stopped under secbox (0), with a record.

Dynamic and static, for every user. The table holds attacks that once got out and attacks that never did.
"""

import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

import sbx

SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char **v;

static int holds_secret(int fd) {
  static char text[65536];
  if (fd < 0) return 0;
  const ssize_t got = read(fd, text, sizeof text);
  return got > 0 && memmem(text, (size_t)got, "SECRET", 6) != NULL;
}
static int reads(const char *path) { return holds_secret(open(path, O_RDONLY)); }
static int lists_of(const char *format) {
  char path[256];
  snprintf(path, sizeof path, format, v[2]);
  return reads(path);
}

// An object whose name is gone: link v[2] to v[3], open that, remove it. What the rules say of "v[3]" must still hold.
static int nameless(int flags, int reopen) {
  char path[64];
  int fd = -1;
  if (link(v[2], v[3]) == 0) fd = open(v[3], flags);
  unlink(v[3]);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return fd < 0 ? -1 : reopen < 0 ? fd : open(path, reopen);
}

static volatile struct open_how how;
static void *flip(void *none) {
  for (;;) {
    how.flags = O_PATH;
    for (volatile int i = 0; i < 3000; i++) {}
    how.flags = O_RDONLY;
    for (volatile int i = 0; i < 3000; i++) {}
  }
  return none;
}
static int openat2_swap(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, flip, NULL);
  for (const time_t end = time(NULL) + 2; time(NULL) < end;) {
    const int fd = (int)syscall(SYS_openat2, AT_FDCWD, v[2], &how, sizeof how);
    if (holds_secret(fd)) return 1;
    if (fd >= 0) close(fd);
  }
  return 0;
}

static volatile char name[128];
static void *flip_name(void *none) {
  for (;;) {
    strcpy((char *)name, "/dev/tty");
    for (volatile int i = 0; i < 300; i++) {}
    strcpy((char *)name, v[2]);
    for (volatile int i = 0; i < 300; i++) {}
  }
  return none;
}
static int terminal_swap(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, flip_name, NULL);
  for (const time_t end = time(NULL) + 2; time(NULL) < end;) {
    const int fd = open((const char *)name, O_RDONLY);
    if (holds_secret(fd)) return 1;
    if (fd >= 0) close(fd);
  }
  return 0;
}

static void *exchange_names(void *none) {
  for (;;) syscall(SYS_renameat2, AT_FDCWD, v[2], AT_FDCWD, v[3], 2);
  return none;
}
static int rename_race(void) {  // v[2] is a file, v[3] a directory, v[4] where the file may go; reads v[5]
  pthread_t thread;
  struct stat st;
  pthread_create(&thread, NULL, exchange_names, NULL);
  for (const time_t end = time(NULL) + 2; time(NULL) < end;) {
    if (rename(v[2], v[4]) != 0) continue;
    if (stat(v[4], &st) == 0 && S_ISDIR(st.st_mode)) break;
    rename(v[4], v[2]);
  }
  return reads(v[5]);
}

static int in_root(void) {
  struct open_how in = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
  const int dir = open(v[2], O_PATH);
  return holds_secret((int)syscall(SYS_openat2, dir, "/secret", &in, sizeof in));
}

static pthread_barrier_t barrier;
static void *swap_table(void *none) {
  unshare(CLONE_FILES | CLONE_FS);
  const int other = open(v[3], O_PATH);
  dup2(other, 100);
  chdir(v[3]);
  if (holds_secret(openat(100, "secret", O_RDONLY)) || reads("secret")) exit(3);
  return none;
}
static int thread_table(void) {  // v[2]: a granted directory, v[3]: the one with the secret
  pthread_t thread;
  dup2(open(v[2], O_PATH), 100);
  chdir(v[2]);
  pthread_create(&thread, NULL, swap_table, NULL);
  pthread_join(thread, NULL);
  return 0;
}

static int by_sharing_child(void *none) { (void)none; _exit(reads(v[2]) ? 3 : 0); }
static int clone_vm(void) {
  char *stack = malloc(1 << 18);
  int status = 0;
  const pid_t child = clone(by_sharing_child, stack + (1 << 18), CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 3;
}

static int memfd_exec(void) {
  char text[4096];
  const int from = open(v[2], O_RDONLY);
  const int to = memfd_create("x", 0);
  for (ssize_t got; (got = read(from, text, sizeof text)) > 0;) write(to, text, (size_t)got);
  char *arguments[] = {"x", NULL};
  return (int)syscall(SYS_execveat, to, "", arguments, environ, AT_EMPTY_PATH) * 0;
}

static void *exec_true(void *none) {
  pthread_barrier_wait(&barrier);
  execl("/bin/true", "true", (char *)NULL);
  return none;
}
static int concurrent_execs(void) {
  for (int round = 0; round < 60; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      pthread_barrier_init(&barrier, NULL, 9);
      pthread_t thread;
      for (int i = 0; i < 8; i++) pthread_create(&thread, NULL, exec_true, NULL);
      exec_true(NULL);
      pause();
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) return 0;
  }
  return 1;
}

static int flip_directory(void *none) {
  (void)none;
  for (;;) {
    chdir(v[2]);
    for (volatile int i = 0; i < 3000; i++) {}
    chdir(v[3]);
    for (volatile int i = 0; i < 3000; i++) {}
  }
}
static int exec_program(void *none) { (void)none; execl(v[4], v[4], (char *)NULL); _exit(1); }
static int exec_race(void) {  // v[4] needs what is named alike in v[2], which may be used, and in v[3]
  char *stacks = malloc(1 << 18);
  const pid_t flipping = clone(flip_directory, stacks + (1 << 17), CLONE_VM | CLONE_FS | SIGCHLD, NULL);
  int out = 0;
  for (const time_t end = time(NULL) + 2; time(NULL) < end && !out;) {
    int status = 0;
    const pid_t child = clone(exec_program, stacks + (1 << 18), CLONE_FS | SIGCHLD, NULL);
    waitpid(child, &status, 0);
    out = WIFEXITED(status) && WEXITSTATUS(status) == 3;
  }
  kill(flipping, SIGKILL);
  return out;
}

static int killed_execs(void) {
  for (int i = 0; i < 300; ++i) {
    const pid_t child = fork();
    if (child == 0) execl("/bin/true", "true", (char *)NULL);
    for (volatile int k = 0; k < i * 500; k++) {}
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  return 1;
}

static int signal_neighbours(void) {  // the supervisor is one of the next processes, and so are its threads; others are made meanwhile
  for (pid_t pid = getpid() + 1; pid < getpid() + 1000; ++pid) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/status", pid);
    if (access(name, F_OK) != 0) continue;
    kill(pid, SIGURG);
    syscall(SYS_tkill, pid, SIGURG);
  }
  return kill(-1, SIGURG) == 0;
}

static int leased(void) {  // truncate(2) waits for the lease; nobody else must
  signal(SIGIO, SIG_IGN);
  fcntl(open(v[2], O_RDWR), F_SETLEASE, F_WRLCK);
  for (int i = 0; i < 3; ++i) {
    if (fork() == 0) _exit(truncate(v[2], i));
  }
  usleep(100000);
  return open(v[2], O_RDONLY | O_NONBLOCK) < 0 && errno == EAGAIN;
}

static char *large;
static void *write_long(void *none) {
  const int fd = open(v[2], O_WRONLY);
  for (;;) pwrite(fd, large, 1UL << 28, 0);
  return none;
}
static void *change_modes(void *none) {
  for (;;) chmod(v[2], 0600);
  return none;
}
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
static int long_write(void) {  // 1: no other call waited for long
  pthread_t thread;
  double worst = 0, all = 0;
  int count = 0;
  large = mmap(NULL, 1UL << 28, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_create(&thread, NULL, write_long, NULL);
  for (int i = 0; i < 4; i++) pthread_create(&thread, NULL, change_modes, NULL);
  for (const double end = now() + 2; now() < end; ++count) {
    const double start = now();
    open("/nonexistent", O_RDONLY);
    all += now() - start;
    if (now() - start > worst) worst = now() - start;
    usleep(1000);
  }
  truncate(v[2], 0);
  fprintf(stderr, "%d calls, mean %.3f s, worst %.3f s\n", count, all / count, worst);
  return all / count < 0.02;
}

static int malformed(void) {
  static const long numbers[] = {SYS_open, SYS_openat, SYS_openat2, SYS_execve, SYS_execveat, SYS_rename, SYS_renameat2,
                                 SYS_linkat, SYS_unlinkat, SYS_mkdirat, SYS_mknodat, SYS_fchmodat, SYS_fchownat,
                                 SYS_utimensat, SYS_setxattr, SYS_fsetxattr, SYS_truncate, SYS_inotify_add_watch,
                                 SYS_pidfd_send_signal, SYS_prlimit64, SYS_connect, SYS_sendmsg, SYS_sendmmsg, SYS_bind};
  static const unsigned long values[] = {0, 1, ~0UL, 1UL << 63, 0x7fffffffffffUL, 0x7ffffffff001UL, (unsigned long)numbers};
  unsigned long seed = 1;
  for (int i = 0; i < 4000; ++i) {
    unsigned long a[6];
    for (int k = 0; k < 6; ++k) {
      seed = seed * 6364136223846793005UL + 1442695040888963407UL;
      a[k] = values[(seed >> 33) % 7];
    }
    syscall(numbers[(unsigned)i % (sizeof numbers / sizeof *numbers)], a[0], a[1], a[2], a[3], a[4], a[5]);
  }
  return 0;
}

int main(int count, char **arguments) {
  v = arguments;
  const char *act = v[1];
  int out = 0;
  char text[256];
  struct stat st;
#define IS(name) (strcmp(act, name) == 0)
  if (IS("read")) out = reads(v[2]);
  if (IS("write")) out = open(v[2], O_WRONLY | O_APPEND) >= 0;
  if (IS("create")) out = open(v[2], O_WRONLY | O_CREAT, 0600) >= 0;
  if (IS("unlink")) out = unlink(v[2]) == 0;
  if (IS("rename")) out = rename(v[2], v[3]) == 0 && reads(v[count - 1]);
  if (IS("exchange")) out = syscall(SYS_renameat2, AT_FDCWD, v[2], AT_FDCWD, v[3], 2) == 0 && reads(v[3]);
  if (IS("link")) out = link(v[2], v[3]) == 0 && reads(v[3]);
  if (IS("symlink")) out = symlink(v[2], v[3]) == 0 && reads(v[3]);
  if (IS("dangling")) out = symlink(v[2], v[3]) == 0 && open(v[3], O_WRONLY | O_CREAT, 0600) >= 0 && stat(v[2], &st) == 0;
  if (IS("truncate")) out = truncate(v[2], 0) == 0;
  if (IS("passed")) {
    out |= truncate("/proc/self/fd/0", 0) == 0;
    out |= chmod("/proc/self/fd/0", 0777) == 0;
    out |= fchmod(0, 0777) == 0;
  }
  if (IS("chmod")) out = chmod(v[2], 0777) == 0;
  if (IS("fchmod")) out = fchmod(open(v[2], O_RDONLY), 0777) == 0;
  if (IS("nameless-handle")) out = holds_secret(nameless(O_PATH, O_RDONLY));
  if (IS("nameless-read")) out = holds_secret(nameless(O_WRONLY, O_RDONLY));
  if (IS("nameless-write")) out = nameless(O_RDONLY, O_WRONLY) >= 0;
  if (IS("nameless-chmod")) out = fchmod(nameless(O_RDONLY, -1), 0777) == 0;
  if (IS("tmpfile")) out = open(v[2], O_TMPFILE | O_RDWR, 0600) >= 0;
  if (IS("handle")) {
    snprintf(text, sizeof text, "/proc/self/fd/%d", open(v[2], O_PATH));
    out = reads(text);
  }
  if (IS("proc-handle")) {
    snprintf(text, sizeof text, "/proc/%s/environ", v[2]);
    snprintf(text, sizeof text, "/proc/self/fd/%d", open(text, O_PATH));
    out = reads(text);
  }
  if (IS("proc")) out = lists_of("/proc/%s/environ");
  if (IS("proc-root")) out = lists_of("/proc/self/root/proc/%s/environ");
  if (IS("proc-thread")) out = lists_of("/proc/thread-self/root/proc/%s/environ");
  if (IS("proc-cwd")) out = chdir("/proc") == 0 && lists_of("/proc/self/cwd/%s/environ");
  if (IS("openat2-swap")) out = openat2_swap();
  if (IS("terminal-swap")) out = terminal_swap();
  if (IS("rename-race")) out = rename_race();
  if (IS("in-root")) out = in_root();
  if (IS("thread-table")) out = thread_table();
  if (IS("clone-vm")) out = clone_vm();
  if (IS("memfd")) out = memfd_exec();
  if (IS("exec")) out = execv(v[2], v + 2) * 0;
  if (IS("execs")) out = concurrent_execs();
  if (IS("exec-race")) out = exec_race();
  if (IS("killed-execs")) out = killed_execs();
  if (IS("neighbours")) out = signal_neighbours();
  if (IS("long-write")) out = long_write();
  if (IS("leased")) out = leased();
  if (IS("malformed")) out = malformed();
  if (IS("kill")) out = kill(atoi(v[2]), SIGURG) == 0;
  if (IS("priority")) out = setpriority(PRIO_PROCESS, (id_t)atoi(v[2]), 1) == 0;
  if (IS("capbset")) {
    if (count > 3) {
      prctl(PR_CAPBSET_DROP, 1, 0, 0, 0);
      prctl(PR_CAPBSET_DROP, 2, 0, 0, 0);
      execl(v[0], v[0], v[1], v[2], (char *)NULL);
    }
    out = reads(v[2]);
  }
  fflush(stdout);
  _exit(out ? 3 : 0);
}
"""

# Without libc: what a kernel starts as an ELF loader.
LOADER = r"""
static void call(long number, long a, long b, long c) {
#if defined(__x86_64__)
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
#endif
}
#include <sys/syscall.h>
void _start(void) { for (;;) call(SYS_exit_group, 3, 0, 0); }
"""

LOAD = ["file:load:/lib/**", "file:load:/lib64/**", "file:load:/usr/lib/**", "file:read:/etc/ld.so.cache"]
OWN = [f"file:{verb}:{{d}}/data/**" for verb in ("read", "write", "create", "delete")]
ALL = "file:read|list|write|create|delete:{d}/**"
# name, arguments, grants ({d}: the test's directory, {pid}: a process outside that has a secret environment; a leading
# "!" makes it a deny)
ATTACKS = (
    ("read", ["{d}/secret"], []),
    ("write", ["{d}/secret"], ["file:read:{d}/secret"]),
    ("create", ["{d}/new"], OWN),
    ("unlink", ["{d}/secret"], ["file:read:{d}/secret", "file:write:{d}/secret"]),
    ("rename", ["{d}/secret", "{d}/data/x"], OWN),
    ("exchange", ["{d}/secret", "{d}/data/own"], OWN),
    ("link", ["{d}/secret", "{d}/data/x"], OWN),
    ("symlink", ["{d}/secret", "{d}/data/x"], OWN),
    ("dangling", ["{d}/new", "{d}/data/x"], OWN),
    ("rename", ["{d}/private", "{d}/data/p", "{d}/data/p/s.txt"],
     ["file:create:{d}/**", "file:delete:{d}/**", "file:list:{d}/**", "file:read:{d}/data/**/*.txt"]),
    ("truncate", ["{d}/secret"], ["file:read:{d}/secret"]),
    ("chmod", ["{d}/secret"], ["file:read:{d}/secret"]),
    ("fchmod", ["{d}/secret"], ["file:read:{d}/secret"]),
    ("tmpfile", ["{d}/private"], ["file:read:{d}/private/**"]),
    ("handle", ["{d}/secret"], ["file:read:/proc/self/**"]),
    ("nameless-handle", ["{d}/private/s.txt", "{d}/private/b.txt"], [ALL, "!file:read:{d}/private/*.txt"]),
    ("nameless-handle", ["{d}/private/s.txt", "{d}/private/b.txt"],
     [{"use": "file:rw:{d}/**", "except": ["{d}/private/*.txt"]}, "file:create|delete:{d}/**"]),
    ("nameless-read", ["{d}/private/s.txt", "{d}/private/b.txt"], [ALL, "!file:read:{d}/private/*.txt"]),
    ("nameless-write", ["{d}/private/s.txt", "{d}/private/b.txt"], [ALL, "!file:write:{d}/private/*.txt"]),
    ("nameless-chmod", ["{d}/private/s.txt", "{d}/private/b.txt"], [ALL, "!file:write:{d}/private/*.txt"]),
    ("link", ["{d}/private/s.txt", "{d}/data/x"], [{"use": ALL, "except": ["{d}/private/*.txt"]}]),
    ("in-root", ["{d}"], ["file:read:{d}/data/**"]),
    ("thread-table", ["{d}/data", "{d}"], ["file:read:{d}/data/**"]),
    ("clone-vm", ["{d}/secret"], ["file:read:{d}/data/**"]),
    ("memfd", ["{d}/bin/loader"], ["file:read:{d}/bin/loader"]),
    ("proc", ["{pid}"], ["file:read:/proc/**"]),
    ("proc-handle", ["{pid}"], ["file:read:/proc/**"]),
    ("proc-root", ["{pid}"], ["file:read:/proc/self/**"]),
    ("proc-thread", ["{pid}"], ["file:read:/**"]),
    ("proc-cwd", ["{pid}"], ["file:read:/proc/self/**"]),
    ("kill", ["{pid}"], []),
    ("priority", ["{pid}"], []),
)


def filled(value, **names):
    """`value` with its {names} filled in."""
    if isinstance(value, dict):
        return {key: filled(member, **names) for key, member in value.items()}
    return [filled(member, **names) for member in value] if isinstance(value, list) else value.format(**names)


def permissions(grants):
    return {"required": [grant for grant in grants if not str(grant).startswith("!")],
            "deny": [grant[1:] for grant in grants if str(grant).startswith("!")]}


def with_loader(source, loader, change):
    """`source`, an ELF file, asking for another loader; 'class' says ELFCLASS32, 'many' has 600 program headers."""
    image = bytearray(source)
    start, = struct.unpack_from("<Q", image, 32)
    count, = struct.unpack_from("<H", image, 56)
    headers = [image[start + 56 * i:start + 56 * (i + 1)] for i in range(count)]
    name = loader.encode() + b"\0"
    for header in headers:
        if struct.unpack_from("<I", header)[0] == 3:
            struct.pack_into("<QQQQQ", header, 8, len(image), 0, 0, len(name), len(name))
    image += name
    if change == "class":
        image[4] = 1
    if change == "many":
        headers += [bytes(56)] * (600 - count)
        image += bytes(-len(image) % 16)
        start = len(image)
        struct.pack_into("<Q", image, 32, start)
        struct.pack_into("<H", image, 56, len(headers))
        image += bytes(56 * len(headers))
    image[start:start + 56 * len(headers)] = b"".join(headers)
    return bytes(image)


class HostileFiles(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-hostile-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        cls.compile(SOURCE, "hostile", "-O1", "-w", "-pthread")
        cls.compile(SOURCE, "hostile-static", "-O1", "-w", "-pthread", "-static")
        cls.compile(LOADER, "loader", "-O1", "-nostdlib", "-static-pie", "-fPIE")
        cls.compile(LOADER.replace("exit_group, 3", "exit_group, 0"), "zero", "-O1", "-nostdlib", "-static-pie", "-fPIE")
        cls.compile(LOADER, "loaded", "-O1", "-nostdlib", "-pie", "-fPIE", "-Wl,--dynamic-linker=/nowhere")

    @classmethod
    def compile(cls, source, name, *flags):
        subprocess.run(["gcc", "-x", "c", *flags, "-o", str(cls.built / name), "-"], input=source.encode(), check=True)

    def setUp(self):
        super().setUp()
        shutil.copytree(self.built, self.dir / "bin")
        os.chmod(self.dir / "bin", 0o755)

    def reset(self, uid):
        """What an attack changes, as it was; all of it the user's own."""
        for name in ("data", "private"):
            shutil.rmtree(self.dir / name, ignore_errors=True)
        (self.dir / "new").unlink(missing_ok=True)
        for name in ("secret", "private/s.txt"):
            self.write(name, "SECRET\n", 0o644)
        self.write("data/own", "own\n")
        for path in [self.dir, *self.dir.glob("data/**"), *self.dir.glob("private/**"), self.dir / "secret",
                     self.dir / "data" / "own", self.dir / "private" / "s.txt"]:
            os.chown(path, os.geteuid() if uid is None else uid, -1)

    def outside(self, uid):
        """A process that is none of the session's."""
        process = subprocess.Popen(["sleep", "1000"], env={"VALUE": "SECRET"}, **sbx._identity(uid))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return str(process.pid)

    def program(self, suffix):
        return str(self.dir / "bin" / ("hostile" + suffix))

    def test_table(self):
        for uid in self.each_user():
            pid = self.outside(uid)
            for suffix in ("", "-static"):
                for act, arguments, grants in ATTACKS:
                    fill = filled([arguments, grants], d=self.dir, pid=pid)
                    with self.subTest(act=act, grants=grants, suffix=suffix, uid=uid):
                        command = [self.program(suffix), act, *fill[0]]
                        self.reset(uid)
                        self.assert_act(command, uid)
                        self.reset(uid)
                        done = self.run_box(permissions(LOAD + fill[1]), command, uid=uid)
                        self.assertEqual(done.returncode, 0, done.stderr)
                        self.assertTrue(done.denials())

    def test_unlinked_file_of_the_host(self):
        """A descriptor for reading, passed from outside, of a file whose name is gone by then."""
        for uid in self.each_user():
            for suffix in ("", "-static"):
                for box in (False, True):
                    with self.subTest(suffix=suffix, uid=uid, box=box):
                        path = self.write("passed", "SECRET\n")
                        os.chown(path, os.geteuid() if uid is None else uid, -1)
                        with open(path, "rb") as file:
                            os.unlink(path)
                            command = [self.program(suffix), "passed"]
                            run = self.run_box if box else lambda _, *rest, **options: self.run_native(*rest, **options)
                            done = run(LOAD, command, uid=uid, stdin=file)
                            self.assertEqual(done.returncode, 0 if box else 3, done.stderr)
                            self.assertEqual(os.fstat(file.fileno()).st_size, 7 if box else 0)

    def test_open_how_exchanged(self):
        """openat2(2) reads its flags from memory: nothing of it may be left to the kernel."""
        for uid in self.each_user():
            self.reset(uid)
            os.chmod(self.dir / "secret", 0o644)
            command = [self.program("-static"), "openat2-swap", self.path("secret")]
            self.assert_act(command, uid)
            done = self.run_box([f"exec:run:{self.dir}/**/hostile-static"], command, ["--quiet"], uid)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.denied(self.path("secret")))

    def test_terminal_exchanged(self):
        """The name of a terminal, which becomes another file's once it is judged: below what the floor lets exec read."""
        for uid in self.each_user():
            self.reset(uid)
            command = [self.program("-static"), "terminal-swap", self.path("secret")]
            self.assert_act(command, uid)
            done = self.run_box(["file:read:/dev/tty", f"exec:run:{self.dir}/**/hostile-static"], command, ["--quiet"],
                                uid)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.denied(self.path("secret")))

    def test_renamed_while_judged(self):
        """Another thread puts a directory under the name of the file that may be moved."""
        for uid in self.each_user():
            command = [self.program("-static"), "rename-race", self.path("race/file"), self.path("race/tree"),
                       self.path("data/p"), self.path("data/p/s.txt")]
            grants = [f"file:create|delete|list:{self.dir}/**", f"file:read:{self.dir}/data/**/*.txt"]
            for box in (False, True):
                self.reset(uid)
                shutil.rmtree(self.dir / "race", ignore_errors=True)
                self.write("race/file", "own\n")
                self.write("race/tree/s.txt", "SECRET\n")
                for path in (self.dir / "race", *self.dir.glob("race/**/*")):
                    os.chown(path, os.geteuid() if uid is None else uid, -1)
                if not box:
                    self.assert_act(command, uid)
                    continue
                done = self.run_box(grants, command, ["--quiet"], uid)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.denials())

    def test_loader(self):
        """A denied program as the ELF loader of one that may run."""
        for uid in self.each_user():
            for change in ("plain", "class", "many"):
                with self.subTest(change=change, uid=uid):
                    loader = self.path("bin/denied/loader")
                    os.makedirs(self.dir / "bin" / "denied", exist_ok=True)
                    shutil.copy(self.dir / "bin" / "loader", loader)
                    program = self.dir / "bin" / f"loaded-{change}"
                    program.write_bytes(with_loader((self.dir / "bin" / "loaded").read_bytes(), loader, change))
                    os.chmod(program, 0o755)
                    command = [self.program("-static"), "exec", str(program)]
                    self.assert_act(command, uid)
                    below = f"{self.dir}/bin/**"
                    denied = f"{self.dir}/bin/denied/**"
                    done = self.run_box({"required": [f"exec:run:{below}", f"file:load:{below}"],
                                         "deny": [f"exec:run:{denied}", f"file:load:{denied}"]}, command, uid=uid)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertTrue(done.denials())

    def test_loader_exchanged(self):
        """A loader named relative to a working directory that another task changes: the one that runs was judged."""
        for uid in self.each_user():
            program = self.dir / "bin" / "loaded-relative"
            program.write_bytes(with_loader((self.dir / "bin" / "loaded").read_bytes(), "./loader", "plain"))
            os.chmod(program, 0o755)
            for name in ("good", "denied"):
                os.makedirs(self.dir / "ld" / name, exist_ok=True)
                shutil.copy(self.dir / "bin" / ("loader" if name == "denied" else "zero"), self.dir / "ld" / name / "loader")
            command = [self.program("-static"), "exec-race", self.path("ld/good"), self.path("ld/denied"), str(program)]
            self.assert_act(command, uid)
            done = self.run_box({"required": [f"exec:run:{self.dir}/bin/**", f"file:load:{self.dir}/ld/**"],
                                 "deny": [f"file:load|read:{self.dir}/ld/denied/**"]}, command, ["--quiet"], uid)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.denials())

    def test_killed_while_it_executes(self):
        """Nothing was refused: whoever was killed before is not there to be."""
        for uid in self.each_user():
            command = [self.program("-static"), "killed-execs"]
            done = self.run_box([*LOAD, "exec:run:{/bin/true,/usr/bin/true}"], command, uid=uid)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertEqual(done.denials(), [])

    def test_refused_interpreter_is_named(self):
        """The record and the message name what was refused, so that the grant which they propose helps."""
        for uid in self.each_user():
            script = self.write("tool", "#!/usr/bin/env sh\nexit 3\n", 0o755)
            command = [self.program("-static"), "exec", script]
            grants = [*LOAD, f"exec:run:{script}", f"file:read:{script}", "exec:run:{/bin/sh,/usr/bin/{sh,dash}}"]
            done = self.run_box(grants, command, uid=uid)
            self.assertEqual(done.returncode, 0, done.stderr)
            record, = done.denied("/usr/bin/env")
            self.assertEqual(record["target"], {"path": "/usr/bin/env", "name": script})
            if uid is None:  # the pipe is this user's
                self.assertIn(b"exec:run /usr/bin/env", done.stderr)
            done = self.run_box([*grants, "exec:run:/usr/bin/env"], command, uid=uid)
            self.assertEqual(done.returncode, 3, done.stderr)

    def test_execs_of_many_threads(self):
        """All at once: the process that won waits for those that are traced, and must not be waited for."""
        for uid in self.each_user():
            command = [self.program("-static"), "execs"]
            self.assert_act(command, uid)
            done = self.run_box([*LOAD, "exec:run:/bin/true", "exec:run:/usr/bin/true"], command, uid=uid, timeout=30)
            self.assertEqual(done.returncode, 3, done.stderr)

    def test_supervisor_is_no_target(self):
        for uid in self.each_user():
            done = self.run_box(["signal:send:*"], [self.program("-static"), "neighbours"], uid=uid)
            self.assertEqual(done.returncode, 0, done.stderr)
            # Strangers' processes may be among the neighbours; those the grant reaches.
            protected = {(record.get("target") or {}).get("pid") for record in done.denials()
                         if (record.get("rule") or {}).get("id") == "protected:supervisor"}
            reached = {(record.get("target") or {}).get("pid") for record in done.denials("allow")
                       if record.get("event") == "signal"}
            self.assertIn(done.records[0]["supervisor_pid"], protected)
            self.assertGreater(len(protected), 1, "its threads")
            self.assertFalse(protected & reached)

    def test_malformed_arguments(self):
        """Whatever stands in the registers: the supervisor lives, and answers."""
        for uid in self.each_user():
            done = self.run_box([], [self.program("-static"), "malformed"], ["--quiet"], uid, timeout=30)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.records[-1]["event"], "session_end")

    def test_lease_holds_nobody_else(self):
        for uid in self.each_user():
            self.reset(uid)
            command = [self.program("-static"), "leased", self.path("data/own")]
            self.run_box([text.format(d=self.dir) for text in OWN], command, ["--quiet"], uid, timeout=20)

    def test_long_write_holds_nobody_else(self):
        """A file is locked while it is written to; changes of its mode wait, other calls do not."""
        for uid in self.each_user():
            self.reset(uid)
            command = [self.program("-static"), "long-write", self.path("data/own")]
            done = self.run_box([text.format(d=self.dir) for text in OWN], command, ["--quiet"], uid, timeout=30)
            self.assertEqual(done.returncode, 3, done.stderr)

    def test_dropped_capabilities(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        secret = self.write("secret", "SECRET\n", 0o600)
        os.chown(secret, sbx.ORDINARY_USER, -1)
        command = [self.program("-static"), "capbset", secret]
        self.assertEqual(self.run_native(command).returncode, 3)
        self.assertEqual(self.run_native([*command, "drop"]).returncode, 0)
        done = self.run_box([f"file:read:{secret}"], [*command, "drop"])
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    sbx.main()
