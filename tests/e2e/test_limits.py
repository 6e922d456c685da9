"""Limits and time-outs hold over the whole process tree, are said in the log, and end the plugin with the exit code of
docs/cli.md: with the host's control groups (root) and by watchdog and rlimits (an ordinary user)."""

import os
import resource
import signal
import subprocess
import time
import unittest

import sbx

PYTHON = "/usr/bin/python3"
SHAPES = ("beside", "parent")


class Limits(sbx.BoxTest):
    def limit_events(self, done, name):
        return [record for record in done.records if record["event"] == name]

    def end(self, done):
        return done.records[-1]

    def each(self):
        for uid in self.each_user():
            for shape in SHAPES:
                self.where += ", " + shape
                yield uid, ["--supervisor", shape]

    def python(self, code, options, uid, permissions=None, **more):
        return self.run_box(permissions or sbx.EVERYTHING, [PYTHON, "-c", code], options, uid, timeout=60, **more)

    def test_memory_of_one_process(self):
        code = ("import time; a = bytearray(90_000_000); time.sleep(.5); b = bytearray(60_000_000); time.sleep(30); "
                "print('alive')")
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--memory", "100MB"], uid)
            self.assertEqual((done.returncode, done.stdout), (123, b""), done.stderr)
            exceeded = self.limit_events(done, "plugin_memory_exceeded")
            self.assertEqual(len(exceeded), 1)
            self.assertEqual(exceeded[0]["error"], "MemoryLimitError")
            self.assertEqual(exceeded[0]["limit"], 100.0)
            self.assertGreaterEqual(exceeded[0]["memory_mb"], 100.0)
            self.assertLess(exceeded[0]["memory_mb"], 160.0)
            self.assertEqual(len(self.limit_events(done, "plugin_memory_warning")), 1, "90 of 100 MB lasted half a second")
            end = self.end(done)
            self.assertEqual(end["event"], "session_end")
            self.assertEqual(end["ended_by"]["cause"], "limit")
            self.assertGreater(end["usage"]["peak_memory_bytes"], 90_000_000)
            self.assertIn(b"secbox: LIMIT plugin 1.0: memory: ", done.stderr)
            self.assertIn(b"SBX-L102", done.stderr)

    def test_memory_of_all_processes_together(self):
        code = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        held = bytearray(os.urandom(1) * 30_000_000)
        time.sleep(30)
time.sleep(30)
"""
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--memory", "100MB"], uid)
            self.assertEqual(done.returncode, 123, done.stderr)
            self.assertEqual(len(self.limit_events(done, "plugin_memory_exceeded")), 1)

    def test_shared_pages_count_once(self):
        code = """
import os, time
held = bytearray(b"x" * 60_000_000)
children = []
for _ in range(4):
    children.append(os.fork())
    if children[-1] == 0:
        time.sleep(1)
        os._exit(0)
for child in children: os.waitpid(child, 0)
print("done")
"""
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--memory", "130MB"], uid)
            self.assertEqual((done.returncode, done.stdout), (0, b"done\n"), done.stderr)

    def test_memory_that_nobody_maps(self):
        code = """
import os, time
files = []
for _ in range(20):
    files.append(os.memfd_create("x"))
    os.write(files[-1], b"x" * 10_000_000)
    time.sleep(.02)
time.sleep(30)
"""
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--memory", "100MB"], uid)
            self.assertEqual(done.returncode, 123, done.stderr)

    def test_shared_memory_without_a_file(self):
        code = ("import mmap, time\nm = mmap.mmap(-1, 150_000_000)\n"
                "for at in range(0, len(m), 4096): m[at] = 1\ntime.sleep(30)")
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--memory", "100MB"], uid)
            self.assertEqual(done.returncode, 123, done.stderr)

    def test_a_vfork_child_has_no_memory_of_its_own(self):
        code = """
import subprocess, time
held = bytearray(60_000_000)
for at in range(0, len(held), 4096):
    held[at] = 1
