"""The supervisor is killed (SIGKILL) at any moment, under load: its plugin does not outlive it, and its log tells of
every call that it answered. The plugin's acts are its own to be told apart: each has a name or an address of its own,
and is noted by the plugin after its call returned, in a pipe that nobody mediates.

SECBOX_KILL_ROUNDS: how often as each user (12; the target kill-long: 200).
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import sbx

UNDER_WAY = 8  # calls that the supervisor can be performing at one moment: its receivers, and some that wait
ROUNDS = int(os.environ.get("SECBOX_KILL_ROUNDS", "12"))
GONE_S = 10  # all of the plugin
NOT_SERVED = 38  # ENOSYS: what the kernel answers where nobody listens

SOURCE = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kProcesses = 3, kThreads = 3 };
static const char *granted, *denied, *own;
static int port, process;

/* In one write(2), which a pipe takes as a whole. */
static void note(char act, const char *name, long result) {
  char line[128];
  const int size = snprintf(line, sizeof line, "%c %s %d\n", act, name, result < 0 ? errno : 0);
  (void)!write(1, line, size);
}

static void meet(int worker, int turn) {
  char name[32];
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  const struct linger at_once = {1, 0};
  snprintf(name, sizeof name, "127.%d.%d.%d", worker + 1, turn >> 8 & 255, turn & 255);
  inet_pton(AF_INET, name, &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  note('n', name, connect(fd, (struct sockaddr *)&to, sizeof to));
  close(fd);
}

static void run(const char *name) {
  const pid_t child = fork();
  if (child == 0) {
    execl(own, own, "ran", name, (char *)NULL);
    _exit(1);
  }
  waitpid(child, NULL, 0);
}

static void *work(void *number) {
  const int worker = process * kThreads + (int)(long)number;
  char name[32], path[4096];
  for (int turn = 0;; ++turn) {
    snprintf(name, sizeof name, "%d-%d", worker, turn);
    snprintf(path, sizeof path, "%s/%s", granted, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    note('c', name, fd);
    if (fd >= 0) close(fd);
    if (turn % 2) note('u', name, unlink(path));
    snprintf(path, sizeof path, "%s/%s.d", granted, name);
    note('m', name, mkdir(path, 0700));
    snprintf(path, sizeof path, "%s/%s", denied, name);
    note('d', name, mkdir(path, 0700));
    if (worker % 2) meet(worker, turn);
    if (worker == 0 && turn % 16 == 0) run(name);
  }
  return NULL;
}

int main(int count, char **v) {
  if (count == 3) {
    note('x', v[2], 0);
    return 0;
  }
  own = v[0], granted = v[1], denied = v[2], port = atoi(v[3]);
  for (int i = 1; i < kProcesses; ++i) {
    if (fork() == 0) {
      process = i;
      break;
    }
  }
  pthread_t thread;
  for (long i = 0; i < kThreads; ++i) pthread_create(&thread, NULL, work, (void *)i);
  if (process != 0) pthread_exit(NULL);
  (void)!write(1, "ready\n", 6);
  if (strcmp(v[4], "ends") == 0) {
    usleep(30000);
    (void)!write(1, "ending\n", 7);
    syscall(SYS_exit_group, 0);
  }
  pthread_exit(NULL);
}
"""


class Listener:
    """Accepts at every address of the loopback network, and keeps those that were called."""

    def __init__(self):
        self.socket = socket.create_server(("0.0.0.0", 0), backlog=4096)
        self.port = self.socket.getsockname()[1]
        self.called = set()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.called.add(connection.getsockname()[0])

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


class Notes:
    """What the plugin says, as it says it."""

    def __init__(self, stream):
        self.stream = stream
        self.text = b""
        self.said = threading.Condition()
        self.ended = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while True:
            more = os.read(self.stream.fileno(), 1 << 16)
            with self.said:
                self.text += more
                self.ended = not more
                self.said.notify_all()
            if not more:
                return

    def wait_for(self, line):
        with self.said:
            return self.said.wait_for(lambda: line in self.text or self.ended, 30) and line in self.text

    def acts(self):
        """(act, name, errno) of the answered calls."""
        for line in self.text.decode().splitlines():
            if line[1:2] == " ":
                act, name, error = line.split()
                if int(error) != NOT_SERVED:
                    yield act, name, int(error)


class Log:
    """What was recorded of each kind of act, by the name that it has in the notes."""

    def __init__(self, records, listener):
        self.acts = {kind: {} for kind in "cumdnx"}
        for record in records:
            target = record.get("target") or {}
            name = os.path.basename(target.get("path") or "")
            verdict = (record.get("decision"), record.get("errno", 0))
            # No port: a caller that died before its address was looked at.
            if record["event"] == "connect" and target.get("port") == listener.port:
                self.acts["n"][target["ip"]] = verdict
            elif record["event"] == "exec" and record["argv"][1] == "ran":
                self.acts["x"][record["argv"][2]] = verdict
            elif record["event"] == "file_change":
                kind = {"unlink": "u", "mkdir": "m"}.get(record["op"])
                if kind:
                    self.acts["d" if verdict[0] == "deny" else kind][name.removesuffix(".d")] = verdict
            elif record["event"] == "file_open":
                self.acts["c"][name] = verdict


