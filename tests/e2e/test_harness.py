"""secbox test: what it takes for real, what it calls a failure, and that it leaves nothing behind."""

import glob
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

import sbx

# A plugin with one act a name: what it does is seen by the harness, not told by it.
PROBE = r"""
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int go(int family, int type, const char* where) {
  struct sockaddr_storage a = {0};
  socklen_t size = sizeof(struct sockaddr_in);
  if (family == AF_UNIX) {
    struct sockaddr_un* un = (void*)&a;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, where, strlen(where));
    size = offsetof(struct sockaddr_un, sun_path) + strlen(where) + (where[0] != '@');
    if (where[0] == '@') un->sun_path[0] = 0;
  } else if (family == AF_INET6) {
    struct sockaddr_in6* in = (void*)&a;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(atoi(where));
    in->sin6_addr = in6addr_loopback;
    size = sizeof *in;
  } else {
    struct sockaddr_in* in = (void*)&a;
    in->sin_family = AF_INET;
    in->sin_port = htons(atoi(where));
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  int s = socket(family, type, 0);
  return connect(s, (void*)&a, size) == 0 && send(s, "x", 1, 0) == 1;
}

int main(int count, char** v) {
  const char* act = v[1];
  const char* what = count > 2 ? v[2] : "";
  int ok = 0;
  if (!strcmp(act, "read")) {
    char text[100] = "";
    int fd = open(what, O_RDONLY);
    ok = read(fd, text, 99) > 0;
    puts(text);
  }
  if (!strcmp(act, "write")) { int fd = open(what, O_WRONLY); ok = write(fd, "x", 1) == 1; }
  if (!strcmp(act, "truncate")) ok = truncate(what, 3) == 0;
  if (!strcmp(act, "create")) ok = open(what, O_WRONLY | O_CREAT, 0600) >= 0;
  if (!strcmp(act, "remove")) ok = unlink(what) == 0;
  if (!strcmp(act, "chmod")) ok = chmod(what, 0600) == 0;
  if (!strcmp(act, "tcp")) ok = go(AF_INET, SOCK_STREAM, what);
  if (!strcmp(act, "udp")) ok = go(AF_INET, SOCK_DGRAM, what);
  if (!strcmp(act, "tcp6")) ok = go(AF_INET6, SOCK_STREAM, what);
  if (!strcmp(act, "udp6")) ok = go(AF_INET6, SOCK_DGRAM, what);
  if (!strcmp(act, "stream")) ok = go(AF_UNIX, SOCK_STREAM, what);
  if (!strcmp(act, "dgram")) ok = go(AF_UNIX, SOCK_DGRAM, what);
  if (!strcmp(act, "kill")) ok = kill(atoi(what), atoi(v[3])) == 0;
  if (!strcmp(act, "nice")) ok = setpriority(PRIO_PROCESS, atoi(what), 7) == 0;
  if (!strcmp(act, "trace")) {
    int status;
    ok = ptrace(PTRACE_ATTACH, atoi(what), 0, 0) == 0 && waitpid(atoi(what), &status, __WALL) > 0;
    ptrace(PTRACE_DETACH, atoi(what), 0, 0);
  }
  if (!strcmp(act, "leave")) {
    ok = 1;
    if (fork() == 0) {
      setsid();
      if (fork() == 0) pause();
      pause();
    }
  }
  if (!strcmp(act, "echo")) { puts(what); ok = 1; }
  if (!strcmp(act, "cat")) {
    char text[1 << 16];
    ssize_t got;
    while ((got = read(0, text, sizeof text)) > 0) write(1, text, got);
    ok = 1;
  }
  if (!strcmp(act, "env")) { puts(getenv(what) ? getenv(what) : ""); ok = 1; }
  if (!strcmp(act, "ls")) { struct stat st; ok = stat(what, &st) == 0; printf("%o %d\n", st.st_mode & 07777, st.st_uid); }
  if (!strcmp(act, "wait")) pause();
  if (!strcmp(act, "die")) kill(getpid(), SIGKILL);
  fflush(stdout);
  if (ok) puts("done");
  return ok ? 0 : 1;
}
"""


