"""A plugin that calls without pause does not keep the supervisor from what it owes its host: signals are passed on,
time-outs and limits noticed, an end is an end. Each delay is compared with that of the same program without secbox,
in the same minute on the same machine: PROMPT_S may come on top. Another's load can spoil a comparison; one of ATTEMPTS
has to hold.
"""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

import sbx

# The thread sanitizer notes every access to memory: its supervisor is several times slower, on a busy machine more.
PROMPT_S = 1.0 if sbx.SANITIZER == "thread" else 0.1
ATTEMPTS = 3
SIGNALS = 12
TIME_S = 0.6
LOOK_S = 0.1  # memory is looked at that often, at least
END_S = 1.0  # for a whole process tree to be ended in order

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *granted, *denied, *act;
static char long_name[4096];

static void caught(int number) { (void)!write(1, "s", 1); }

static void *call(void *unused) {
  for (;;) {
    if (strcmp(act, "opens") == 0) close(open(granted, O_RDONLY | O_CLOEXEC));
    if (strcmp(act, "denials") == 0) open(denied, O_RDONLY | O_CLOEXEC);
    if (strcmp(act, "records") == 0) mkdir(long_name, 0700); /* is there */
  }
  return NULL;
}

static void call_in(int threads) {
  pthread_t thread;
  for (int i = 0; i < threads; ++i) pthread_create(&thread, NULL, call, NULL);
}

