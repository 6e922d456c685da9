"""Nothing of a plugin outlives its session, however it ends; and a session that cannot be is no session."""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import sbx

SOURCE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void ready(void) { puts("ready"); fflush(stdout); }

static void spin(void) {  // no call that the supervisor would hold
  prctl(PR_SET_PDEATHSIG, 0);
  if (fork() == 0) {
    if (fork() == 0) setsid();
    for (;;) {}
  }
  ready();
  for (;;) {}
}

static void chain(void) {  // each lives until it has forked
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (fork() == 0) {
    signal(SIGCHLD, SIG_IGN);
    while (syscall(SYS_fork) == 0) {}
    *(volatile int *)0 = 1;
  }
  usleep(100000);
}

static void *replace(void *path) {
  execl(path, path, "still-here", (char *)NULL);
  return NULL;
}
static void exec_against_exit(const char *own) {
  pthread_t thread;
  pthread_create(&thread, NULL, replace, (void *)own);
  syscall(SYS_exit_group, 0);
}

static void uninterruptible(void) {  // waits for a vfork child that is stopped, and cannot be interrupted
  if (fork() == 0 && vfork() == 0) {
    prctl(PR_SET_PDEATHSIG, 0);
    setsid();
    kill(getpid(), SIGSTOP);
    _exit(0);
  }
  usleep(50000);
  ready();
}

static void forks(void) {  // a few thousand that end at once, while the first process ends
  signal(SIGCHLD, SIG_IGN);
  for (int i = 0; i < 8; ++i) {
    if (fork() != 0) continue;
    for (int turn = 0; turn < 1000; ++turn) {
      if (fork() == 0) _exit(0);
    }
    _exit(0);
  }
  usleep(300000);
  ready();
}

int main(int count, char **v) {
  (void)count;
  if (strcmp(v[1], "uninterruptible") == 0) uninterruptible();
  if (strcmp(v[1], "uninterruptible-on") == 0) {
    uninterruptible();
    for (;;) pause();
  }
  if (strcmp(v[1], "forks") == 0) forks();
  if (strcmp(v[1], "spin") == 0) spin();
  if (strcmp(v[1], "chain") == 0) chain();
  if (strcmp(v[1], "exec") == 0) exec_against_exit(v[0]);
  if (strcmp(v[1], "still-here") == 0) {
    struct stat st;
    puts(stat(getenv("TMPDIR"), &st) == 0 ? "in its session" : "after its session");
  }
  return 0;
}
"""


class Lifetime(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-lifetime-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        os.chmod(cls.built, 0o755)
        subprocess.run(["gcc", "-x", "c", "-O1", "-w", "-pthread", "-static", "-o", str(cls.built / "lifetime"), "-"],
                       input=SOURCE.encode(), check=True)

    def setUp(self):
        super().setUp()
        self.program = shutil.copy(self.built / "lifetime", self.dir / f"life-{os.getpid()}")

    def alive(self):
        """The plugin's processes, by the program's name, zombies not counted."""
        return [pid for pid, state in self.processes() if state not in "ZX"]

    def states(self):
        return {state for _, state in self.processes()}

    def processes(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
            except OSError:
                continue
            if name == os.path.basename(self.program)[:15]:
                yield int(pid), rest.split()[0]

    def assert_all_gone(self, what):
        deadline = time.monotonic() + 5
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        left = self.alive()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [], what)

    def start(self, act, uid, *options):
        self._count += 1
        self.log = self.path(f"audit-{self._count}.ndjson")
        return subprocess.Popen(self.command(sbx.EVERYTHING, [self.program, act], ["--quiet", *options], self.log),
                                stdout=subprocess.PIPE, **sbx._identity(uid))

    def test_supervisor_killed(self):
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                with self.start("spin", uid, "--supervisor", shape) as process:
                    self.assertEqual(process.stdout.readline(), b"ready\n")
                    with open(self.log) as file:
                        os.kill(json.loads(file.readline())["supervisor_pid"], signal.SIGKILL)
                    self.assert_all_gone(f"{shape}: its supervisor was killed")
                    self.assertLess(process.wait(10), 0)

    def test_processes_that_only_fork(self):
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                with self.start("chain", uid, "--supervisor", shape) as process:
                    self.assertEqual(process.wait(20), 0)
                self.assert_all_gone(f"{shape}: a chain of forks")

    def test_waiting_for_a_stopped_vfork_child(self):
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                with self.start("uninterruptible", uid, "--supervisor", shape) as process:
                    self.assertEqual(process.wait(20), 0)
                self.assert_all_gone(f"{shape}: a vfork parent and its child")
                with self.start("uninterruptible-on", uid, "--supervisor", shape) as process:
                    self.assertEqual(process.stdout.readline(), b"ready\n")
                    self.assertIn("D", self.states())
                    self.assertIn("T", self.states())
                    with open(self.log) as file:
                        os.kill(json.loads(file.readline())["supervisor_pid"], signal.SIGKILL)
                    self.assert_all_gone(f"{shape}: a vfork parent and its child, the supervisor killed")

    def test_thousands_of_short_lived_processes(self):
        """Nothing is left when secbox returns, and that is soon."""
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                with self.start("forks", uid, "--supervisor", shape) as process:
                    self.assertEqual(process.stdout.readline(), b"ready\n")
                    began = time.monotonic()
                    self.assertEqual(process.wait(20), 0)
                    took = time.monotonic() - began
                    left = self.alive() if shape == "parent" else []
                print(f"  {shape}, uid {uid or 0}: ended in {took * 1000:.0f} ms", flush=True)
                self.assertEqual(left, [])
                self.assertLess(took, 5)
                self.assert_all_gone(f"{shape}: short-lived processes")

    def test_exec_while_another_thread_exits(self):
        for uid in self.each_user():
            for _ in range(20):
                done = self.run_box(sbx.EVERYTHING, [self.program, "exec"], ["--quiet"], uid)
                self.assertIn(done.stdout, (b"", b"in its session\n"))
                self.assertEqual(done.records[-1]["event"], "session_end")

    def test_temporary_files_that_cannot_be_read(self):
        script = "mkdir -p $TMPDIR/a/b; touch $TMPDIR/a/b/c; chmod 0 $TMPDIR/a/b $TMPDIR/a; echo $TMPDIR"
        for uid in self.each_user():
            done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", script], ["--quiet"], uid)
            self.assertFalse(os.path.exists(done.stdout.decode().strip()))

    def test_too_few_descriptors(self):
        """The supervisor's need is not the plugin's: with few it works, with fewer it says so and never hangs."""
        def few(number, hard):
            return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))

        if sbx.SANITIZER:
            self.skipTest("the sanitizer's run-time itself ends where it can open no file")
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for uid in self.each_user():
            for number in (4, 8, 14, 20):
                done = self.run_box(["exec:run:/bin/true"], ["/bin/true"], (), uid, timeout=20,
                                    preexec_fn=few(number, number))
                self.assertIn(done.returncode, (0, 125), (number, done.stderr))
                done = self.run_box(["exec:run:/bin/true"], ["/bin/true"], (), uid, timeout=20,
                                    preexec_fn=few(number, hard))
                self.assertEqual(done.returncode, 0 if number > 4 else done.returncode, (number, done.stderr))

    def test_too_few_processes(self):
        user = 61234  # nobody else's
        for number in range(2, 9):
            done = self.run_box([], ["/bin/true"], (), user if os.geteuid() == 0 else None, timeout=20,
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (number, number)))
            self.assertIn(done.returncode, (0, 125), (number, done.stderr))


if __name__ == "__main__":
    sbx.main()