class HarnessTest(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-harness-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        os.chmod(cls.built, 0o755)
        (cls.built / "probe.c").write_text("#define _GNU_SOURCE\n#include <stddef.h>\n" + PROBE)
        cls.probe = str(cls.built / "probe")
        subprocess.run(["cc", "-w", "-static", "-o", cls.probe, str(cls.built / "probe.c")], check=True)

    def setUp(self):
        super().setUp()
        self.fixtures = self.dir / "fixtures"
        self.fixtures.mkdir()
        os.chmod(self.fixtures, 0o777)
        # The runs' directories: all that is left behind is seen.
        self.tmp = self.dir / "tmp"
        self.tmp.mkdir()
        os.chmod(self.tmp, 0o777)

    def fixture(self, name="files/one", permissions=(), files=(), **expect):
        """Writes a fixture whose command is the probe."""
        folder = self.fixtures / name
        folder.mkdir(parents=True)
        body = {"$schema": "urn:secbox:schema:fixture:1", "about": "a test", "class": "files", "command": [self.probe],
                "users": ["ordinary"], **expect}
        (folder / "expect.json").write_text(json.dumps({k: v for k, v in body.items() if v is not None}))
        manifest = {"id": "test.plugin", "presets": ["base"], "permissions": {"required": list(permissions)}}
        (folder / "secbox.json").write_text(json.dumps(manifest))
        for file, text in dict(files).items():
            (folder / file).write_text(text)
        return folder

    def secret(self, **expect):
        """The common case: a file that nobody granted."""
        return {"world": {"files": {"secret.txt": "a secret"}}, "args": ["read", "${OUTSIDE}/secret.txt"],
                "forbidden": [{"output": "a secret"}], **expect}

    def run_tests(self, *options, directory=None, uid=None, env=None, timeout=120):
        self.result = subprocess.run([sbx.BIN, "test", *options, str(directory or self.fixtures)], text=True,
                                     capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout,
                                     env={**os.environ, "TMPDIR": str(self.tmp), **(env or {})}, **sbx._identity(uid))
        self.said = self.result.stdout + self.result.stderr
        if "--keep" not in options:
            self.assertEqual(os.listdir(self.tmp), [], self.said)
        return self.result.returncode

    @staticmethod
    def holds(path, marker):
        try:
            return marker.encode() in pathlib.Path(path).read_bytes()
        except OSError:
            return False

    def assert_passes(self, *options, **more):
        self.assertEqual(self.run_tests(*options, **more), 0, self.said)

    def assert_fails(self, code, text="", *options, **more):
        self.assertEqual(self.run_tests(*options, **more), 1, self.said)
        self.assertIn(f"code: {code}\n", self.said)
        self.assertIn(text, self.said)


class Verdicts(HarnessTest):
    def test_an_attack_that_is_stopped_passes(self):
        self.fixture(**self.secret(denied=[{"op": "file:read", "target": "${OUTSIDE}/secret.txt", "errno": "EACCES",
                                            "syscall": "openat", "rule": "default"}],
                                   exit=1, users=None))
        self.assert_passes()
        names = [line.split(" - ")[1] for line in self.result.stdout.splitlines() if line.startswith("ok")]
        expected = [f"files/one uid {uid}" for uid in ([0, 1000] if os.geteuid() == 0 else [os.geteuid()])]
        self.assertEqual([name for name in names if "SKIP" not in name], expected)
        self.assertIn(f"# class files: {len(expected)} of {len(expected)} stopped\n", self.said)

    def test_an_attack_that_is_not_real(self):
        self.fixture(**self.secret(args=["echo", "nothing of the kind"]))
        self.assert_fails("SBX-T001", 'not real natively: the output does not hold \\"a secret\\"')
        self.assertIn("nothing of the kind", self.said)
        self.assertNotIn("boxed:", self.said)

    def test_a_native_exit_status_that_is_another(self):
        self.fixture(args=["die"], exit=[0])
        self.assert_fails("SBX-T001", "killed by SIGKILL instead of 0")

    def test_a_native_death_that_was_expected(self):
        self.fixture(args=["die"], native_exit="signal:KILL", exit=["signal:KILL", 3])
        self.assert_passes()

    def test_an_escape(self):
        self.fixture(permissions=["file:read:${OUTSIDE}/**"], **self.secret())
        self.assert_fails("SBX-T002", 'escaped: the output holds \\"a secret\\"')

    def test_a_missing_denial(self):
        self.fixture(**self.secret(denied=[{"target": "${OUTSIDE}/other"}]))
        self.assert_fails("SBX-T003", f"/outside/other, and holds it 0 times")

    def test_counts_of_denials(self):
        self.fixture(**self.secret(denied=[{"op": "file_open", "target": "*/secret.txt", "count": 1}]))
        self.assert_passes()
        self.fixture("files/two", **self.secret(denied=[{"op": "open", "target": "*/secret.txt", "count": ">=2"}]))
        self.assert_fails("SBX-T003", "at least 2 times, and holds it 1 times", "--filter", "files/two*")
        self.fixture("files/three", **self.secret(denied=[{"target": "*/secret.txt", "count": "<=0"}]))
        self.assert_fails("SBX-T003", "exactly 0 times, and holds it 1 times", "--filter", "files/three")

    def test_allowed_records(self):
        granted = ["file:read:${OUTSIDE}/**"]
        for name, target, code in (("yes", "${OUTSIDE}/secret.txt", None), ("no", "${OUTSIDE}/other", "SBX-T004")):
            self.fixture(f"files/{name}", permissions=granted,
                         **self.secret(forbidden=None, required=[{"output": "a secret"}], allowed=[{"op": "file:read", "target": target}]))
            if code is None:
                self.assert_passes("--filter", f"files/{name}")
            else:
                self.assert_fails(code, "", "--filter", f"files/{name}")

    def test_the_exit_status(self):
        self.fixture(**self.secret(exit=0))
        self.assert_fails("SBX-T005", "exit status 1 instead of 0 under secbox")

    def test_what_must_go_on_working(self):
        self.fixture(**self.secret(forbidden=None, required=[{"output": "a secret"}, {"exit": 0}]))
        self.assert_fails("SBX-T009", 'does not work any more: the output does not hold \\"a secret\\"')
        self.assertIn("exit status 1 instead of 0", self.said)

    def test_what_must_not_be_denied(self):
        self.fixture(**self.secret(not_denied=[{"op": "file:read"}]))
        self.assert_fails("SBX-T009", "denied, and must not be: file:read")

    def test_a_program_that_never_ran_escapes_from_nothing(self):
        for name, change in (("manifest", {"files": {"secbox.json": "{"}}),
                             ("interpreter", {"files": {"secbox.json": '{"id": "x"}', "run.sh": "#!/bin/sh\necho 'a secret'\n"},
                                              "command": ["./run.sh"], "args": []})):
            folder = self.fixture(f"files/{name}", **self.secret(**change))
            if name == "interpreter":
                os.chmod(folder / "run.sh", 0o755)
            with self.subTest(name=name):
                self.assert_fails("SBX-T008", "", "--filter", f"files/{name}")

    def test_a_set_up_that_fails(self):
        self.fixture("files/build", build=[["cc", "-o", "${BUILD}/x", "missing.c"]], **self.secret())
        self.assert_fails("SBX-T008", "missing.c", "--filter", "files/build")
        self.fixture("files/copy", **self.secret(world={"files": {"a": {"copy": "/no/such/file"}}}))
        self.assert_fails("SBX-T008", "/no/such/file", "--filter", "files/copy")
        self.fixture("files/outside", **self.secret(world={"outside": ["/bin/echo", "unready"]}))
        self.assert_fails("SBX-T008", "unready", "--filter", "files/outside")
        self.fixture("files/command", **self.secret(command=["./no-such-program"]))
        self.assert_fails("SBX-T008", "cannot start ./no-such-program: No such file", "--filter", "files/command")

    def test_a_time_out_ends_everything(self):
        self.fixture(args=["wait"], timeout="300ms", exit=0)
        start = time.monotonic()
        self.assert_fails("SBX-T001", "did not end in 300 ms")
        self.assertLess(time.monotonic() - start, 20)

    def test_a_time_out_under_secbox(self):
        # Natively the other end is there; in the box nobody answers.
        self.fixture(permissions=["exec:run:/bin/sh", "exec:run:/usr/bin/dash", "exec:run:/bin/dash"], timeout="1500ms",
                     command=["/bin/sh", "-c", 'if read -r line <"$1"; then exit 0; fi; while :; do read -r line; done'],
                     args=["sh", "${OUTSIDE}/secret.txt"], world={"files": {"secret.txt": "a\n"}},
                     forbidden=[{"exit": 0}])
        self.assert_fails("SBX-T005", "did not end in 1500 ms under secbox")


class Worlds(HarnessTest):
    def stopped(self, permissions=(), **expect):
        """What happens natively, and not in the box; and would be an escape where it were granted."""
        name = f"files/{len(os.listdir(self.fixtures))}-{expect['args'][0]}"
        self.fixture(name.replace("files/", ""), **expect)
        self.assert_passes("--filter", "*" + name.split("/")[1])
        if permissions:
            self.fixture("granted-" + name.replace("files/", ""), permissions=permissions, **expect)
            self.assert_fails("SBX-T002", "escaped: ", "--filter", "granted-" + name.split("/")[1])

    def test_files(self):
        files = {"a.txt": "text", "deep/er/b.txt": {"content": "other", "mode": "0640"}, "link": {"symlink": "${OUTSIDE}/a.txt"},
                 "dir": {"dir": True, "mode": "0711"}, "fifo": {"fifo": True}, "true": {"copy": "/bin/true"}}
        for args, effect, grant in (
                (["write", "${OUTSIDE}/a.txt"], {"changed": "${OUTSIDE}/a.txt"}, "file:write:${OUTSIDE}/**"),
                (["write", "${OUTSIDE}/link"], {"changed": "${OUTSIDE}/a.txt"}, "file:write:${OUTSIDE}/**"),
                (["chmod", "${OUTSIDE}/a.txt"], {"changed": "${OUTSIDE}/a.txt"}, "file:write:${OUTSIDE}/**"),
                (["create", "${OUTSIDE}/dir/x"], {"exists": "${OUTSIDE}/dir/x"}, "file:write|create:${OUTSIDE}/**"),
                (["remove", "${OUTSIDE}/fifo"], {"missing": "${OUTSIDE}/fifo"}, "file:delete:${OUTSIDE}/**"),
                (["read", "${OUTSIDE}/deep/er/b.txt"], {"output": "other"}, "file:read:${OUTSIDE}/**")):
            self.stopped([grant], args=args, world={"files": files}, forbidden=[effect])

    def test_modes_and_owners(self):
        self.fixture(args=["ls", "work.txt"], world={"work": {"work.txt": {"content": "x", "mode": "4751"}}},
                     permissions=["file:read:${WORK}/**", "file:list:${WORK}/**"], exit=0,
                     required=[{"output": f"4751 {1000 if os.geteuid() == 0 else os.geteuid()}\n"}])
        self.assert_passes()
        if os.geteuid() == 0:
            self.fixture("files/root", args=["ls", "${OUTSIDE}/r"], world={"files": {"r": {"content": "x", "owner": "root"}}},
                         exit=0, required=[{"output": "644 0\n"}])
            self.assert_passes("--filter", "files/root")

    def test_servers(self):
        servers = {"t": "tcp", "u": "udp", "t6": "tcp6", "u6": "udp6", "s": "unix", "d": "unix-dgram", "a": "abstract"}
        for act, name, variable, grant in (("tcp", "t", "PORT", "net:connect:127.0.0.1:*"), ("udp", "u", "PORT", "net:connect:udp/127.0.0.1:*"),
                                           ("tcp6", "t6", "PORT", None), ("udp6", "u6", "PORT", None),
                                           ("stream", "s", "SOCKET", "ipc:unix:${SOCKET:s}"), ("dgram", "d", "SOCKET", None),
                                           ("stream", "a", "SOCKET", "ipc:unix:${SOCKET:a}")):
            with self.subTest(act=act, name=name):
                self.stopped([grant] if grant else [], args=[act, "${%s:%s}" % (variable, name)], world={"servers": servers},
                             forbidden=[{"contacted": name}])

    def test_contacts_of_another_server_do_not_count(self):
        self.fixture(args=["tcp", "${PORT:a}"], world={"servers": {"a": "tcp", "b": "tcp"}}, forbidden=[{"contacted": "b"}])
        self.assert_fails("SBX-T001", 'the server \\"b\\" was not contacted')

    def test_the_victim_notes_what_is_done_to_it(self):
        world = {"victim": True}
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGRTMIN + 3):
            with self.subTest(number=number):
                self.stopped(["signal:send:*"], args=["kill", "${PID:victim}", str(int(number))], world=world,
                             forbidden=[{"signalled": "victim"}])
        self.stopped(args=["trace", "${PID:victim}"], world=world, forbidden=[{"signalled": "victim"}])
        self.stopped(args=["nice", "${PID:victim}"], world=world, forbidden=[{"victim": "changed"}])

    def test_a_victim_that_is_left_alone(self):
        self.fixture(args=["kill", "${PID:victim}", "0"], world={"victim": True}, forbidden=[{"signalled": "victim"}])
        self.assert_fails("SBX-T001", "the victim noticed nothing")

    def test_the_outside_process(self):
        outside = r"""
import os, signal, sys
harmed = []
signal.signal(signal.SIGUSR1, lambda *_: harmed.append(1))
print("ready PID=%d NAME=it" % os.getpid(), flush=True)
sys.stdin.read()
sys.exit(1 if harmed else 0)
"""
        world = {"outside": ["python3", "outside.py"]}
        expect = {"args": ["kill", "${OUT:PID}", str(int(signal.SIGUSR1))], "world": world, "forbidden": [{"outside": True}],
                  "files": {"outside.py": outside}}
        self.stopped(["signal:send:*"], **expect)
        # Stopped, it cannot say that it is well.
        expect["args"] = ["kill", "${OUT:PID}", str(int(signal.SIGSTOP))]
        self.stopped(**expect)

    def test_survivors(self):
        self.fixture(args=["leave"], forbidden=[{"survivor": True}])
        self.assert_passes()
        self.fixture("files/none", args=["echo", "x"], forbidden=[{"survivor": True}])
        self.assert_fails("SBX-T001", "no process was left", "--filter", "files/none")

    def test_the_log_and_the_manifest_can_be_attacked(self):
        for variable in ("${BOX_AUDIT}", "${BOX_MANIFEST}"):
            self.fixture(variable.strip("${}"), args=["remove", variable], forbidden=[{"missing": variable}],
                         denied=[{"op": "file:delete", "target": variable}])
        self.assert_passes()

    def test_input_environment_and_options(self):
        self.fixture("files/input", args=["cat"], input="x" * 300000 + "${WORK}\n", required=[{"output": "/folder\n"}], exit=0)
        self.fixture("files/environment", args=["env", "HARNESS_X"], environment={"HARNESS_X": "in ${OUTSIDE}"},
                     permissions=["env:read:HARNESS_X"], required=[{"output": "/outside\n"}], exit=0)
        self.fixture("files/options", permissions=["file:read:${OUTSIDE}/**"],
                     **self.secret(options=["--deny", "file:read:${OUTSIDE}/secret.txt"]))
        self.assert_passes()

    def test_programs_are_found_by_the_path_of_the_world(self):
        decoy = self.dir / "decoy"
        decoy.mkdir()
        for name in ("true", "only-here"):
            os.symlink("/bin/false", decoy / name)
        path = {"PATH": f"{decoy}:{os.environ['PATH']}"}
        self.fixture("files/usual", command=["true"], required=[{"exit": 0}], permissions=["exec:run:/usr/bin/true"])
        self.assert_passes(env=path)
        self.fixture("files/own", command=["only-here"], environment={"PATH": str(decoy)}, native_exit=1, exit=1)
        self.assert_passes("--filter", "files/own")

    def test_nothing_of_the_harness_reaches_the_program(self):
        self.fixture(args=["env", "A_SECRET_OF_CI"], forbidden=[{"output": "hush"}])
        self.assert_fails("SBX-T001", 'does not hold \\"hush\\"', env={"A_SECRET_OF_CI": "hush"})

    def test_the_plugin_directory_of_a_manifest_is_the_working_directory(self):
        self.fixture(permissions=["file:read:${PLUGIN_DIR}/own.txt"], files={"own.txt": "my own"}, args=["read", "own.txt"],
                     required=[{"output": "my own"}], allowed=[{"target": "${WORK}/own.txt"}])
        self.assert_passes()

    def test_each_run_has_a_world_of_its_own(self):
        self.fixture(args=["truncate", "${OUTSIDE}/a"], world={"files": {"a": "content"}}, forbidden=[{"changed": "${OUTSIDE}/a"}],
                     cases=[{"name": "one"}, {"name": "two"}])
        self.assert_passes()

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_an_attack_on_the_harness_itself(self):
        """Natively nothing holds it back: that is told, the next test is made, and nothing is left."""
        marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
        self.fixture("a", command=["/bin/sh", "-c", 'kill -9 "$PPID"; while :; do /bin/sleep 1; done', marker], users=["root"], exit=1,
                     world={"victim": True})
        self.fixture("b", **self.secret())
        self.assert_fails("SBX-T008", "the process that made this test was killed")
        self.assertIn("ok 2 - b uid", self.said)
        self.assertEqual([path for path in glob.glob("/proc/[0-9]*/cmdline") if self.holds(path, marker)], [])

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_what_root_mounts_is_gone_and_not_walked_into(self):
        (self.dir / "precious").mkdir()
        (self.dir / "precious" / "file").write_text("precious")
        self.fixture(command=["/bin/mount"], args=["--bind", str(self.dir / "precious"), "${WORK}/at"], users=["root"],
                     world={"work": {"at": {"dir": True}}}, forbidden=[{"exists": "${WORK}/at/file"}],
                     permissions=["exec:run:/bin/mount", "exec:run:/usr/bin/mount"])
        self.run_tests()
        self.assertNotIn("SBX-T001", self.said)
        self.assertEqual((self.dir / "precious" / "file").read_text(), "precious")
        self.assertNotIn(str(self.tmp), pathlib.Path("/proc/self/mountinfo").read_text())


