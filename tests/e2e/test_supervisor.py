"""The supervisor's own process: it has what it needs to serve, and shows nothing to whoever looks at it."""

import contextlib
import json
import os
import signal
import subprocess
import time

import sbx

CAPABILITIES = {"chown": 0, "dac_override": 1, "fowner": 3, "kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8,
                "net_bind_service": 10, "sys_ptrace": 19}
PLUGIN = {"chown", "dac_override", "fowner", "kill", "setgid", "setuid", "setpcap", "net_bind_service"}
SECRET = "a-secret-of-the-host"


def mask(names):
    return sum(1 << CAPABILITIES[name] for name in names)


class Process:
    """What /proc tells root of a process."""

    def __init__(self, pid):
        self.pid = pid

    def read(self, name):
        with open(f"/proc/{self.pid}/{name}", "rb") as file:
            return file.read()

    def status(self, thread=None):
        text = self.read(f"task/{thread}/status" if thread else "status").decode()
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def threads(self):
        return os.listdir(f"/proc/{self.pid}/task")

    def descriptors(self):
        found = {}
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                found[int(number)] = os.readlink(f"/proc/{self.pid}/fd/{number}")
        return found

    def descriptor_flags(self, number):
        return int(self.read(f"fdinfo/{number}").split(b"flags:\t")[1].split()[0], 8)


