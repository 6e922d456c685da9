"""What the shim tells beside who called: names of variables and hosts, commands, libraries; and what a liar gains by it."""

import errno
import json
import os
import subprocess

import sbx


def caller(record):
    return record.get("caller") or {}


class Claims(sbx.BoxTest):
    def python(self, code, permissions=(), uid=None, **options):
        done = self.run_box(["exec:run:/{usr/,}bin/**", *permissions], ["/usr/bin/python3", "-BI", "-c", code], uid=uid, text=True, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_variables_are_named_and_never_their_values(self):
        for uid in self.each_user():
            done = self.run_box(["env:read:PYTHONHASHSEED", "exec:run:/usr/bin/**"],
                                ["/usr/bin/python3", "-Bc", "import os; print(os.environ['PYTHONHASHSEED'])"], uid=uid, text=True,
                                env={"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "7654321"})
            self.assertEqual(done.stdout, "7654321\n", done.stderr)
            read = {record["target"]["name"]: record for record in done.records if record["event"] == "env_read"}
            self.assertEqual(read["PYTHONHASHSEED"]["permission"], "env:read")
            self.assertEqual(read["PYTHONHASHSEED"]["exe"], os.path.realpath("/usr/bin/python3"))
            self.assertNotIn("permission", read["PYTHONPATH"])
            self.assertFalse([name for name, record in read.items() if "decision" in record])
            self.assertFalse([name for name in read if name == "LD_PRELOAD"])
            self.assertNotIn("7654321", json.dumps(done.records))

    def test_the_host_name_stands_beside_the_connect_that_follows(self):
        code = ("import socket\n"
                "for family, kind, protocol, _, address in socket.getaddrinfo('localhost', 9, socket.AF_INET, socket.SOCK_STREAM):\n"
                "    try: socket.socket(family, kind).connect(address)\n"
                "    except OSError: pass\n")
        for uid in self.each_user():
            done = self.python(code, uid=uid)
            connects = [r for r in done.records if r["event"] == "connect" and r["target"].get("ip") == "127.0.0.1"]
            self.assertTrue(connects)
            self.assertEqual({caller(record).get("host") for record in connects}, {"localhost"})
            # A name that the plugin says is no name that a rule granted.
            self.assertEqual({record["decision"] for record in connects}, {"deny"})
            self.assertFalse([record for record in connects if "host" in record["target"]])

    def test_commands_and_libraries(self):
        code = ("import ctypes, os\n"
                "os.system('exit 7')\n"
                "ctypes.CDLL('libresolv.so.2')\n"
                "try: ctypes.CDLL('libnothing-here.so')\n"
                "except OSError as error: print(error)\n")
        for uid in self.each_user():
            done = self.python(code, uid=uid)
            native = self.run_native(["/usr/bin/python3", "-BI", "-c", code], uid, text=True)
            self.assertEqual(done.stdout, native.stdout)  # dlerror's own words
            shells = [r for r in done.records if r["event"] == "exec" and r["target"]["path"] == "/bin/sh"]
            self.assertEqual([(caller(r).get("call"), caller(r).get("command")) for r in shells], [("system", "exit 7")])
            loads = {caller(r).get("library") for r in done.records if caller(r).get("call") == "dlopen"}
            self.assertLessEqual({"libresolv.so.2", "libnothing-here.so"}, loads)

    def test_a_refusal_is_explained_from_inside(self):
        secret = self.write("secret", "Secret\n")
        code = f"try: open({secret!r})\nexcept OSError as error: print(error)\n"
        for uid in self.each_user():
            for wanted in ("1", "0", None):
                env = {"PATH": "/usr/bin:/bin", **({"SECBOX_EXPLAIN": wanted} if wanted else {})}
                done = self.python(code, uid=uid, args=("--quiet",), env=env)
                self.assertEqual(done.stdout, f"[Errno {errno.EACCES}] Permission denied: {secret!r}\n")
                lines = done.stderr.splitlines()
                if wanted == "1":
                    self.assertEqual(len(lines), 1, lines)
                    self.assertTrue(lines[0].startswith(f"secbox: denied file:read {secret}: "), lines)
                    self.assertIn("--allow", lines[0])
                else:
                    self.assertEqual(lines, [])

    def test_a_forged_board_is_recorded(self):
        liar = self.path("liar")
        subprocess.run(["cc", "-O1", "-D_GNU_SOURCE", "-o", liar, str(sbx.REPO / "fixtures/hostile/log/forged_board/attack.c"),
                        "-pthread"], check=True)
        secret = self.write("secret", "Secret\n", 0o644)
        for uid in self.each_user():
            for act in ("nonsense", "scribble"):
                done = self.run_box([f"exec:run:{liar}"], [liar, "here", act, secret], uid=uid, text=True)
                self.assertEqual((done.returncode, done.stdout), (1, "EACCES\n"), done.stderr)
                forged = [record for record in done.records if record["event"] == "forged_context"]
                self.assertEqual([record["exe"] for record in forged], [liar], act)
                self.assertTrue([r for r in done.records if caller(r).get("invalid_claim")], act)
                self.assertEqual(done.records[-1]["event"], "session_end")


if __name__ == "__main__":
    sbx.main()