class Reports(HarnessTest):
    def mixed(self):
        self.fixture("files/good", **self.secret(users=None))
        self.fixture("files/bad", permissions=["file:read:${OUTSIDE}/**"], cases=[
            {"name": 'a "name" <&> # \x1b[31m\n\u202e', **self.secret()}, {"name": "second", **self.secret()}])
        self.fixture("net/broken", **self.secret(build=[["false"]], **{"class": "network"}))

    def test_hostile_names_stay_on_their_line(self):
        self.mixed()
        self.assertEqual(self.run_tests(), 1)
        self.assertNotIn("\x1b", self.said)
        self.assertNotIn("\u202e", self.said)
        tests = [line for line in self.result.stdout.splitlines() if line.startswith(("ok ", "not ok "))]
        count = len(sbx.users()) if os.geteuid() == 0 else 2
        self.assertEqual(self.result.stdout.splitlines()[:2], ["TAP version 14", f"1..{len(tests)}"])
        self.assertEqual([int(line.split(" - ")[0].split()[-1]) for line in tests], list(range(1, count + 4)))
        self.assertIn("# class network: 0 of 1 stopped\n", self.said)

    def test_junit(self):
        self.mixed()
        report = self.path("junit.xml")
        self.assertEqual(self.run_tests("--junit", report), 1)
        root = ElementTree.parse(report).getroot()
        suites = {suite.get("name"): suite for suite in root}
        self.assertEqual(list(suites), ["files/bad", "files/good", "net/broken"])
        bad = suites["files/bad"]
        self.assertEqual((bad.get("tests"), bad.get("failures"), bad.get("errors")), ("2", "2", "0"))
        failure = bad[1].find("failure")
        self.assertEqual(failure.get("type"), "SBX-T002")
        self.assertIn("a secret", failure.text)
        self.assertEqual(suites["net/broken"][0].find("error").get("type"), "SBX-T008")
        good = suites["files/good"]
        self.assertEqual((good.get("failures"), good.get("errors")), ("0", "0"))
        case = [case for case in good if case.find("skipped") is None][0]
        self.assertRegex(case.find("system-out").text, r"DENIED file:read /.*/outside/secret.txt EACCES \(rule default\)")
        self.assertGreater(float(case.get("time")), 0)
        self.assertEqual(root.get("failures"), "2")

    def test_sarif(self):
        self.mixed()
        report = self.path("report.sarif")
        self.assertEqual(self.run_tests("--sarif=" + report), 1)
        document = json.loads(pathlib.Path(report).read_text())
        self.assertEqual(document["version"], "2.1.0")
        [run] = document["runs"]
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        self.assertEqual(run["tool"]["driver"]["name"], "secbox")
        self.assertIn("SBX-T002", rules)
        self.assertEqual(sorted(result["ruleId"] for result in run["results"]), ["SBX-T002", "SBX-T002", "SBX-T008"])
        for result in run["results"]:
            self.assertIn(result["ruleId"], rules)
            self.assertEqual(result["level"], "error")
            self.assertTrue(result["message"]["text"])
            [location] = result["locations"]
            self.assertTrue(location["physicalLocation"]["artifactLocation"]["uri"].endswith("/expect.json"))
            self.assertGreaterEqual(location["physicalLocation"]["region"]["startLine"], 1)

    def test_a_report_that_cannot_be_written(self):
        self.fixture(**self.secret())
        self.assertEqual(self.run_tests("--junit", "/no/such/directory/junit.xml"), 125)

    def test_golden_logs(self):
        folder = self.fixture(world={"servers": {"inner": "tcp"}}, args=["tcp", "${PORT:inner}"], golden="golden.ndjson",
                              permissions=["file:read:${WORK}/**"], forbidden=[{"contacted": "inner"}])
        golden = folder / "golden.ndjson"
        self.assert_fails("SBX-T006", "there is no golden.ndjson yet")
        self.assertFalse(golden.exists())
        self.assert_passes("--update-golden")
        text = golden.read_text()
        self.assertNotIn(str(self.tmp), text)
        records = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([record["event"] for record in records if record["event"].startswith("session")],
                         ["session_start", "session_end"])
        [denied] = [record for record in records if record.get("decision") == "deny"]
        self.assertEqual((denied["target"]["port"], denied["pid"], denied["timestamp"]), ("<PORT>", "<PID>", "<TIME>"))
        for record in records:
            self.assertFalse({"seq", "session", "duration_ms", "rules_digest", "tid"} & set(record))
            self.assertNotIn(record.get("rule", {}).get("layer") if record.get("decision") == "allow" else None,
                             ("preset", "implied"))
        self.assert_passes()
        golden.write_text(text.replace("EACCES", "EPERM"))
        self.assert_fails("SBX-T006", "the log differs from golden.ndjson in line ")
        self.assert_passes(env={"UPDATE_GOLDEN": "1"})
        self.assertEqual(golden.read_text(), text)

    def test_the_log_of_a_failed_case_does_not_become_golden(self):
        folder = self.fixture(permissions=["file:read:${OUTSIDE}/**"], **self.secret(golden="golden.ndjson"))
        self.assert_fails("SBX-T002", "", "--update-golden")
        self.assertFalse((folder / "golden.ndjson").exists())