class Kill(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-kill-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        os.chmod(cls.built, 0o755)
        subprocess.run(["gcc", "-x", "c", "-O1", "-w", "-pthread", "-static", "-o", str(cls.built / "load"), "-"],
                       input=SOURCE.encode(), check=True)

    def setUp(self):
        super().setUp()
        self.random = random.Random()
        self.slowest = 0.0
        self.noted = self.recorded = self.between = 0

    def processes(self, name, title=None):
        """Those of this name or command line that are not gone yet."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/stat") as file:
                    comm, rest = file.read().split("(", 1)[1].rsplit(")", 1)
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    is_it = comm == name or (title is not None and file.read().rstrip(b"\0") == title)
                if is_it and rest.split()[0] not in "ZX":
                    found.append(int(pid))
        return found

    def supervisor_of(self, process, shape, log):
        """Its pidfd, as early as there is one to be found: from then on it is the only one that is meant."""
        if shape == "parent":
            return os.pidfd_open(process.pid)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, ValueError), open(log) as file:
                return os.pidfd_open(json.loads(file.readline())["supervisor_pid"])
        return None

    def kill(self, supervisor):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(supervisor, signal.SIGKILL)

    def records(self, log):
        if not os.path.exists(log):
            return []
        with open(log, "rb") as file:
            text = file.read()
        # write(2) itself ends at a page when its process is killed: that record's call was not answered.
        return [json.loads(line) for line in text.split(b"\n")[:-1]]

    def round(self, uid, shape, moment, number):
        name = f"k{os.getpid()}-{number}"
        base = self.dir / name
        for part in (base, base / "granted", base / "denied"):
            part.mkdir()
            os.chmod(part, 0o777)
        program = shutil.copy(self.built / "load", base / name)
        log = str(base / "audit.ndjson")
        listener = Listener()
        manifest = [f"file:rw:{base}/granted/**", f"net:connect:127.0.0.0/8:{listener.port}", f"exec:run:{program}"]
        argv = [program, f"{base}/granted", f"{base}/denied", str(listener.port), "ends" if moment == "end" else "goes-on"]
        command = self.command(manifest, argv, ["--quiet", "--supervisor", shape], log)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env={**os.environ, "TMPDIR": str(base)}, **sbx._identity(uid)) as process:
            notes = Notes(process.stdout)
            supervisor = self.supervisor_of(process, shape, log)
            if moment == "start":
                time.sleep(self.random.uniform(0, .008))
            elif moment == "load":
                self.assertTrue(notes.wait_for(b"ready\n"))
                time.sleep(self.random.uniform(0, .08))
            else:
                self.assertTrue(notes.wait_for(b"ending\n"))
                time.sleep(self.random.uniform(0, .01))
            killed = time.monotonic()
            self.kill(supervisor)
            title = None
            if records := self.records_so_far(log):
                title = f"secbox: supervisor of session {records[0]['session']}".encode()
            while (left := self.processes(name, title)) and time.monotonic() < killed + GONE_S:
                time.sleep(.002)
            took = time.monotonic() - killed
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            self.assertEqual(left, [], "something of the session is left")
            try:
                process.wait(GONE_S)
            finally:
                process.kill()  # what is not gone by then would be waited for at the end of this block
            notes.thread.join(GONE_S)
            self.assertTrue(notes.ended, "something still holds the plugin's output")
        os.close(supervisor)
        listener.close()
        self.slowest = max(self.slowest, took)
        records = self.records(log)
        if not any(record["event"] == "exec" for record in records):
            self.assertNotEqual(process.returncode, -signal.SIGSEGV, "before the plugin was there")
        self.compare(notes, Log(records, listener), listener, base)
        shutil.rmtree(base, ignore_errors=True)

    def records_so_far(self, log):
        with contextlib.suppress(OSError, ValueError), open(log) as file:
            return [json.loads(file.readline())]
        return []

    def compare(self, notes, log, listener, base):
        noted = list(notes.acts())
        self.noted += len(noted)
        self.recorded += sum(map(len, log.acts.values()))
        for act, name, error in noted:
            verdict = ("deny" if act == "d" else "allow", error)
            self.assertEqual(log.acts[act].get(name), verdict, f"answered, and recorded otherwise: {act} {name}")
        # What happened, whether or not its caller was told: only calls under way at the kill have no record.
        before = self.between
        there = set(os.listdir(base / "granted"))
        for name in there:
            kind = "m" if name.endswith(".d") else "c"
            self.assert_told(log, kind, name.removesuffix(".d"))
        made = {name for name, verdict in log.acts["c"].items() if verdict == ("allow", 0)}
        for name in made - there:
            self.assert_told(log, "u", name)
        for address in listener.called:
            self.assert_told(log, "n", address)
        self.assertLessEqual(self.between - before, UNDER_WAY)

    def assert_told(self, log, kind, name):
        if name in log.acts[kind]:
            self.assertEqual(log.acts[kind][name], ("allow", 0))
        else:
            self.between += 1

    def test_killed(self):
        combinations = [(shape, moment) for moment in ("load", "start", "end") for shape in ("beside", "parent")]
        for uid in self.each_user():
            who = self.where
            for number in range(ROUNDS):
                shape, moment = combinations[number % len(combinations)]
                self.where = f"{who}, {shape}, {moment}, round {number}"
                with self.subTest(uid=uid, shape=shape, moment=moment, round=number):
                    self.round(uid, shape, moment, f"{uid or 0}-{number}")
        print(f"  {self.noted} acts noted, {self.recorded} recorded, {self.between} between act and record, all gone after {self.slowest * 1000:.0f} ms at most",
              flush=True)


if __name__ == "__main__":
    sbx.main()
