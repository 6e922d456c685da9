"""A hostile program does what it was not granted, by every way that is known, and each is refused and recorded.

The program is fixtures/hostile/act: direct system calls, so that neither libc nor the shim is in the way. Natively the
same act succeeds wherever the user may do it at all, which proves that the refusal is secbox's.
"""

import base64
import json
import os
import pathlib
import signal
import socket
import subprocess

import sbx

LOADER = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}[os.uname().machine]
# Route: program, where in it, more options of secbox.
ROUTES = {
    "libc's program": ("act", "here", ()),
    "static": ("act-static", "here", ()),
    "second thread": ("act", "thread", ()),
    "child after exec": ("act-static", "child", ()),
    "without the shim": ("act", "here", ("--no-shim",)),
}
EVERYBODY, ROOT, NOBODY = "everybody", "root", "nobody"


class Escapes(sbx.BoxTest):
    def lay_out(self, uid):
        """What the acts work on: {name: path}. granted/ may be changed, readable/ read, everything else neither."""
        base = self.dir / f"user-{uid}"
        place = {name: str(base / name) for name in ("granted", "readable", "denied")}
        for folder in place.values():
            os.makedirs(folder)
        for name, text in (("granted/own", "mine\n"), ("readable/text", "text\n"), ("denied/secret", "Secret\n"),
                           ("denied/victim", "Victim\n"), ("readable/file", "file\n")):
            (base / name).write_text(text)
            place[name] = str(base / name)
        for folder in ("denied", "readable"):
            for program in ("exit_seven", "exit_seven-static"):
                place[f"{folder}/{program}"] = str(base / folder / program)
                (base / folder / program).write_bytes((sbx.FIXTURES / program).read_bytes())
                os.chmod(base / folder / program, 0o755)
        (base / "denied/script").write_text("#!/bin/sh\nexit 7\n")
        os.chmod(base / "denied/script", 0o755)
        place["denied/script"] = str(base / "denied/script")
        os.symlink(base / "denied/secret", base / "granted/to-secret")
        os.symlink(base / "denied/new", base / "granted/dangling")
        if uid is not None:
            subprocess.run(["chown", "-R", f"{uid}:{uid}", base], check=True)
        place["new"] = str(base / "denied/new")
        place["base"] = str(base)
        return place

    def grants(self, place):
        return [f"file:rw|list:{place['granted']}/**", f"file:read|list:{place['readable']}/**", "net:bind:127.0.0.2"]

    def acts(self, place, ports):
        """(act, arguments, who can do it natively, operation in the record)."""
        secret, victim, new = place["denied/secret"], place["denied/victim"], place["new"]
        granted, readable = place["granted"], place["readable"]
        return [
            ("read", [secret], EVERYBODY, "open"),
            ("read", [f"{granted}/to-secret"], EVERYBODY, "open"),
            ("read", [f"{granted}/../denied/secret"], EVERYBODY, "open"),
            ("read", [f"/proc/self/root{secret}"], EVERYBODY, "open"),
            ("read", ["/proc/self/cwd/denied/secret"], EVERYBODY, "open"),
            ("read", [f"/proc/thread-self/root{secret}"], EVERYBODY, "open"),
            ("read_openat2", [secret], EVERYBODY, "open"),
            ("read_relative", [place["base"] + "/denied", "secret"], EVERYBODY, "open"),
            ("read_relative", [granted, "../denied/secret"], EVERYBODY, "open"),
            ("read_chdir", [place["base"] + "/denied", "secret"], EVERYBODY, "open"),
            ("reopen_handle", [secret], EVERYBODY, "open"),
            ("write", [victim], EVERYBODY, "open"),
            ("write", [place["readable/text"]], EVERYBODY, "open"),
            ("create", [new], EVERYBODY, "open"),
            ("create", [f"{granted}/dangling"], EVERYBODY, "open"),
            ("truncate", [victim], EVERYBODY, "truncate"),
            ("chmod", [victim], EVERYBODY, "chmod"),
            ("chmod_held", [place["readable/text"]], EVERYBODY, "chmod"),
            ("utimes", [victim], EVERYBODY, "utimes"),
            ("xattr", [victim], EVERYBODY, "xattr"),
            ("mkdir", [new], EVERYBODY, "mkdir"),
            ("mknod", [new], EVERYBODY, "mknod"),
            ("rename", [victim, f"{granted}/taken"], EVERYBODY, "rename"),
            ("rename", [f"{granted}/own", new], EVERYBODY, "rename"),
            ("link_read", [secret, f"{granted}/second-name"], EVERYBODY, "link"),
            ("symlink_read", [secret, f"{granted}/third-name"], EVERYBODY, "open"),
            ("unlink", [victim], EVERYBODY, "unlink"),
            ("load", [place["readable/file"]], EVERYBODY, "load"),
            ("handle", [secret], ROOT, "name_to_handle"),
            ("exec", [place["denied/exit_seven"]], EVERYBODY, "exec"),
            ("exec", [place["denied/exit_seven-static"]], EVERYBODY, "exec"),
            ("exec", [place["denied/script"]], EVERYBODY, "exec"),
            ("exec", [place["readable/exit_seven"]], EVERYBODY, "exec"),
            ("exec_loader", [LOADER, place["denied/exit_seven"]], EVERYBODY, "exec"),
            ("exec_handle", [place["denied/exit_seven"]], EVERYBODY, "exec"),
            ("exec_memory", [place["readable/exit_seven-static"]], EVERYBODY, "exec"),
            ("connect", [ports["tcp"]], EVERYBODY, "connect"),
            ("connect_mapped", [ports["tcp"]], EVERYBODY, "connect"),
            ("fastopen", [ports["tcp"]], EVERYBODY, "send"),
            ("sendto", [ports["udp"]], EVERYBODY, "send"),
            ("sendmsg", [ports["udp"]], EVERYBODY, "send"),
            ("sendmmsg", [ports["udp"]], EVERYBODY, "send"),
            ("bind", ["0"], EVERYBODY, "bind"),
            ("listen", [], EVERYBODY, "listen"),
            ("raw_socket", [], ROOT, "socket"),
            ("unix", [ports["unix"]], EVERYBODY, "connect"),
            ("unix", [ports["abstract"]], EVERYBODY, "connect"),
            ("kill", [ports["pid"]], EVERYBODY, "signal"),
            ("pidfd_signal", [ports["pid"]], EVERYBODY, "signal"),
            ("priority", [ports["pid"]], EVERYBODY, "priority"),
            ("ptrace", [ports["pid"]], ROOT, "ptrace"),
            ("memory", [ports["pid"]], ROOT, "process-memory"),
            ("getfd", [ports["pid"]], ROOT, None),
            ("io_uring", [], NOBODY, "io_uring"),
            ("keyring", [], NOBODY, "keyring"),
            ("bpf", [], NOBODY, "bpf"),
            ("userfaultfd", [], NOBODY, "userfaultfd"),
            ("perf", [], NOBODY, "perf"),
            ("shared_memory", [], EVERYBODY, "sysv-ipc"),
            ("mount", [granted], NOBODY, "mount"),
            ("namespace", [], NOBODY, "namespace"),
            ("clone_namespace", [], NOBODY, "namespace"),
            ("chroot", [granted], NOBODY, "mount"),
            ("push_input", [], NOBODY, "ioctl"),
            ("push_input_high", [], NOBODY, "ioctl"),
            ("personality", [], EVERYBODY, "personality"),
            ("unknown", [], NOBODY, None),
        ]

    def peers(self, uid, place):
        """Servers and a process outside, all of the same user; {name: argument}."""
        code = ("import socket, sys, time\n"
                "tcp = socket.create_server(('127.0.0.1', 0))\n"
                "tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)\n"
                "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('127.0.0.1', 0))\n"
                "unix = socket.socket(socket.AF_UNIX); unix.bind(sys.argv[1]); unix.listen(64)\n"
                "abstract = socket.socket(socket.AF_UNIX); abstract.bind(b'\\0' + sys.argv[2].encode()); abstract.listen(64)\n"
                "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
                "print(tcp.getsockname()[1], udp.getsockname()[1], flush=True)\n"
                "sys.stdin.read()\n")
        path, name = place["base"] + "/denied/socket", f"secbox-test-{os.getpid()}-{uid}"
        process = subprocess.Popen(["/usr/bin/python3", "-c", code, path, name], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, **sbx._identity(uid))
        self.addCleanup(lambda: (process.stdin.close(), process.wait(20), process.stdout.close()))
        tcp, udp = process.stdout.readline().decode().split()
        return {"tcp": tcp, "udp": udp, "unix": path, "abstract": "@" + name, "pid": str(process.pid)}

    def restore(self, place):
        """Undoes what an act that succeeded has done."""
        base = pathlib.Path(place["base"])
        for name in ("granted/taken", "granted/second-name", "granted/third-name", "denied/new"):
            target = base / name
            if target.is_dir() and not target.is_symlink():
                target.rmdir()
            elif target.is_symlink() or target.exists():
                target.unlink()
        for name, text in (("granted/own", "mine\n"), ("denied/victim", "Victim\n"), ("denied/secret", "Secret\n")):
            if not (base / name).exists() or (base / name).read_text() != text:
                (base / name).write_text(text)
                if os.geteuid() == 0:
                    os.chown(base / name, base.stat().st_uid, base.stat().st_gid)

    def test_every_act_is_refused_by_every_route(self):
        for uid in self.each_user():
            place = self.lay_out(uid)
            ports = self.peers(uid, place)
            root = os.geteuid() == 0 and uid is None
            for act, arguments, who, op in self.acts(place, ports):
                with self.subTest(act=act, arguments=arguments, route="native"):
                    native = self.run_native([str(sbx.FIXTURES / "act"), "here", act, *arguments], uid, cwd=place["base"])
                    if who == EVERYBODY or (who == ROOT and root):
                        self.assertEqual(native.stdout, b"done\n", native.stderr)
                    self.restore(place)
                for route, (program, where, options) in ROUTES.items():
                    with self.subTest(act=act, arguments=arguments, route=route):
                        boxed = self.run_box(self.grants(place), [str(sbx.FIXTURES / program), where, act, *arguments],
                                             ["--quiet", "--allow", f"exec:run:{sbx.FIXTURES / program}", *options], uid,
                                             cwd=place["base"])
                        self.assertNotIn(b"done", boxed.stdout)
                        self.assertEqual(boxed.returncode, 1, (boxed.stdout, boxed.stderr))
                        denials = boxed.denials()
                        if op is not None:
                            self.assertIn(op, [record["op"] for record in denials], denials)
                        else:
                            self.assertNotEqual(denials, [])
                        self.restore(place)

    def test_64_threads_at_once(self):
        for uid in self.each_user():
            place = self.lay_out(uid)
            for act, argument in (("read", place["denied/secret"]), ("write", place["denied/victim"]),
                                  ("exec", place["denied/exit_seven"]), ("chmod", place["denied/victim"])):
                boxed = self.run_box(self.grants(place), [str(sbx.FIXTURES / "act"), "threads", act, argument], ["--quiet"], uid)
                self.assertEqual((boxed.returncode, boxed.stdout), (1, b"EACCES\n"), boxed.stderr)
                self.assertEqual(len(boxed.denied(argument)), 64)
            # And the granted twin works for each of them.
            allowed = self.run_box(self.grants(place), [str(sbx.FIXTURES / "act"), "threads", "read", place["readable/text"]], (), uid)
            self.assertEqual((allowed.returncode, allowed.stdout, allowed.denials()), (0, b"done\n", []))

    def test_without_environment(self):
        for uid in self.each_user():
            place = self.lay_out(uid)
            boxed = self.run_box([*self.grants(place), f"exec:run:{sbx.FIXTURES}/act"],
                                 ["/usr/bin/env", "-i", str(sbx.FIXTURES / "act"), "here", "read", place["denied/secret"]], (), uid)
            self.assertEqual((boxed.returncode, boxed.stdout), (1, b"EACCES\n"), boxed.stderr)
            self.assertTrue(boxed.denied(place["denied/secret"]))

    def test_other_abis_end_the_program(self):
        if os.uname().machine != "x86_64":
            return
        for uid in self.each_user():
            for act in ("i386", "x32"):
                for program in ("act", "act-static"):
                    argv = [str(sbx.FIXTURES / program), "here", act]
                    # A kernel without the i386 ABI ends the program before any filter is asked.
                    native = self.run_native(argv, uid).returncode
                    end = native if native == -signal.SIGSEGV else -signal.SIGSYS
                    boxed = self.run_box([], argv, (), uid)
                    self.assertEqual((boxed.returncode, boxed.stdout), (end, b""), act)

    def test_secrets_of_the_environment_stay_outside(self):
        secrets = {"AWS_SECRET_ACCESS_KEY": "s1", "GITHUB_TOKEN": "s2", "DATABASE_URL": "s3", "PLAIN": "s4"}
        for uid in self.each_user():
            for grants, names in (([], set()), (["env:read:PLAIN"], {"PLAIN"}), (["env:read:*_TOKEN"], set()),
                                  (["env:read:GITHUB_TOKEN"], {"GITHUB_TOKEN"})):
                boxed = self.run_box(grants, ["/usr/bin/env"], (), uid, env={"PATH": "/usr/bin:/bin", "LANG": "C", **secrets})
                self.assertEqual(boxed.returncode, 0, boxed.stderr)
                got = dict(line.split("=", 1) for line in boxed.stdout.decode().splitlines())
                self.assertEqual(set(got) & set(secrets), names)
                self.assertEqual((got["LANG"], got["SECBOX"]), ("C", "1"))
                held_back = boxed.records[0]["environment_held_back"]
                self.assertEqual(set(secrets) - names, set(held_back) & set(secrets))

    def test_inherited_descriptors_stay_outside(self):
        secret = self.write("secret", "Secret\n")
        with open(secret) as file:
            code = "import os, sys\ntry: print(os.read(int(sys.argv[1]), 9))\nexcept OSError as e: print(e.errno)"
            argv = ["/usr/bin/python3", "-S", "-E", "-c", code, str(file.fileno())]
            self.assertIn(b"Secret", self.run_native(argv, pass_fds=[file.fileno()]).stdout)
            boxed = self.run_box([], argv, pass_fds=[file.fileno()])
            self.assertEqual(boxed.stdout, b"9\n", boxed.stderr)

    def test_protected_state_cannot_be_changed_whatever_is_granted(self):
        for uid in self.each_user():
            self._count += 1
            manifest = self.manifest(sbx.EVERYTHING, "everything.json")
            os.chmod(manifest, 0o666)
            log = self.path(f"protected-{uid}.ndjson")
            for target in (manifest, log, sbx.BIN):
                if not os.access(target, os.W_OK) and target == sbx.BIN:
                    continue
                for act in (["write", target], ["truncate", target], ["chmod", target], ["rename", target, self.path("moved")],
                            ["unlink", target]):
                    with self.subTest(act=act, uid=uid):
                        done = subprocess.run([sbx.BIN, "run", "-q", "-m", manifest, "--audit", log, "--",
                                               str(sbx.FIXTURES / "act"), "here", *act], capture_output=True, **sbx._identity(uid))
                        self.assertEqual((done.returncode, done.stdout), (1, b"EACCES\n"), done.stderr)
                        denied = sbx.Result(0, b"", b"", log).denied(target)
                        self.assertEqual(denied[-1]["rule"]["layer"], "protected")

    def test_names_cannot_forge_the_log(self):
        names = [b'a\n{"decision":"allow","seq":1}', b"b\x1b[2J\x1b]0;title\x07", b"c\xff\xfe\x80", b'd","decision":"allow',
                 b"e\xe2\x80\xae\xe2\x80\x8b", b"f\r", b"g\\u0022\\"]
        for uid in self.each_user():
            folder = self.dir / f"names-{uid}"
            folder.mkdir()
            for name in names:
                with open(os.path.join(os.fsencode(folder), name), "wb") as file:
                    file.write(b"x")
            with open(self.path(f"stderr-{uid}"), "wb") as stderr:
                script = 'exec 2>/dev/null; for f in "$1"/*; do read -r x <"$f"; done'
                boxed = self.run_box([f"file:list:{folder}"], ["/bin/sh", "-c", script, "sh", str(folder)], (), uid, stderr=stderr)
            printed = pathlib.Path(self.path(f"stderr-{uid}")).read_bytes()
            with open(boxed.log, "rb") as file:
                lines = file.read().split(b"\n")
            self.assertEqual(lines.pop(), b"")
            self.assertEqual([json.loads(line)["seq"] for line in lines], list(range(1, len(lines) + 1)))
            for line in lines:
                self.assertTrue(all(byte >= 0x20 and byte != 0x7f for byte in line))
            seen = set()
            for record in boxed.denials():
                target = record["target"]
                if "path_bytes" in target:
                    seen.add(base64.b64decode(target["path_bytes"]))
                else:
                    seen.add(target["path"].encode())
            for name in names:
                self.assertIn(os.path.join(os.fsencode(folder), name), seen)
            # And nothing of it reaches the terminal.
            self.assertIn(b"secbox: DENIED", printed)
            for bad in (b"\x1b", b"\r", b"\x07", b"\xff", "\u202e".encode(), "\u200b".encode()):
                self.assertNotIn(bad, printed)

    def test_nothing_runs_on_without_its_supervisor(self):
        secret = self.write("granted", "granted text\n")
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                with self.subTest(shape=shape):
                    script = f'echo ready; read -r line; read -r text <{secret}; echo "got $text"'
                    command = self.command([f"file:read:{secret}", "exec:run:/bin/sh"], ["/bin/sh", "-c", script],
                                           ["--supervisor", shape])
                    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                          **sbx._identity(uid)) as process:
                        self.assertEqual(process.stdout.readline(), b"ready\n")
                        watchers = self.supervisors()
                        self.assertEqual(len(watchers), 2)
                        for pid in watchers:
                            os.kill(pid, signal.SIGKILL)
                        rest, _ = process.communicate(b"\n", timeout=20)
                        self.assertNotIn(b"granted text", rest)
                        self.assertNotEqual(process.returncode, 0)

    def supervisors(self):
        """The supervisor and the guardian of this test's sessions: both show the session's name as their command line."""
        titles = set()
        for log in self.dir.glob("audit-*.ndjson"):
            with open(log) as file:
                titles.add(f"secbox: supervisor of session {json.loads(file.readline())['session']}".encode())
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if file.read().rstrip(b"\0") in titles:
                        found.append(int(pid))
            except OSError:
                continue
        return found


if __name__ == "__main__":
    sbx.main()