class Guide(HarnessTest):
    """What docs/testing-plugins.md shows is what there is."""

    def setUp(self):
        super().setUp()
        self.text = (sbx.REPO / "docs" / "testing-plugins.md").read_text()

    def test_the_first_fixture(self):
        folder = self.fixtures / "no-ssh-key"
        shutil.copytree(sbx.REPO / "fixtures" / "hostile" / "nosy_weather", folder)
        (folder / "expect.json").write_text(self.text.split("```json\n")[1].split("```")[0])
        self.assert_passes()
        if os.geteuid() == 0:
            shown = self.text.split("$ secbox test my-plugin/tests\n")[1].split("```")[0]
            self.assertEqual(self.result.stdout, shown)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_the_world(self):
        world = json.loads("{" + self.text.split("### The world\n```json\n")[1].split("```")[0] + "}")["world"]
        outside = 'import sys\nprint("ready", flush=True)\nsys.stdin.read()\n'
        self.fixture(world=world, args=["read", "${OUTSIDE}/link"], forbidden=[{"output": "text"}], files={"outside.py": outside})
        self.assert_passes()

    def test_every_key_is_there(self):
        keys = set()
        for table in self.text.split("## expect.json")[1].split("### Effects")[0].split("| key | |")[1:]:
            for row in table.strip().splitlines()[1:]:
                if row.startswith("| `"):
                    keys |= {key.strip(" `") for key in row.split("|")[1].split(",")}
        self.assertGreater(len(keys), 20)
        # An unknown one comes back with all that are known.
        (self.fixtures / "expect.json").write_text('{"$schema": "urn:secbox:schema:fixture:1", "qqqqqqqq": 1, "cases": [{"zzzzzzzz": 1}]}')
        self.assertEqual(self.run_tests(), 122)
        known = set()
        for line in self.result.stderr.splitlines():
            if "known here: " in line:
                known |= {key.strip() for key in line.split("known here: ")[1].split(",")}
        self.assertEqual(keys, known)


