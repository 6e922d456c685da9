"""Real, unmodified programs under the smallest manifest: the same output as natively, and a clean failure with one grant less."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading

import sbx

PLUGINS = "/usr/lib/nagios/plugins"
HERE = pathlib.Path(__file__).resolve().parent


class Programs(sbx.BoxTest):
    def same_as_native(self, grants, argv, uid=None, status=0, **options):
        native = self.run_native(argv, uid, **options)
        boxed = self.run_box(grants, argv, uid=uid, **options)
        self.assertEqual(native.returncode, status, native.stderr)
        self.assertEqual((boxed.returncode, boxed.stdout), (native.returncode, native.stdout), boxed.stderr)
        self.assertEqual(boxed.denials(), [], "nothing that the program needs is denied")
        self.assertEqual(boxed.stderr, native.stderr)
        return boxed

    def twin(self, grants, without, argv, uid=None, **options):
        """The same with `without` taken away: it fails by itself, with a denied record."""
        self.assertIn(without, grants)
        boxed = self.run_box([grant for grant in grants if grant != without], argv, uid=uid, **options)
        self.assertNotEqual(boxed.denials(), [], f"without {without}")
        self.assertGreaterEqual(boxed.returncode, 0, "ended by itself, not by a signal")
        return boxed

    def test_check_disk(self):
        grants = []
        argv = [f"{PLUGINS}/check_disk", "-w", "1%", "-c", "1%", "-p", "/"]
        for uid in self.each_user():
            native = self.run_native(argv, uid)
            boxed = self.run_box(grants, argv, uid=uid)
            # The figures move while other things run.
            self.assertEqual(boxed.returncode, native.returncode, boxed.stderr)
            self.assertTrue(boxed.stdout.startswith(b"DISK OK"), boxed.stdout)
            self.assertEqual(boxed.denials(), [])
            # Its own program file can be denied, whatever the command line says.
            denied = self.run_box({"deny": [f"exec:run:{PLUGINS}/*"]}, argv, uid=uid)
            self.assertEqual(denied.returncode, 126, denied.stderr)
            self.assertEqual(denied.denied(op="exec")[0]["target"]["path"], f"{PLUGINS}/check_disk")

    def test_check_procs(self):
        grants = ["exec:run:/usr/bin/ps", "file:read:/proc/**", "file:list:/proc"]
        argv = [f"{PLUGINS}/check_procs", "-w", "100000", "-c", "100000"]
        for uid in self.each_user():
            native = self.run_native(argv, uid)
            boxed = self.run_box(grants, argv, uid=uid)
            self.assertEqual((boxed.returncode, boxed.stdout[:8]), (native.returncode, b"PROCS OK"), boxed.stderr)
            twin = self.twin(grants, "exec:run:/usr/bin/ps", argv, uid)
            self.assertNotEqual(twin.returncode, 0)
            self.assertTrue(twin.denied("/usr/bin/ps", op="exec"))

    def test_check_tcp(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            threading.Thread(target=self.accept_all, args=(server,), daemon=True).start()
            grants = [f"net:connect:127.0.0.1:{port}"]
            argv = [f"{PLUGINS}/check_tcp", "-H", "127.0.0.1", "-p", str(port)]
            for uid in self.each_user():
                boxed = self.run_box(grants, argv, uid=uid)
                self.assertEqual(boxed.returncode, 0, boxed.stdout + boxed.stderr)
                self.assertIn(b"TCP OK", boxed.stdout)
                self.assertEqual(boxed.denials(), [])
                twin = self.twin(grants, grants[0], argv, uid)
                self.assertEqual(twin.returncode, 2, twin.stdout)
                self.assertTrue(twin.denied(op="connect", ip="127.0.0.1", port=port))

    def accept_all(self, server):
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return

    def test_python_with_a_c_extension(self):
        # _ctypes and _sqlite3 are shared objects of their own, loaded by dlopen.
        code = "import _ctypes, _sqlite3, json, sys; print(json.dumps([_sqlite3.sqlite_version, _ctypes.__file__]))"
        script = self.write("plugin.py", code)
        grants = [f"file:read:{script}"]
        argv = ["/usr/bin/python3", script]
        for uid in self.each_user():
            options = {"env": {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}}
            extra = [*grants, "env:read:PYTHONDONTWRITEBYTECODE", "file:read:/usr/share/python3/**", "file:read:/usr/bin/**",
                     "file:read:/usr/local/**", "file:read:/etc/python3*/**", f"file:list:{self.dir}"]
            boxed = self.same_as_native(extra, argv, uid, **options)
            loaded = [record for record in boxed.records if record["event"] == "module_load"]
            self.assertTrue(any("_ctypes" in record["target"]["path"] for record in loaded))
            self.twin(extra, grants[0], argv, uid, **options)
            # The extension itself, taken away.
            denied = self.run_box({"required": extra, "deny": ["file:load:**/_sqlite3*"]}, argv, uid=uid, **options)
            self.assertEqual(denied.returncode, 1)
            self.assertIn(b"ImportError", denied.stderr)
            self.assertTrue(denied.denials())

    def test_perl_munin_plugin(self):
        grants = ["file:read:/usr/share/munin/plugins/memory", "file:read:/proc/{meminfo,slabinfo,vmstat,swaps}", "file:read:/sys/kernel/mm/ksm/**",
                  "file:read:/usr/share/{perl,perl5}/**", "file:read:/etc/perl/**"]
        argv = ["/usr/bin/perl", "/usr/share/munin/plugins/memory", "config"]
        for uid in self.each_user():
            self.same_as_native(grants, argv, uid, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
            self.twin(grants, grants[0], argv, uid, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})

    def test_node_mcp_server(self):
        modules = self.mcp_server()
        data = self.dir / "data"
        data.mkdir()
        os.chmod(data, 0o777)
        (data / "hello.txt").write_text("hello\n")
        os.chmod(data / "hello.txt", 0o644)
        (self.dir / "secret.txt").write_text("secret\n")
        node = shutil.which("node", path="/usr/local/bin:/usr/bin:/bin")
        server = str(modules / "@modelcontextprotocol/server-filesystem/dist/index.js")
        grants = [f"file:read:{modules}/**", f"file:read|list:{data}/**", f"file:read:{modules.parent}/*", "file:read:/usr/share/nodejs/**",
                  f"file:read:{node}", "file:read:/proc/version_signature", "file:read:/usr/share/node*/**"]
        messages = [
            {"jsonrpc": "2.0", "id": 1, "method": "initialize",
             "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
            {"jsonrpc": "2.0", "id": 3, "method": "tools/call",
             "params": {"name": "read_text_file", "arguments": {"path": str(data / "hello.txt")}}},
        ]
        argv = [node, server, str(data)]
        for uid in self.each_user():
            native = self.converse(argv, messages, uid)
            self.log = self.path(f"mcp-{uid}.ndjson")
            boxed = self.converse(self.command(grants, argv, log=self.log), messages, uid)
            self.assertEqual(boxed, native)
            self.assertEqual(boxed[3]["result"]["content"][0]["text"], "hello\n")
            self.assertGreater(len(boxed[2]["result"]["tools"]), 5)
            denials = [r for r in sbx.Result(0, b"", b"", self.log).denials()]
            self.assertEqual(denials, [])
            # Without the data directory it starts, and the tool fails.
            fewer = [grant for grant in grants if "list:" not in grant]
            twin = self.converse(self.command(fewer, argv), messages[:1], uid, expect=1)
            self.assertIsNotNone(twin)

    def mcp_server(self):
        """node_modules with the server, installed once into the folder of compiled fixtures."""
        place = sbx.FIXTURES.parent / "mcp"
        modules = place / "node_modules"
        if not (modules / "@modelcontextprotocol").exists():
            place.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(HERE / "mcp" / name, place / name)
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place, check=True,
                           stdout=subprocess.DEVNULL)
        # Ordinary users must reach it, wherever the build is.
        copy = self.dir / "server" / "node_modules"
        shutil.copytree(modules, copy, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(self.dir)], check=True)
        return copy

    def converse(self, argv, messages, uid, expect=None):
        """Sends the messages one by one, waits for the answers to those with an id; answers by id."""
        answers = {}
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              **sbx._identity(uid)) as process:
            for message in messages:
                process.stdin.write(json.dumps(message).encode() + b"\n")
                process.stdin.flush()
                if "id" in message:
                    line = process.stdout.readline()
                    if not line:
                        break
                    answer = json.loads(line)
                    answers[answer["id"]] = answer
            process.stdin.close()
            process.wait(30)
        return answers

    def test_git_status(self):
        for uid in self.each_user():
            work = self.dir / f"repository-{uid}"
            env = {"PATH": "/usr/bin:/bin", "HOME": str(work), "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1"}
            script = (f"mkdir -p {work} && cd {work} && git init -q -b main . && git config user.email a@b && git config user.name n && "
                      "echo one > one && git add one && git commit -qm one && echo two > two && echo more >> one")
            subprocess.run(["/bin/sh", "-c", script], check=True, env=env, **sbx._identity(uid))
            grants = [f"file:rw|list:{work}/**", "env:read:GIT_CONFIG_NOSYSTEM", "file:read:/usr/share/git-core/**",
                      f"file:read:{work.parent}/.git"]
            argv = ["/usr/bin/git", "-C", str(work), "status", "--short"]
            boxed = self.same_as_native(grants, argv, uid, env=env)
            self.assertEqual(boxed.stdout, b" M one\n?? two\n")
            self.twin(grants, grants[0], argv, uid, env=env)

    def test_gcc_compiles(self):
        for uid in self.each_user():
            source = self.write("hello.c", '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n')
            grants = ["exec:run:/usr/bin/*-linux-gnu-*", "exec:run:/usr/bin/{as,ld,gcc*}", "exec:run:/usr/lib/gcc/**", "exec:run:/usr/libexec/gcc/**",
                      "file:read:/usr/include/**", f"file:read:{source}", f"file:rw:{self.dir}/out-*", "file:read:/usr/local/include/**",
                      "file:read:/usr/bin/*"]
            argv = ["/usr/bin/gcc", "-O1", "-o", self.path(f"out-{uid}"), source]
            env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
            boxed = self.run_box(grants, argv, uid=uid, env=env)
            self.assertEqual((boxed.returncode, boxed.stdout, boxed.stderr), (0, b"", b""))
            self.assertEqual(boxed.denials(), [])
            self.assertEqual(self.run_native([self.path(f"out-{uid}")], uid).stdout, b"compiled\n")
            twin = self.twin(grants, "file:read:/usr/include/**", argv, uid, env=env)
            self.assertNotEqual(twin.returncode, 0)
            self.assertIn(b"fatal error", twin.stderr)

    def test_static_program(self):
        source = self.write("cat.c", '#include <fcntl.h>\n#include <unistd.h>\nint main(int c, char** v) { char b[64]; int f = open(v[1], O_RDONLY);'
                            ' if (f < 0) return 9; long n = read(f, b, sizeof b); return write(1, b, n) == n ? 0 : 8; }\n')
        program = self.path("cat-static")
        subprocess.run(["/usr/bin/gcc", "-static", "-O1", "-o", program, source], check=True)
        os.chmod(program, 0o755)
        text = self.write("text", "some text\n")
        for uid in self.each_user():
            grants = [f"file:read:{text}"]
            for presets in (["base"], []):
                boxed = self.run_box(grants, [program, text], uid=uid, members={"presets": presets})
                self.assertEqual((boxed.returncode, boxed.stdout), (0, b"some text\n"), boxed.stderr)
                twin = self.run_box([], [program, text], uid=uid, members={"presets": presets})
                self.assertEqual(twin.returncode, 9)
                self.assertTrue(twin.denied(text))

    def test_sqlite3(self):
        for uid in self.each_user():
            base = self.dir / f"db-{uid}"
            base.mkdir()
            os.chmod(base, 0o777)
            grants = [f"file:rw|list:{base}/**"]
            sql = "pragma journal_mode=wal; create table t(x); insert into t values(1),(2); select sum(x) from t;"
            argv = ["/usr/bin/sqlite3", "-batch", str(base / "a.db"), sql]
            boxed = self.run_box(grants, argv, uid=uid, env={"HOME": "/nonexistent", "PATH": "/usr/bin"})
            self.assertEqual((boxed.returncode, boxed.stdout), (0, b"wal\n3\n"), boxed.stderr)
            self.assertEqual(boxed.denials(), [])
            # Two at once: the locks are real.
            lock = self.run_box(grants, ["/usr/bin/sqlite3", "-batch", str(base / "a.db"), "begin exclusive; insert into t values(9); commit; select count(*) from t;"], uid=uid,
                                env={"HOME": "/nonexistent", "PATH": "/usr/bin"})
            self.assertEqual(lock.stdout, b"3\n", lock.stderr)
            twin = self.twin(grants, grants[0], argv, uid, env={"HOME": "/nonexistent", "PATH": "/usr/bin"})
            self.assertNotEqual(twin.returncode, 0)

    def test_pty_program(self):
        # script(1) opens a pseudo-terminal and runs a shell on it.
        for uid in self.each_user():
            grants = ["file:rw:/dev/{ptmx,pts/*,pts/ptmx}", "exec:run:/usr/bin/{sh,dash,bash,tty}"]
            argv = ["/usr/bin/script", "-qec", "tty | cut -c1-9; exit 3", "/dev/null"]
            grants.append("exec:run:/usr/bin/cut")
            env = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LC_ALL": "C"}
            native = self.run_native(argv, uid, env=env)
            boxed = self.run_box(grants, argv, uid=uid, env=env)
            self.assertEqual((boxed.returncode, boxed.stdout), (native.returncode, native.stdout), boxed.stderr)
            self.assertEqual(boxed.returncode, 3)
            twin = self.twin(grants, grants[0], argv, uid, env=env)
            self.assertNotEqual(twin.returncode, 3)


if __name__ == "__main__":
    sbx.main()