end = time.time() + 2
while time.time() < end:
    subprocess.run(["/bin/true"])
"""
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--memory", "100MB", "--limit", "memory_warn=none"], uid)
            self.assertEqual((done.returncode, self.limit_events(done, "plugin_memory_exceeded")), (0, []), done.stderr)

    def test_memory_may_be_a_warning(self):
        code = "import time; a = bytearray(60_000_000); time.sleep(.5); print('done')"
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--memory", "50MB", "--limit", "on_memory=warn"], uid)
            self.assertEqual((done.returncode, done.stdout), (0, b"done\n"), done.stderr)
            self.assertEqual([event["action"] for event in self.limit_events(done, "plugin_memory_exceeded")], ["warn"])

    def test_cpu_time_of_the_tree(self):
        script = "(while :; do :; done) & (while :; do :; done) & wait"
        for uid, shape in self.each():
            done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", script], [*shape, "--limit", "cpu_time=1s"], uid)
            self.assertEqual(done.returncode, 123, done.stderr)
            event = self.limit_events(done, "plugin_cpu_exceeded")[-1]
            self.assertEqual((event["error"], event["code"], event["action"]), ("CpuLimitError", "SBX-L104", "terminate"))
            self.assertGreaterEqual(self.end(done)["usage"]["cpu_ms"], 1000)

    def test_cpu_rate_is_said(self):
        script = "end=$(($(date +%s) + 5)); while [ $(date +%s) -lt $end ]; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done"
        for uid in self.each_user():
            done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", script], ["--limit", "cpu=5%"], uid)
            self.assertEqual(done.returncode, 0, done.stderr)
            event = self.limit_events(done, "plugin_cpu_exceeded")[0]
            self.assertEqual((event["code"], event["action"], event["limit"]), ("SBX-L103", "warn", 5))
            self.assertGreater(event["cpu_percent"], 5)
            done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", script],
                                ["--limit", "cpu=5%", "--limit", "on_cpu=terminate"], uid)
            self.assertEqual(done.returncode, 123, done.stderr)

    def test_file_size(self):
        target = self.path("big")
        code = f"""
import os
try:
    with open({target!r}, "wb") as file:
        for _ in range(30): file.write(b"x" * 100_000)
except OSError as error:
    print(error.errno)
try:
    os.truncate({target!r}, 5_000_000)
except OSError as error:
    print(error.errno)
"""
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--limit", "file_size=1MB"], uid)
            self.assertEqual((done.returncode, done.stdout), (0, b"27\n27\n"), done.stderr)  # EFBIG
            self.assertEqual(os.path.getsize(target), 1_000_000)
            event = self.limit_events(done, "plugin_file_size_exceeded")[0]
            self.assertEqual((event["error"], event["path"], event["limit"]), ("FileSizeError", target, 1.0))
            os.unlink(target)

    def test_file_size_ends_what_does_not_expect_it(self):
        for uid, shape in self.each():
            target = self.path("dd-" + shape[1])
            done = self.run_box(sbx.EVERYTHING, ["/bin/dd", "if=/dev/zero", f"of={target}", "bs=100k", "count=30"],
                                [*shape, "--limit", "file_size=1MB"], uid)
            self.assertEqual(done.returncode, 123 if shape[1] == "parent" else -signal.SIGXFSZ, done.stderr)
            self.assertLessEqual(os.path.getsize(target), 1_000_000)
            # Its host may have seen a death by signal before the supervisor has.
            deadline = time.monotonic() + 10
            while self.end(done)["event"] != "session_end" and time.monotonic() < deadline:
                time.sleep(.01)
            self.assertEqual(len(self.limit_events(done, "plugin_file_size_exceeded")), 1)
            os.unlink(target)

    def test_a_file_that_was_long_before_is_no_news(self):
        target = self.write("long", "")
        os.truncate(target, 3_000_000)
        code = f"file = open({target!r}, 'r+b'); file.write(b'x')"
        done = self.python(code, ["--limit", "file_size=1MB", "--fail-on", "limit"], None)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_configuration_that_is_none(self):
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        for name in (fifo, self.path("missing"), str(self.dir)):
            done = self.run_box([], ["/bin/true"], env={**os.environ, "SECBOX_CONFIG": name}, timeout=20)
            self.assertEqual(done.returncode, 122, done.stderr)
            self.assertIn(b"SECBOX_CONFIG names no file", done.stderr)

    def test_processes(self):
        code = """