class CommandLine(HarnessTest):
    def test_bad_fixtures(self):
        good = {"$schema": "urn:secbox:schema:fixture:1", "command": ["/bin/true"], "exit": 0}
        cases = [
            ({"forbiden": []}, 'unknown key "forbiden"', 'did you mean "forbidden"?'),
            ({"$schema": "urn:secbox:schema:fixture:2"}, "unknown schema", "fixture:1"),
            ({"forbidden": [{"outputs": "x"}]}, 'unknown key "outputs"', 'did you mean "output"?'),
            ({"forbidden": [{"output": "x", "exit": 1}]}, "exactly one key", ""),
            ({"forbidden": {"output": "x"}}, "this is an object, where a list of effects belongs", ""),
            ({"forbidden": [{"contacted": "x"}]}, 'no server "x"', ""),
            ({"forbidden": [{"signalled": "victim"}]}, "no victim", "world"),
            ({"args": ["${OUTSID}/x"]}, "no variable ${OUTSID}", 'did you mean "OUTSIDE"?'),
            ({"args": ["${PORT:x}"]}, "no variable ${PORT:x}", ""),
            ({"world": {"servers": {"x": "tpc"}}}, 'kind of server "tpc"', 'did you mean "tcp"?'),
            ({"world": {"files": {"../x": "y"}}}, 'without ".."', ""),
            ({"world": {"files": {"x": {"mode": "0644"}}}}, "one of content, symlink", ""),
            ({"world": {"files": {"x": {"content": "", "mode": "9"}}}}, "octal", ""),
            ({"users": ["roo"]}, 'unknown user "roo"', 'did you mean "root"?'),
            ({"timeout": "soon"}, "no time", '"20s"'),
            ({"exit": "never"}, "no exit status", '"any"'),
            ({"manifest": "other.json"}, "no other.json", ""),
            ({"manifest": "/etc/passwd"}, "no name of a file in the fixture's folder", ""),
            ({"golden": "../x"}, "no name of a file in the fixture's folder", ""),
            ({"exit": "any"}, "expects nothing", ""),
            ({"command": []}, "a command needs a program", ""),
            ({"command": None}, "nothing to run", ""),
            ({"build": "c"}, "no *.c", ""),
            ({"cases": [{"routes": ["here"]}], "routes": {"there": ["/bin/true"]}}, 'no route "here"', 'did you mean "there"?'),
            ({"cases": [{"build": "c"}]}, 'unknown key "build"', ""),
            ({"denied": [{"count": "many"}]}, "no count", ">=1"),
        ]
        for change, message, hint in cases:
            with self.subTest(change=change):
                folder = self.fixtures / "x"
                folder.mkdir(exist_ok=True)
                body = {key: value for key, value in {**good, **change}.items() if value is not None}
                (folder / "expect.json").write_text(json.dumps(body, indent=1))
                (folder / "secbox.json").write_text('{"id": "x"}')
                self.assertEqual(self.run_tests(), 122, self.said)
                self.assertRegex(self.result.stderr, rf"^{folder}/expect.json:\d+:\d+: error SBX-[VT]\d+: ")
                self.assertIn(message, self.result.stderr)
                self.assertIn(hint, self.result.stderr)
                self.assertEqual(self.result.stdout, "")

    def test_the_place_of_a_mistake(self):
        folder = self.fixture(**self.secret())
        (folder / "expect.json").write_text('{\n  "$schema": "urn:secbox:schema:fixture:1",\n  "forbiden": []\n}')
        self.assertEqual(self.run_tests(), 122)
        self.assertIn(f'{folder}/expect.json:3:3: error SBX-V106: unknown key "forbiden"', self.result.stderr)
        (folder / "expect.json").write_text('{\n  "a" 1\n}')
        self.assertEqual(self.run_tests(), 122)
        self.assertIn(f"{folder}/expect.json:2:", self.result.stderr)

    def test_all_mistakes_at_once(self):
        for name in ("a", "b"):
            self.fixture(name, nonsense=1, **self.secret())
        self.assertEqual(self.run_tests(), 122)
        self.assertEqual(self.result.stderr.count("SBX-V106"), 2)

    def test_the_command_line(self):
        self.fixture(**self.secret())
        for options, text in ((["--user", "root"], "unknown option"), (["--users", "nobody"], "--users is"), (["-j", "0"], "--jobs is"),
                              (["--jobs=x"], "--jobs is"), (["--filter", "nothing"], "no test is left"), (["/tmp"], "one directory")):
            self.assertEqual(self.run_tests(*options), 122, options)
            self.assertIn(text, self.said)
        for directory in ("/no/such/directory", sbx.BIN, str(self.tmp)):
            self.assertEqual(self.run_tests(directory=directory), 122)
        done = subprocess.run([sbx.BIN, "test", str(self.fixtures), "--filter"], capture_output=True)
        self.assertEqual(done.returncode, 122)

    def test_one_fixture_by_itself(self):
        folder = self.fixture(**self.secret())
        self.assert_passes(directory=folder)
        self.assertIn(" - one uid ", self.said)

    def test_filter_and_users(self):
        self.fixture("files/one", **self.secret(users=None, cases=[{"name": "a"}, {"name": "b"}]))
        self.fixture("files/two", **self.secret())
        ran = lambda: [line.split(" - ")[1] for line in self.result.stdout.splitlines() if line.startswith("ok")]
        me = 1000 if os.geteuid() == 0 else os.geteuid()
        self.assert_passes("--filter", "files/one b", "--users", "ordinary")
        self.assertEqual(ran(), [f"files/one b uid {me}"])
        self.assert_passes("--filter=*two*", "--users=both")
        self.assertEqual(ran(), [f"files/two uid {me}"])
        self.assert_passes("--users=root")
        self.assertEqual([name.split(" #")[0] for name in ran()], ["files/one a uid 0", "files/one b uid 0"])

    def test_as_an_ordinary_user(self):
        uid = 1000 if os.geteuid() == 0 else None
        self.fixture("files/one", **self.secret(users=None))
        self.assert_passes(uid=uid)
        self.assertIn("ok 1 - files/one uid 0 # SKIP needs root\n", self.said)
        self.assertRegex(self.said, r"ok 2 - files/one uid [1-9]\d*\n")
        self.assertIn("# 1 passed, 0 failed, 1 skipped\n", self.said)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_file_of_root_needs_root(self):
        self.fixture(**self.secret(world={"files": {"secret.txt": {"content": "a secret", "owner": "root"}}}))
        self.assert_passes(uid=1000)
        self.assertIn("ok 1 - files/one uid 1000 # SKIP needs root\n", self.said)
        self.assert_passes()
        self.assertNotIn("SKIP", self.said)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_folder_that_cannot_be_read_is_no_empty_one(self):
        self.fixture("files/one", **self.secret())
        os.chmod(self.fixture("locked/two", **self.secret()).parent, 0o700)
        self.assertEqual(self.run_tests(uid=1000), 122)
        self.assertIn("locked: error SBX-T010: cannot be read", self.said)

    def test_order_is_kept_with_many_at_once(self):
        for name in "abcdef":
            self.fixture(name, **self.secret(args=["read", "${OUTSIDE}/secret.txt"]))
        self.assert_passes("-j3")
        names = [line.split(" - ")[1][0] for line in self.result.stdout.splitlines() if line.startswith("ok")]
        self.assertEqual(names, list("abcdef"))

    def test_build_once_a_fixture(self):
        log = self.path("builds")
        self.fixture(build=[["/bin/sh", "-c", f"echo built >>{log}; cp {self.probe} ${{BUILD}}/copy"]], command=["${BUILD}/copy"],
                     permissions=["exec:run:${BUILD}/copy"], **self.secret(cases=[{"name": "a"}, {"name": "b"}]))
        self.assert_passes()
        self.assertEqual(pathlib.Path(log).read_text(), "built\n")

    def test_routes(self):
        self.fixture(routes={"one": [self.probe], "two": [self.probe]}, command=None,
                     **self.secret(cases=[{"name": "a"}, {"name": "b", "routes": ["two"]}]))
        self.assert_passes()
        names = [line.split(" - ")[1].rsplit(" uid")[0] for line in self.result.stdout.splitlines() if line.startswith("ok")]
        self.assertEqual(names, ["files/one a [one]", "files/one a [two]", "files/one b [two]"])

    def test_keep(self):
        self.fixture(**self.secret())
        self.assert_passes("--keep")
        kept = self.said.split("# kept: ")[1].split("\n")[0]
        self.assertTrue(os.path.exists(f"{kept}/1/boxed/box/log/audit.ndjson"))
        self.assertTrue(os.path.exists(f"{kept}/1/native-1/outside/secret.txt"))

    def test_interrupted_it_leaves_nothing(self):
        marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
        self.fixture(args=["wait", marker], timeout="60s", exit=0)
        for number in (signal.SIGINT, signal.SIGTERM):
            harness = subprocess.Popen([sbx.BIN, "test", str(self.fixtures)], stdout=subprocess.PIPE, text=True,
                                       env={**os.environ, "TMPDIR": str(self.tmp)})
            running = lambda: [path for path in glob.glob("/proc/[0-9]*/cmdline") if self.holds(path, marker)]
            deadline = time.monotonic() + 30
            while not running() and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertNotEqual(running(), [])
            harness.send_signal(number)
            out, _ = harness.communicate(timeout=30)
            self.assertEqual(harness.returncode, 128 + number)
            self.assertIn("Bail out!", out)
            self.assertEqual((running(), os.listdir(self.tmp)), ([], []))


if __name__ == "__main__":
    sbx.main()
