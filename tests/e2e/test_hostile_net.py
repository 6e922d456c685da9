"""Attacks by the numbers of processes and sockets: each does its act natively (exit code 3), and is stopped under secbox (0),
with a record. And what honest programs do with the same calls, which must come out as it does natively.
"""

import os
import pathlib
import resource
import shutil
import socket
import subprocess
import tempfile

import sbx

SOURCE = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char **v;
static int target;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// The numbers that the next processes of the host get.
static int newborn(void) {
  const int load = open("/proc/loadavg", O_RDONLY);
  struct rlimit none = {0, 0};
  char text[128];
  for (const double end = now() + atof(v[2]); now() < end;) {
    const ssize_t got = pread(load, text, sizeof text - 1, 0);
    if (got <= 0) return 0;
    text[got] = 0;
    const int last = atoi(strrchr(text, ' '));
    struct f_owner_ex owner = {F_OWNER_PID, last + 1};
    for (int next = 1; next < 3; ++next) {
      if (kill(last + next, 0) == 0 || prlimit(last + next, RLIMIT_CORE, &none, NULL) == 0) return 1;
    }
    if (fcntl(load, F_SETOWN_EX, &owner) == 0) return 1;
  }
  return 0;
}

static int own_child(void) {
  const int child = fork();
  if (child == 0) {
    signal(SIGTERM, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  usleep(20000);
  return child;
}

static int good, bad, slot;
static volatile int stop;
static void *flip_descriptor(void *none) {
  while (!stop) {
    dup2(bad, slot);
    dup2(good, slot);
  }
  return none;
}
static int pidfd_swap(void) {
  const int child = own_child();
  good = (int)syscall(SYS_pidfd_open, child, 0);
  bad = (int)syscall(SYS_pidfd_open, target, 0);
  slot = dup(good);
  pthread_t thread;
  pthread_create(&thread, NULL, flip_descriptor, NULL);
  struct pollfd ended = {.fd = bad, .events = POLLIN};
  int hit = 0;
  for (const double end = now() + 0.7; !hit && now() < end; hit = poll(&ended, 1, 0) > 0)
    syscall(SYS_pidfd_send_signal, slot, SIGTERM, NULL, 0);
  stop = 1;
  pthread_join(thread, NULL);
  kill(child, SIGKILL);
  return hit;
}

static volatile struct f_owner_ex owner = {F_OWNER_PID, 0};
static void *flip_owner(void *child) {
  while (!stop) {
    owner.pid = *(int *)child;
    owner.pid = target;
  }
  return NULL;
}
static int owner_swap(void) {
  int child = own_child();
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  pthread_t thread;
  pthread_create(&thread, NULL, flip_owner, &child);
  fcntl(pair[0], F_SETSIG, SIGTERM);
  fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK);
  struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, target, 0), .events = POLLIN};
  int hit = 0;
  for (const double end = now() + 0.4; !hit && now() < end; hit = poll(&ended, 1, 0) > 0) {
    if (fcntl(pair[0], F_SETOWN_EX, &owner) != 0) continue;
    char text[8];
    write(pair[1], "x", 1);
    read(pair[0], text, sizeof text);
  }
  stop = 1;
  pthread_join(thread, NULL);
  kill(child, SIGKILL);
  return hit;
}

static struct sockaddr_in ip(const char *address, int port) {
  struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  inet_pton(AF_INET, address, &result.sin_addr);
  return result;
}
#define TO(address) ((struct sockaddr *)&(address)), sizeof(address)

static int listens(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  return listen(fd, 5) == 0 && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value;
}
static int listen_after(int disconnect) {  // getsockname(2) goes on telling the old port
  struct sockaddr_in to = ip("127.0.0.1", disconnect ? atoi(v[2]) : 1);
  const struct sockaddr none = {.sa_family = AF_UNSPEC};
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  connect(fd, TO(to));
  if (disconnect && connect(fd, TO(none)) != 0) return 0;
  return listens(fd);
}
static int listen_again(void) {  // a bind that was granted, given up by connecting
  struct sockaddr_in any = ip("127.0.0.1", 0), to = ip("127.0.0.1", atoi(v[2]));
  const struct sockaddr none = {.sa_family = AF_UNSPEC};
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(fd, TO(any)) != 0) exit(0);
  connect(fd, TO(to));
  return connect(fd, TO(none)) == 0 && listens(fd);
}