class Supervisor(sbx.BoxTest):
    @contextlib.contextmanager
    def session(self, shape, uid, permissions=()):
        """A plugin that waits for a line, its supervisor, and the guardian."""
        self.log = self.path(f"log-{len(os.listdir(self.dir))}.ndjson")
        command = self.command(["exec:run:/bin/sh", *permissions], ["/bin/sh", "-c", "echo ready; read -r line"],
                               ["--supervisor", shape], self.log)
        # A killed supervisor leaves the private directory behind: here.
        environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(self.dir), "SECRET": SECRET, "LONG": "x" * 9000}
        inherited = os.open("/etc/hostname", os.O_RDONLY)
        try:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  pass_fds=(inherited,), env=environment,
                                  **sbx._identity(uid)) as plugin:
                self.assertEqual(plugin.stdout.readline(), b"ready\n")
                with open(self.log) as file:
                    start = json.loads(file.readline())
                supervisor = Process(start["supervisor_pid"])
                title = f"secbox: supervisor of session {start['session']}".encode()
                yield plugin, supervisor, self.guardian_of(supervisor, title), title
                plugin.communicate(b"\n", timeout=20)
        finally:
            os.close(inherited)

    def guardian_of(self, supervisor, title):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                process = Process(int(pid))
                if process.pid != supervisor.pid and process.read("cmdline").rstrip(b"\0") == title:
                    return process
        return self.fail("no guardian")

    def sessions(self, **options):
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                with self.subTest(uid=uid, shape=shape), self.session(shape, uid, **options) as session:
                    yield uid, shape, *session

    def test_every_thread_is_confined(self):
        root_only = [] if os.geteuid() != 0 else [None]
        for uid, _, _, supervisor, guardian, _ in self.sessions():
            everything = mask(PLUGIN | {"sys_ptrace"}) if uid in root_only else 0
            self.assertGreaterEqual(len(supervisor.threads()), 5)
            threads = {thread: supervisor.status(thread) for thread in supervisor.threads()}
            if sbx.SANITIZER == "thread":  # one of the run-time's own, there before any of ours
                own = [thread for thread, status in threads.items() if status["Seccomp"] == "0"]
                self.assertLessEqual(len(own), 1)
                for thread in own:
                    self.assertNotEqual(int(thread), supervisor.pid)
                    del threads[thread]
            for status in threads.values():
                self.assertEqual(status["Seccomp"], "2")
                self.assertEqual(status["NoNewPrivs"], "1")
                for which in ("CapEff", "CapPrm"):
                    self.assertEqual(int(status[which], 16), everything)
                for which in ("CapInh", "CapAmb"):
                    self.assertEqual(int(status[which], 16), 0)
            # The guardian takes its filter by itself, a moment later.
            deadline = time.monotonic() + 10
            while guardian.status()["Seccomp"] != "2" and time.monotonic() < deadline:
                os.sched_yield()
            status = guardian.status()
            self.assertEqual((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"))
            self.assertEqual(int(status["CapEff"], 16), mask({"kill", "dac_override"}) if uid in root_only else 0)

    def test_nothing_is_shown(self):
        for uid, _, _, supervisor, guardian, title in self.sessions():
            self.assertEqual(supervisor.read("cmdline").rstrip(b"\0"), title)
            for process in (supervisor, guardian):
                self.assertEqual(process.read("environ").strip(b"\0"), b"")
            self.assertEqual(supervisor.status()["Umask"], "0077")
            self.assertIn(b"Max core file size        0                    0", supervisor.read("limits"))
            self.assertEqual(os.readlink(f"/proc/{supervisor.pid}/cwd"), "/")
            # Not dumpable: root owns what it shows, and its own user may not look.
            self.assertEqual(os.stat(f"/proc/{supervisor.pid}/environ").st_uid, 0)
            if uid is not None:
                done = subprocess.run(["cat", f"/proc/{supervisor.pid}/environ"], capture_output=True,
                                      **sbx._identity(uid))
                self.assertNotEqual(done.returncode, 0)

    def test_no_secret_is_left_in_memory(self):
        """Variables of the host that are not granted, and those that were passed on."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        for _, _, _, supervisor, _, _ in self.sessions(permissions=["env:read:SECRET", "env:read:LONG"]):
            with open(f"/proc/{supervisor.pid}/maps") as maps, open(f"/proc/{supervisor.pid}/mem", "rb", 0) as memory:
                for line in maps:
                    if not line.split()[1].startswith("rw") or "[v" in line:
                        continue
                    begin, end = (int(word, 16) for word in line.split()[0].split("-"))
                    if sbx.SANITIZER and end - begin > 1 << 30:
                        continue  # notes of the run-time about the memory: terabytes of them
                    memory.seek(begin)
                    text = memory.read(end - begin)
                    if sbx.SANITIZER:  # the run-time reads its own variables from a copy of all
                        text = text.replace(f"TMPDIR={self.dir}\0SECRET={SECRET}\0".encode(), b"")
                    self.assertTrue(SECRET.encode() not in text, line)

    def test_descriptors_are_its_own(self):
        for uid, shape, _, supervisor, guardian, _ in self.sessions():
            names = supervisor.descriptors()
            self.assertNotIn("/etc/hostname", names.values())
            streams = (0, 1, 2) if shape == "beside" else (0, 1)
            for number in streams:
                self.assertEqual(names[number], "/dev/null")
            for number, name in names.items():
                if number > 2:
                    self.assertTrue(supervisor.descriptor_flags(number) & os.O_CLOEXEC, name)
            regular = [name for name in names.values() if name.startswith("/") and os.path.isfile(name)]
            # What the plugin's control group tells, where it has one.
            regular = [name for name in regular if not name.startswith("/sys/fs/cgroup/")]
            self.assertEqual(regular, [self.log])
            kept = [name for name in guardian.descriptors().values() if not name.startswith("/sys/fs/cgroup/")]
            self.assertLessEqual(len(kept), 3)
            self.assertNotIn(self.log, guardian.descriptors().values())

    def test_root_plugin_has_no_way_out(self):
        """What root keeps in the box: no capability that reaches the machine or undoes what holds it."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        script = "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp):' /proc/self/status"
        done = self.run_box(["exec:run:/bin/*", "file:read:/proc/self/status", "exec:run:/usr/bin/*"],
                            ["/bin/sh", "-c", script])
        status = dict(line.split(":\t") for line in done.stdout.decode().splitlines())
        for which in ("CapPrm", "CapEff"):
            self.assertEqual(int(status[which], 16), mask(PLUGIN), which)
        for which in ("CapInh", "CapAmb"):
            self.assertEqual(int(status[which], 16), 0, which)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_writing_to_a_setuid_program_clears_the_bit(self):
        """Without CAP_FSETID root is treated as any other writer."""
        for uid in self.each_user():
            target = self.write(f"program-{uid}", "#!/bin/true\n")
            if uid is not None:
                os.chown(target, uid, uid)
            for script in ('echo more >>"$1"', ': >"$1"', 'truncate -s 3 "$1"'):
                os.chmod(target, 0o6755)
                done = self.run_box([f"file:rw:{target}", "exec:run:/bin/*", "exec:run:/usr/bin/*"],
                                    ["/bin/sh", "-c", script, "sh", target], (), uid)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(os.stat(target).st_mode & 0o6000, 0, script)

    def test_the_guardian_outlives_a_killed_supervisor(self):
        """With its filter on, it still ends the session."""
        for uid, _, plugin, supervisor, _, _ in self.sessions():
            os.kill(supervisor.pid, signal.SIGKILL)
            plugin.wait(timeout=20)

    def test_private_directory_goes(self):
        """Deep, with links out of it, and with directories that nobody may enter."""
        script = """
            mkdir "$TMPDIR/a" "$TMPDIR/closed" && ln -s "$1" "$TMPDIR/a/link" && ln -s / "$TMPDIR/root" &&
            touch "$TMPDIR/closed/leaf" && chmod 0 "$TMPDIR/closed" &&
            mkdir -p "$TMPDIR/$(printf 'd/%.0s' $(seq 1500))" && echo "$TMPDIR"
        """
        for uid, shape in ((uid, shape) for uid in self.each_user() for shape in ("beside", "parent")):
            kept = self.write("outside/kept", "text")
            done = self.run_box(["exec:run:/bin/*", "exec:run:/usr/bin/*"],
                                ["/bin/sh", "-c", script, "sh", os.path.dirname(kept)], ["--supervisor", shape], uid)
            self.assertEqual(done.returncode, 0, done.stderr[-500:])
            self.assertFalse(os.path.lexists(done.stdout.decode().strip()))
            self.assertTrue(os.path.exists(kept))


if __name__ == "__main__":
    sbx.main()