import os, time
for _ in range(60):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except OSError as error:
        print(error.errno, flush=True)
        break
time.sleep(1)
"""
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--limit", "pids=20"], uid)
            self.assertEqual(len(self.limit_events(done, "plugin_pids_exceeded")), 1)
            # A control group refuses the fork; without one the plugin is ended.
            refused = done.records[0]["limits_kept_by"] != "watchdog"
            self.assertEqual((done.returncode, done.stdout), (0, b"11\n") if refused else (123, b""), done.stderr)
            if os.geteuid() != 0 or uid is not None:
                continue
            self.assertTrue(refused or not os.access("/sys/fs/cgroup/pids", os.W_OK))

    def test_open_files(self):
        code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--limit", "open_files=40"], uid)
            self.assertEqual(done.stdout, b"(40, 40)\n", done.stderr)

    def test_nothing_can_be_raised_again(self):
        code = """
import resource
for what, value in ((resource.RLIMIT_NOFILE, 100), (resource.RLIMIT_FSIZE, 5_000_000)):
    try:
        resource.setrlimit(what, (value, value))
        print("raised")
    except (ValueError, OSError):
        print("kept")
"""
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--limit", "open_files=40", "--limit", "file_size=1MB"], uid)
            self.assertEqual(done.stdout, b"kept\nkept\n", done.stderr)

    def test_leaving_the_control_group(self):
        """Protected state: no grant reaches it, whatever the name."""
        hierarchy = "/sys/fs/cgroup/pids/cgroup.procs"
        if not os.path.exists(hierarchy):
            hierarchy = "/sys/fs/cgroup/cgroup.procs"
        link = self.path("link")
        os.symlink(os.path.dirname(hierarchy), link)
        for name in (hierarchy, link + "/cgroup.procs", "/proc/self/root" + hierarchy):
            done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", f"echo $$ > {name}"])
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(done.denials()[-1]["rule"]["layer"], "protected")

    def test_time(self):
        for uid, shape in self.each():
            for script in ("sleep 30", "trap '' TERM INT HUP; while :; do :; done", "sleep 30 & kill -STOP $$",
                           "mkfifo $TMPDIR/f; read x <$TMPDIR/f"):
                started = time.monotonic()
                done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", script], [*shape, "--timeout", "700ms"], uid)
                took = time.monotonic() - started
                self.assertEqual(done.returncode, 124, (script, done.stderr))
                event = self.limit_events(done, "plugin_timeout")[0]
                self.assertEqual((event["error"], event["function"], event["timeout"]), ("PluginTimeoutError", "run", 0.7))
                self.assertEqual(self.end(done)["ended_by"], {"cause": "timeout", "code": "SBX-L202"})
                self.assertLess(took, 10, script)

    def test_time_while_it_waits_for_a_vfork_child(self):
        source = self.write("wait.c", "#define _GNU_SOURCE\n#include <unistd.h>\n"
                            "int main(void) { if (vfork() == 0) { for (;;) pause(); } return 0; }\n")
        program = self.path("wait")
        subprocess.run(["gcc", "-w", "-o", program, source], check=True)
        for uid, shape in self.each():
            done = self.run_box(sbx.EVERYTHING, [program], [*shape, "--timeout", "500ms"], uid)
            self.assertEqual(done.returncode, 124, done.stderr)

    @unittest.skipUnless(os.uname().machine == "x86_64", "numbers of system calls")
    def test_time_without_its_first_thread(self):
        code = ("import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(30,)).start()\n"
                "ctypes.CDLL(None).syscall(60, 0)")
        for uid, shape in self.each():
            done = self.python(code, [*shape, "--timeout", "1s"], uid)
            self.assertEqual(done.returncode, 124, done.stderr)

    @unittest.skipUnless(os.uname().machine == "x86_64", "numbers of system calls")
    def test_time_of_a_program_that_cannot_exit(self):
        code = """