static int any_of_bound(void) {  // 0.0.0.0 leads to the address that the socket is bound to
  struct sockaddr_in from = ip("127.0.0.2", 0), to = ip("0.0.0.0", atoi(v[2]));
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  return bind(fd, TO(from)) == 0 && connect(fd, TO(to)) == 0;
}

#define SAY(what) do { errno = 0; const long r = (long)(what); printf("%s: %ld %s\n", #what, r, r < 0 ? strerrorname_np(errno) : ""); } while (0)

static volatile int caught;
static void catch_it(int number, siginfo_t *info, void *none) {
  caught = info->si_pid == getpid() || info->si_code > 0;
}

static void processes(void) {
  struct sched_param zero = {0};
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  SAY(syscall(SYS_tgkill, -1, -1, 0));
  SAY(syscall(SYS_tkill, -5, 0));
  SAY(syscall(SYS_tkill, 0, 0));
  SAY(kill(INT_MIN, 0));
  SAY(kill(INT_MAX, 0));
  SAY(kill(-INT_MAX, 0));
  SAY(sched_setscheduler(-1, SCHED_OTHER, &zero));
  SAY(sched_setscheduler(INT_MAX, SCHED_OTHER, &zero));
  SAY(setpriority(9, 1, 1));
  SAY(setpriority(PRIO_PROCESS, INT_MAX, 1));
  SAY(setpriority(PRIO_PGRP, INT_MAX, 1));
  SAY(setpriority(PRIO_USER, 54321, 1));
  SAY(syscall(SYS_ioprio_set, 9, 1, 0));
  SAY(syscall(SYS_ioprio_set, 3, 54321, 2 << 13));
  struct f_owner_ex o = {F_OWNER_PID, getpid()};
  SAY(fcntl(99, F_SETOWN_EX, &o));
  SAY(fcntl(99, F_SETOWN, getpid()));
  SAY(fcntl(pair[0], F_SETOWN_EX, (void *)1));
  SAY(fcntl(pair[0], F_SETOWN, INT_MAX));
  SAY(fcntl(pair[0], F_SETOWN, INT_MIN));
  o.type = 7;
  SAY(fcntl(pair[0], F_SETOWN_EX, &o));
  if (strcmp(v[2], "floor") == 0) {  // where the floor bounds it
    o.type = F_OWNER_TID;
    SAY(fcntl(pair[0], F_SETOWN_EX, &o));
    SAY(fcntl(pair[0], F_GETOWN_EX, &o));
    SAY(o.type);
  }
  SAY(fcntl(pair[0], F_SETOWN, getpid()));
  struct sigaction action = {.sa_sigaction = catch_it, .sa_flags = SA_SIGINFO};
  sigaction(SIGIO, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  SAY(fcntl(pair[0], F_SETFL, O_ASYNC));
  SAY(write(pair[1], "x", 1));
  SAY(caught);
  caught = 0;
  const int self = open("/proc/self", O_RDONLY | O_DIRECTORY);
  SAY(syscall(SYS_pidfd_send_signal, self, SIGUSR1, NULL, 0));
  SAY(caught);
  SAY(syscall(SYS_pidfd_send_signal, open("/", O_RDONLY), 0, NULL, 0));
  SAY(syscall(SYS_pidfd_send_signal, 99, 0, NULL, 0));

  const int child = own_child();
  struct rlimit core = {4096, 4096}, old = {1, 1};
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof cpus, &cpus);
  SAY(prlimit(child, RLIMIT_CORE, &core, NULL));
  SAY(prlimit(child, RLIMIT_CORE, &core, &old));
  SAY(old.rlim_cur);
  SAY(prlimit(child, RLIMIT_CORE, (void *)1, NULL));
  SAY(sched_setaffinity(child, sizeof cpus, &cpus));
  SAY(sched_setscheduler(child, SCHED_BATCH, &zero));
  SAY(sched_getscheduler(child));
  SAY(sched_setparam(child, NULL));
  struct { unsigned size, policy; unsigned long flags; int nice; unsigned priority; unsigned long rest[3]; } a = {48, 0, 0, 3};
  SAY(syscall(SYS_sched_setattr, child, &a, 0));
  SAY(getpriority(PRIO_PROCESS, child));
  SAY(setpriority(PRIO_PROCESS, child, 4));
  SAY(getpriority(PRIO_PROCESS, child));
  SAY(syscall(SYS_ioprio_set, 1, child, (2 << 13) + 5));
  SAY(syscall(SYS_ioprio_get, 1, child));
  SAY(setpriority(PRIO_PGRP, 0, 5));
  SAY(getpriority(PRIO_PROCESS, child));
  SAY(syscall(SYS_ioprio_set, 2, 0, (2 << 13) + 6));
  SAY(syscall(SYS_ioprio_get, 1, child));
  if (strcmp(v[2], "user") == 0) SAY(setpriority(PRIO_USER, 0, 19));

  SAY(setpgid(0, INT_MAX));
  SAY(setpgid(0, -1));
  SAY(setpgid(child, child));
  const int other = own_child();
  SAY(setpgid(other, child) == 0 && getpgid(other) == child);
  SAY(setpgid(other, 0) == 0 && getpgid(other) == other);
  SAY(setpgid(other, getpgid(0)) == 0 && getpgid(other) == getpgid(0));
  kill(child, SIGKILL);
  kill(other, SIGKILL);
}

