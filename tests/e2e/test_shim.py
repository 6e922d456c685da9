"""The preload shim is harmless: it needs libc alone, offers no symbol, and programs run the same with it."""

import os
import subprocess

import sbx

SHIM = os.environ.get("SECBOX_SHIM", str(sbx.REPO / "build" / "lib" / "libsecbox-preload.so"))


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments, SHIM], check=True, capture_output=True, text=True).stdout


class Shim(sbx.BoxTest):
    def run_with(self, preload, argv, **environment):
        env = {"PATH": os.environ["PATH"], **environment}
        if preload:
            env["LD_PRELOAD"] = preload
        return subprocess.run(argv, env=env, capture_output=True, timeout=60)

    def same(self, argv, preload=SHIM, **environment):
        native = self.run_with(None, argv, **environment)
        shimmed = self.run_with(preload, argv, **environment)
        self.assertEqual((shimmed.returncode, shimmed.stdout, shimmed.stderr),
                         (native.returncode, native.stdout, native.stderr), argv)
        return native

    def test_needs_libc_alone(self):
        needed = [line.split("[")[1].split("]")[0] for line in readelf("-d").splitlines() if "(NEEDED)" in line]
        self.assertEqual(needed, ["libc.so.6"])

    def test_offers_no_symbol_and_borrows_three(self):
        borrowed = set()
        for line in readelf("--dyn-syms").splitlines():
            fields = line.split()
            if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
                continue
            self.assertEqual(fields[6], "UND", f"exported: {line}")
            borrowed.add(fields[7].split("@")[0])
        self.assertEqual(borrowed, {"prctl", "getpid", "__errno_location"})

    def test_no_executable_stack_and_nothing_written_after_start(self):
        self.assertIn("BIND_NOW", readelf("-d"))
        for line in readelf("-l").splitlines():
            if "GNU_STACK" in line:
                self.assertNotIn("E", line.split()[-2])
                break
        else:
            self.fail("no GNU_STACK header")

    def test_is_loaded(self):
        maps = self.run_with(SHIM, ["/bin/cat", "/proc/self/maps"]).stdout.decode()
        self.assertIn("libsecbox-preload.so", maps)

    def test_programs_run_the_same(self):
        self.same(["/bin/true"])
        self.same(["/bin/sh", "-c", "echo out; echo err >&2; exit 42"])
        self.same(["/usr/bin/python3", "-c", "import socket, threading, subprocess; print(subprocess.call(['/bin/true']))"])
        self.assertNotEqual(self.same(["/bin/ls", "/nonexistent"]).returncode, 0)
        self.same(["/usr/bin/env", "-i", "/usr/bin/env"])

    def test_static_program_is_not_touched(self):
        self.assertEqual(self.same([str(sbx.FIXTURES / "errno_at_start-static")]).stdout, b"0\n")

    def test_errno_is_kept(self):
        self.assertEqual(self.same([str(sbx.FIXTURES / "errno_at_start")]).stdout, b"0\n")

    def test_beside_other_preloads(self):
        for both in (f"{SHIM}:libm.so.6", f"libm.so.6:{SHIM}", f"{SHIM}:{SHIM}"):
            self.same(["/bin/sh", "-c", "echo $((6 * 7))"], both)


if __name__ == "__main__":
    sbx.main()