int main(int count, char **v) {
  sigset_t usr1;
  act = v[1], granted = v[2], denied = v[3];
  strcpy(long_name, granted);
  for (char *end = long_name + strlen(long_name); end < long_name + 3900; end += 2) strcpy(end, "/.");
  mkdir(long_name, 0700);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &usr1, NULL);
  if (strcmp(act, "denials") == 0) {
    for (int i = 0; i < 4; ++i) {
      if (fork() == 0) {
        call_in(4);
        pthread_exit(NULL);
      }
    }
  } else {
    call_in(64);
  }
  signal(SIGUSR1, caught);
  pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
  (void)!write(1, "r", 1);
  if (count > 4) {
    for (int i = 0; i < 300; ++i) { /* a megabyte in a millisecond, at most */
      volatile char *memory = malloc(1 << 20);
      for (long at = 0; at < 1 << 20; at += 4096) memory[at] = 1;
      usleep(1000);
    }
    (void)!write(1, "m", 1);
  }
  for (;;) pause();
}
"""


class Flood(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-flood-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        os.chmod(cls.built, 0o755)
        cls.program = str(cls.built / "flood")
        subprocess.run(["gcc", "-x", "c", "-O1", "-w", "-pthread", "-static", "-o", cls.program, "-"],
                       input=SOURCE.encode(), check=True)

    def setUp(self):
        super().setUp()
        self.granted = self.write("granted/file", "")
        self.denied = self.write("denied", "")

    def argv(self, act, *more):
        where = os.path.dirname(self.granted) if act == "records" else self.granted
        return [self.program, act, where, self.denied, *more]

    def start(self, command, uid):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                                   start_new_session=True, **sbx._identity(uid))
        self.assertEqual(self.read(process), b"r")
        return process

    def read(self, process):
        ready, _, _ = select.select([process.stdout], [], [], 30)
        if not ready:
            self.end(process)
            self.fail("nothing came in 30 s")
        return process.stdout.read(1)

    def native(self, act, uid, *more):
        return self.start(self.argv(act, *more), uid)

    def boxed(self, act, uid, *options, shape="parent", more=()):
        self._count += 1
        self.log = self.path(f"flood-{self._count}.ndjson")
        folder = os.path.dirname(self.granted)
        command = self.command([f"file:read|create:{folder}/**"], self.argv(act, *more),
                               ["--quiet", "--supervisor", shape, *options], self.log)
        return self.start(command, uid)

    def end(self, process):
        """Natively there is nobody who ends the processes of a process."""
        with process:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait(30)

    def records(self, *events):
        """The flood's own are not even parsed."""
        with open(self.log, "rb") as file:
            found = [json.loads(line) for line in file if line.split(b'"event":"', 1)[1].split(b'"')[0].decode() in events]
        os.unlink(self.log)
        return found

    def compare(self, what, act, uid, native, boxed, on_top=PROMPT_S):
        """Each a function that gives a delay in seconds."""
        seen = []
        for _ in range(ATTEMPTS):
            seen.append((native(act, uid), boxed(act, uid)))
            print(f"  {what}, {act}, uid {uid or 0}: native {seen[-1][0] * 1000:.1f} ms, boxed {seen[-1][1] * 1000:.1f} ms",
                  flush=True)
            if seen[-1][1] <= seen[-1][0] + on_top:
                return
        self.fail(f"{what}, {act}: native and boxed {seen}")

    def worst_signal(self, process):
        worst = 0
        try:
            for _ in range(SIGNALS):
                time.sleep(.02)
                sent = time.monotonic()
                os.kill(process.pid, signal.SIGUSR1)
                self.assertEqual(self.read(process), b"s")
                worst = max(worst, time.monotonic() - sent)
        finally:
            self.end(process)
        return worst

    def test_signals_are_passed_on(self):
        for uid in self.each_user():
            for act in ("opens", "denials", "records"):
                self.compare("SIGUSR1", act, uid, lambda act, uid: self.worst_signal(self.native(act, uid)),
                             lambda act, uid: self.worst_signal(self.boxed(act, uid)))

    def time_to_end(self, process):
        time.sleep(.1)
        sent = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        status = process.wait(30)
        took = time.monotonic() - sent
        self.end(process)
        self.assertEqual(status, -signal.SIGTERM)
        return took

    def test_the_end_is_passed_on(self):
        for uid in self.each_user():
            for act in ("opens", "denials", "records"):
                self.compare("SIGTERM", act, uid, lambda act, uid: self.time_to_end(self.native(act, uid)),
                             lambda act, uid: self.time_to_end(self.boxed(act, uid)), END_S)

    def native_lateness(self, act, uid):
        """How late a process wakes up while the program runs."""
        process = self.native(act, uid)
        try:
            worst = 0
            for _ in range(SIGNALS):
                began = time.monotonic()
                time.sleep(.05)
                worst = max(worst, time.monotonic() - began - .05)
        finally:
            self.end(process)
        return worst

    def test_time_is_noticed(self):
        for uid in self.each_user():
            for shape in ("parent", "beside"):
                def noticed(act, uid):
                    process = self.boxed(act, uid, "--timeout", f"{TIME_S * 1000:.0f}ms", shape=shape)
                    began = time.monotonic()
                    with process:
                        self.assertEqual(process.wait(30), 124)
                    over = time.monotonic() - began - TIME_S
                    start, event = self.records("session_start", "plugin_timeout")
                    return max((event["mono_ns"] - start["mono_ns"]) / 1e9 - TIME_S, over - END_S)

                for act in ("opens", "denials", "records"):
                    self.compare(f"time-out ({shape})", act, uid, self.native_lateness, noticed)

    def test_memory_is_noticed(self):
        """It grows by 1 MB in a millisecond at most: what it has over its limit tells how long that took."""
        for uid in self.each_user():
            for act in ("opens", "denials"):
                process = self.boxed(act, uid, "--limit", "memory=100MB", "--limit", "cpu=none", more=["grows"])
                with process:
                    self.assertEqual(self.read(process), b"", "it had 300 MB")
                    self.assertEqual(process.wait(30), 123)
                (event,) = self.records("plugin_memory_exceeded")
                print(f"  memory, {act}, uid {uid or 0}: noticed at {event['memory_mb']} of 100 MB", flush=True)
                self.assertLess(event["memory_mb"], 100 + (PROMPT_S + LOOK_S) * 1000)


if __name__ == "__main__":
    sbx.main()