static void nothing(int number) {}
static void sockets(void) {
  const int port = atoi(v[2]);
  struct sockaddr_in server = ip("127.0.0.1", port), any = ip("0.0.0.0", port), is;
  struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/tmp"};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6};
  socklen_t size = sizeof is;
  SAY(connect(socket(AF_INET, SOCK_STREAM, 0), TO(path)));
  SAY(connect(socket(AF_INET, SOCK_DGRAM, 0), TO(path)));
  SAY(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&server, 8));
  SAY(sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, TO(path)));
  SAY(connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(server)));
  SAY(listen(socket(AF_INET, SOCK_DGRAM, 0), 1));
  SAY(listen(socket(AF_UNIX, SOCK_STREAM, 0), 1));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  SAY(connect(fd, TO(any)));
  SAY(getpeername(fd, (struct sockaddr *)&is, &size));
  printf("%s\n", inet_ntoa(is.sin_addr));
  SAY(sendto(socket(AF_INET, SOCK_STREAM, 0), "fast", 4, MSG_FASTOPEN, TO(server)));
  SAY(sendto(socket(AF_INET, SOCK_STREAM, 0), "fast", 4, MSG_FASTOPEN | MSG_NOSIGNAL, TO(path)));
  server.sin_port = htons(1);
  SAY(sendto(socket(AF_INET, SOCK_STREAM, 0), "fast", 4, MSG_FASTOPEN | MSG_NOSIGNAL, TO(server)));

  // A server needs no more than its bind(2).
  struct sockaddr_in free_port = ip("127.0.0.1", 0);
  fd = socket(AF_INET, SOCK_STREAM, 0);
  SAY(bind(fd, TO(free_port)));
  SAY(listens(fd));
  SAY(listen(fd, 7));

  int pair[2];
  static char many[65536];
  struct iovec data = {many, 10};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  while (send(pair[0], many, sizeof many, MSG_DONTWAIT) > 0) {}
  while (send(pair[0], many, 1, MSG_DONTWAIT) > 0) {}
  struct timeval limit = {5, 0};
  struct itimerval soon = {{0, 0}, {0, 100000}};
  struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setitimer(ITIMER_REAL, &soon, NULL);
  SAY(sendmsg(pair[0], &message, 0));
}

static int bind_at(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, name);
  return bind(socket(AF_UNIX, SOCK_STREAM, 0), TO(address));
}
static int bind_at_limit(void) {  // of processes, which the supervisor shares
  static pid_t children[1000];
  int count = 0;
  while (count < 1000 && (children[count] = fork()) > 0) ++count;
  if (count < 1000 && children[count] == 0) {
    for (;;) pause();
  }
  errno = 0;
  const int bound = bind_at(v[2]) == 0, error = errno;
  for (int i = 0; i < count; ++i) kill(children[i], SIGKILL);
  while (wait(NULL) > 0) {}
  if (!bound && (error != EAGAIN || bind_at(v[2]) != 0)) exit(4);
  return bound;
}