import ctypes, struct, time
libc = ctypes.CDLL(None)
rules = b"".join(struct.pack("HBBI", *rule) for rule in
                 [(0x20, 0, 0, 0), (0x15, 0, 1, 231), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)])
kept = ctypes.create_string_buffer(rules)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(kept))
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0  # exit_group(2) fails
time.sleep(30)
"""
        for uid, shape in self.each():
            started = time.monotonic()
            done = self.python(code, [*shape, "--timeout", "1s"], uid)
            self.assertEqual(self.end(done)["ended_by"]["cause"], "timeout", done.stderr)
            self.assertLess(time.monotonic() - started, 10)

    def test_a_time_beyond_what_clocks_count(self):
        for uid, shape in self.each():
            done = self.run_box(sbx.EVERYTHING, ["/bin/true"], [*shape, "--timeout", "10000000h"], uid)
            self.assertEqual(done.returncode, 122, done.stderr)

    def test_a_program_that_ends_in_time_keeps_its_status(self):
        for uid, shape in self.each():
            done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", "exit 7"], [*shape, "--timeout", "20s"], uid)
            self.assertEqual(done.returncode, 7)
            self.assertNotIn("ended_by", self.end(done))

    def test_the_manifest_says_it(self):
        members = {"limits": {"memory": "60MB"}, "timeouts": {"run": "10s"}}
        done = self.run_box(sbx.EVERYTHING, [PYTHON, "-c", "a = bytearray(90_000_000); import time; time.sleep(30)"],
                            members=members)
        self.assertEqual(done.returncode, 123, done.stderr)
        members = {"timeouts": {"run": "600ms"}}
        done = self.run_box(sbx.EVERYTHING, ["/bin/sleep", "30"], members=members)
        self.assertEqual(done.returncode, 124, done.stderr)
        # The command line goes before it.
        done = self.run_box(sbx.EVERYTHING, ["/bin/sleep", "0.8"], ["--timeout", "none"], members=members)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_configuration_says_it(self):
        config = self.write("config.toml", "[timeouts]\nrun = '400ms'\n[type.agent.timeouts]\nrun = '30s'\n[max.limits]\npids = 30\n")
        environment = {**os.environ, "SECBOX_CONFIG": config}
        sleep = ["/bin/sleep", "0.9"]
        self.assertEqual(self.run_box(sbx.EVERYTHING, sleep, env=environment).returncode, 124)
        self.assertEqual(self.run_box(sbx.EVERYTHING, sleep, env=environment, members={"type": "agent"}).returncode, 0)
        done = self.run_box(sbx.EVERYTHING, sleep, ["--limit", "pids=100", "--timeout", "20s"], env=environment)
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"lowered to what the configuration allows: limits.pids", done.stderr)
        self.assertEqual(done.records[0]["limits"]["pids"], 30)
        self.write("config.toml", "[limits]\nmemroy = '1GB'\n")
        done = self.run_box(sbx.EVERYTHING, sleep, env=environment)
        self.assertEqual(done.returncode, 122)
        self.assertIn(b'did you mean "memory"?', done.stderr)

    def test_bad_values(self):
        for options in (["--limit", "memroy=1GB"], ["--limit", "memory"], ["--limit", "memory=lots"], ["--timeout", "x"],
                        ["--timeout", "walk=1s"], ["--memory", "-5"]):
            done = self.run_box([], ["/bin/true"], options)
            self.assertEqual(done.returncode, 122, options)
            self.assertIn(b"secbox run: ", done.stderr)

    def test_fail_on_limit(self):
        code = "import time; a = bytearray(60_000_000); time.sleep(.3)"
        options = ["--memory", "50MB", "--limit", "on_memory=warn", "--fail-on", "limit"]
        self.assertEqual(self.python(code, options, None).returncode, 121)
        self.assertEqual(self.python("pass", options, None).returncode, 0)

    def test_status_file(self):
        status = self.path("status")
        done = self.run_box(sbx.EVERYTHING, ["/bin/sleep", "30"], ["--timeout", "300ms", "--status-file", status])
        self.assertEqual(done.returncode, 124)
        with open(status) as file:
            self.assertIn('"exit":124,"cause":"timeout"', file.read())

    def test_auditing_ends_nothing(self):
        options = ["--mode", "audit", "--memory", "50MB", "--timeout", "400ms", "--limit", "file_size=1kB"]
        target = self.path("long")
        code = f"import time; a = bytearray(60_000_000); open({target!r}, 'w').write('x' * 5000); time.sleep(.8); print('done')"
        done = self.python(code, options, None)
        self.assertEqual((done.returncode, done.stdout), (0, b"done\n"), done.stderr)
        self.assertEqual(len(self.limit_events(done, "plugin_timeout")), 1)
        self.assertEqual(len(self.limit_events(done, "plugin_memory_exceeded")), 1)

    def test_no_control_group_is_left(self):
        self.run_box(sbx.EVERYTHING, ["/bin/true"])
        log = self.path("killed.ndjson")
        with subprocess.Popen(self.command(sbx.EVERYTHING, ["/bin/sh", "-c", "echo; while :; do :; done"], ["-q"], log),
                              stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            records = sbx.Result(0, b"", b"", log).records
            os.kill(records[0]["supervisor_pid"], signal.SIGKILL)
            process.wait(20)
        session = records[0]["session"]
        deadline = time.monotonic() + 5
        while self.groups_of(session) and time.monotonic() < deadline:
            time.sleep(.02)
        self.assertEqual(self.groups_of(session), [])

    def groups_of(self, session):
        found = []
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            found += [os.path.join(folder, name) for name in names if name == f"secbox-{session}"]
        return found

    def test_a_refused_start_leaves_nothing(self):
        for uid, shape in self.each():
            own = self.path(f"tmp-{uid}-{shape[-1]}")
            os.mkdir(own)
            os.chmod(own, 0o777)
            before = self.groups()
            argv = self.command(sbx.EVERYTHING, ["/bin/true"], shape, log=self.path("none/log"))
            done = subprocess.run(argv, env={**os.environ, "TMPDIR": own, "XDG_RUNTIME_DIR": ""}, capture_output=True,
                                  timeout=60, **sbx._identity(uid))
            self.assertEqual(done.returncode, 125, done.stderr)
            deadline = time.monotonic() + 5
            while (self.groups() - before or os.listdir(own)) and time.monotonic() < deadline:
                time.sleep(.05)
            self.assertEqual((self.groups() - before, os.listdir(own)), (set(), []))

    def groups(self):
        mine = "".join(line.split(":")[2] for line in open("/proc/self/cgroup") if ":memory:" in line).strip()
        place = "/sys/fs/cgroup/memory" + mine
        return {name for name in os.listdir(place) if name.startswith("secbox-")} if os.path.isdir(place) else set()

    def test_usage(self):
        code = "import os; os.read(os.open('/dev/zero', 0), 3_000_000); open(os.devnull, 'wb').write(b'x' * 2_000_000); sum(range(3_000_000))"
        for uid in self.each_user():
            usage = self.end(self.python(code, [], uid))["usage"]
            self.assertGreater(usage["cpu_ms"], 20)
            self.assertGreater(usage["peak_memory_bytes"], 5_000_000)
            self.assertGreaterEqual(usage["read_bytes"], 3_000_000)
            self.assertGreaterEqual(usage["written_bytes"], 2_000_000)


if __name__ == "__main__":
    sbx.main()