// What those who talk with a process that was root are told of it.
static void identity(void) {
  if (getuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(1000, 1000, 1000) != 0 || setresuid(1000, 1000, 1000) != 0))
    exit(1);
  int pair[2], yes = 1;
  char text[8];
  union { char bytes[CMSG_SPACE(sizeof(struct ucred))]; struct cmsghdr align; } control;
  struct iovec data = {text, sizeof text};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
  struct ucred who = {0, 77, 77};
  socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
  setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
  SAY(sendmsg(pair[0], &message, 0));
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control;
  SAY(recvmsg(pair[1], &message, 0));
  memcpy(&who, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof who);
  printf("credentials %d %d\n", who.uid, who.gid);

  struct sockaddr_un name = {.sun_family = AF_UNIX};
  socklen_t size = sizeof name, length = sizeof who;
  const int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  SAY(bind(server, (struct sockaddr *)&name, sizeof(sa_family_t)));
  SAY(listen(server, 1));
  getsockname(server, (struct sockaddr *)&name, &size);
  SAY(connect(client, (struct sockaddr *)&name, size));
  getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &length);
  printf("listener %d %d\n", who.uid, who.gid);
  getsockopt(accept(server, NULL, NULL), SOL_SOCKET, SO_PEERCRED, &who, &length);
  printf("client %d %d\n", who.uid, who.gid);

  // By a path, which bind(2) makes a file of.
  struct sockaddr_un path = {.sun_family = AF_UNIX};
  snprintf(path.sun_path, sizeof path.sun_path, "%s/by-path", v[2]);
  const int other = socket(AF_UNIX, SOCK_STREAM, 0);
  SAY(bind(other, TO(path)));
  SAY(listen(other, 1));
  SAY(connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(path)));
  SAY(unlink(path.sun_path));
  SAY(getuid());
}

int main(int count, char **arguments) {
  v = arguments;
  target = count > 2 ? atoi(v[2]) : 0;
  const char *act = v[1];
  int out = 0;
  struct f_owner_ex other = {F_OWNER_PID, target};
#define IS(name) (strcmp(act, name) == 0)
  if (IS("newborn")) out = newborn();
  if (IS("pidfd-swap")) out = pidfd_swap();
  if (IS("owner")) out = fcntl(socket(AF_UNIX, SOCK_STREAM, 0), F_SETOWN_EX, &other) == 0;
  if (IS("owner-swap")) out = owner_swap();
  if (IS("prlimit")) out = prlimit(target, RLIMIT_CORE, &(struct rlimit){0, 0}, NULL) == 0;
  if (IS("group")) out = setpgid(0, target) == 0;
  if (IS("listen-failed")) out = listen_after(0);
  if (IS("listen-disconnected")) out = listen_after(1);
  if (IS("listen-again")) out = listen_again();
  if (IS("any-of-bound")) out = any_of_bound();
  if (IS("bind-at-limit")) out = bind_at_limit();
  if (IS("landlock")) out = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0 || errno != EOPNOTSUPP;
  if (IS("processes")) processes();
  if (IS("sockets")) sockets();
  if (IS("identity")) identity();
  fflush(stdout);
  _exit(out ? 3 : 0);
}
"""

LOAD = ["file:load:/lib/**", "file:load:/lib64/**", "file:load:/usr/lib/**", "file:read:/etc/ld.so.cache"]
NO_FLOOR = ["signal:send:1"]  # with any grant for signals Landlock bounds none
# act, arguments, grants ({pid}: a process outside, in a group of its own; {port}: a server on 127.0.0.1 and .2)
ATTACKS = (
    ("pidfd-swap", ["{pid}"], NO_FLOOR),
    ("owner", ["{pid}"], []),
    ("owner", ["{pid}"], NO_FLOOR),
    ("owner-swap", ["{pid}"], []),
    ("owner-swap", ["{pid}"], NO_FLOOR),
    ("prlimit", ["{pid}"], []),
    ("group", ["{pid}"], ["signal:send:*"]),
    ("listen-failed", [], ["net:connect:127.0.0.1"]),
    ("listen-disconnected", ["{port}"], ["net:connect:127.0.0.1"]),
    ("listen-again", ["{port}"], ["net:connect:127.0.0.1", "net:bind:127.0.0.1"]),
    ("any-of-bound", ["{port}"], ["net:connect:127.0.0.1", "net:bind:127.0.0.2"]),
)


class HostileNet(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-hostile-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        os.chmod(cls.built, 0o755)
        for name, *flags in (("dynamic",), ("static", "-static")):
            subprocess.run(["gcc", "-x", "c", "-O1", "-w", "-pthread", *flags, "-o", str(cls.built / name), "-"],
                           input=SOURCE.encode(), check=True)

    def setUp(self):
        super().setUp()
        self.server = None
        for _ in range(20):  # the same free port on both addresses
            first = socket.create_server(("127.0.0.1", 0))
            try:
                second = socket.create_server(("127.0.0.2", first.getsockname()[1]))
            except OSError:
                first.close()
                continue
            self.server = first
            self.addCleanup(first.close)
            self.addCleanup(second.close)
            break
        self.port = str(self.server.getsockname()[1])

    def outside(self, uid, command=("sleep", "1000")):
        """A process that is none of the session's, in a process group of its own."""
        process = subprocess.Popen(command, process_group=0, stdout=subprocess.DEVNULL, **sbx._identity(uid))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def programs(self):
        return [str(self.built / name) for name in ("dynamic", "static")]

    def test_table(self):
        for uid in self.each_user():
            for program in self.programs():
                for act, arguments, grants in ATTACKS:
                    with self.subTest(act=act, grants=grants, program=program, uid=uid):
                        def command():
                            pid = self.outside(uid).pid
                            return [program, act, *(text.format(pid=pid, port=self.port) for text in arguments)]
                        self.assertEqual(self.run_native(command(), uid).returncode, 3)
                        done = self.run_box(LOAD + grants, command(), uid=uid)
                        self.assertEqual(done.returncode, 0, done.stderr)
                        self.assertTrue(done.denials())

    def test_numbers_of_the_next_processes(self):
        for uid in self.each_user():
            self.outside(uid, ["sh", "-c", "while :; do /bin/true; done"])
            command = [self.programs()[1], "newborn"]
            self.assertEqual(self.run_native([*command, "20"], uid).returncode, 3)
            for grants in ([], NO_FLOOR):
                done = self.run_box(["file:read:/proc/loadavg", *grants], [*command, "1.2"], ["--quiet"], uid)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.records[-1]["event"], "session_end")

    def test_landlock_of_its_own(self):
        """It would not bind what the supervisor performs: it is said not to be there."""
        for uid in self.each_user():
            command = [self.programs()[1], "landlock"]
            self.assertEqual(self.run_native(command, uid).returncode, 3)
            done = self.run_box([], command, uid=uid)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertFalse(done.denials())

    def test_no_thread_to_bind_with(self):
        """bind(2) of a path takes a thread of the supervisor's: where there is none, it lives on."""
        uid = sbx.users()[-1]  # no limit of processes binds root
        owner = os.geteuid() if uid is None else uid
        running = subprocess.run(["ps", "-L", "-u", str(owner), "-o", "pid="], capture_output=True).stdout
        most = len(running.split()) + 40
        options = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (most, most))}
        command = [self.programs()[1], "bind-at-limit", self.path("socket")]
        self.assertEqual(self.run_native(command, uid, **options).returncode, 3)
        os.unlink(self.path("socket"))
        done = self.run_box([f"ipc:unix:{self.dir}/**"], command, uid=uid, timeout=20, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.denied(self.path("socket")))
        self.assertEqual(done.records[-1]["event"], "session_end")

    def assert_same(self, command, grants, uid, denials=0):
        native = self.run_native(command, uid, start_new_session=True)
        done = self.run_box(grants, command, uid=uid, start_new_session=True)
        self.assertEqual(native.returncode, 0)
        self.assertEqual(done.stdout.decode(), native.stdout.decode(), done.stderr)
        self.assertEqual(len(done.denials()), denials, done.stderr)
        return done

    def test_processes_as_natively(self):
        for uid in self.each_user():
            for program in self.programs():
                with self.subTest(program=program, uid=uid):
                    self.assert_same([program, "processes", "floor"], [*LOAD, "file:list:/**"], uid)
                    # All processes of a user: never those of the tests' own, which it would slow down natively.
                    whose = "own" if uid is None else "user"
                    self.assert_same([program, "processes", whose], sbx.EVERYTHING, uid)

    def test_sockets_as_natively(self):
        for uid in self.each_user():
            for program in self.programs():
                with self.subTest(program=program, uid=uid):
                    grants = [*LOAD, "net:connect:127.0.0.1", "net:bind:127.0.0.1"]
                    done = self.assert_same([program, "sockets", self.port], grants, uid)
                    binds = [record for record in done.records if record.get("event") == "bind"]
                    self.assertEqual(len(binds), 1, "one grant for bind and listen")

    def test_identity_as_natively(self):
        for uid in self.each_user():
            for program in self.programs():
                with self.subTest(program=program, uid=uid):
                    self.assert_same([program, "identity", str(self.dir)],
                                     [*LOAD, "ipc:unix:*", f"file:delete:{self.dir}/**"], uid)


if __name__ == "__main__":
    sbx.main()
