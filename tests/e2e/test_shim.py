"""The preload shim: it is harmless (programs run the same with it, libc is all it needs), and what it tells is right.

The supervisor's part is played by build/shim/board_host (tests/support/shim), which answers the shim's hello and writes
down what the board says whenever it holds a call.
"""

import json
import os
import pathlib
import re
import subprocess

import sbx

BUILD = pathlib.Path(os.environ.get("SECBOX_BUILD", str(sbx.REPO / "build"))).resolve()
SHIM = os.environ.get("SECBOX_SHIM", str(BUILD / "lib" / "libsecbox-preload.so"))
PARTS = BUILD / "shim"
ACTS = str(PARTS / "acts")
WIRE = (sbx.REPO / "preload" / "wire.h").read_text()
HOOKS = set(re.findall(r"\bX\((\w+), \w+\)", WIRE)) | {"getenv", "secure_getenv"}
# libc has older functions of these names: the hooks are only for the newer ones.
VERSIONED = {"x86_64": {"glob", "glob64", "nftw", "nftw64", "posix_spawn", "posix_spawnp"}, "aarch64": {"glob", "glob64"}}


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments, SHIM], check=True, capture_output=True, text=True).stdout


def dynamic_symbols():
    """(name, whether it is defined here) of each."""
    for line in readelf("--dyn-syms").splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[0].rstrip(":").isdigit() and fields[3] != "NOTYPE" and fields[4] != "LOCAL":
            if not fields[7].startswith("GLIBC_"):
                yield fields[7], fields[6] != "UND"


class Shim(sbx.BoxTest):
    def run_with(self, preload, argv, **environment):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.dir), **environment}
        if preload:
            env["LD_PRELOAD"] = preload
        return subprocess.run(argv, env=env, capture_output=True, timeout=120, cwd=PARTS)

    def same(self, argv, preload=SHIM, **environment):
        native = self.run_with(None, argv, **environment)
        shimmed = self.run_with(preload, argv, **environment)
        self.assertEqual((shimmed.returncode, shimmed.stdout, shimmed.stderr),
                         (native.returncode, native.stdout, native.stderr), argv)
        return native

    def host(self, argv, *options, shim=SHIM, **environment):
        """Runs a program with a board. What it printed and how it ended, and what board_host wrote down."""
        out = self.dir / "board.ndjson"
        done = self.run_with(None, [str(PARTS / "board_host"), str(out), *options, shim, *argv], **environment)
        return done, [json.loads(line) for line in out.read_text().splitlines()]

    def told(self, argv, *options, **environment):
        """The same of a program that must end well: held calls by their path, and the board of the program."""
        done, lines = self.host(argv, "--hold", *options, **environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        calls = {}
        for line in lines:
            if "call" in line:
                calls.setdefault(line["path"], []).append(line)
        return calls, [line for line in lines if "board" in line]

    def assert_slot(self, call, function, module="acts", whose="slot", **more):
        slot = call[whose]
        self.assertEqual((slot["function"], slot["module"]), (function, module), call)
        if whose == "slot":
            self.assertEqual(slot["tid"], call["tid"], call)
        if slot["argument"] != 0:
            self.assertIn(slot["argument"], call["args"], call)
        for name, value in more.items():
            self.assertEqual(slot[name], value, call)


class Library(Shim):
    def test_needs_libc_alone(self):
        needed = [line.split("[")[1].split("]")[0] for line in readelf("-d").splitlines() if "(NEEDED)" in line]
        self.assertEqual(needed, ["libc.so.6"])

    def test_offers_the_hooks_alone(self):
        offered = {name.split("@")[0]: name for name, defined in dynamic_symbols() if defined}
        self.assertEqual(set(offered), HOOKS)
        self.assertEqual({name for name, full in offered.items() if "@" in full}, VERSIONED[os.uname().machine])
        for full in offered.values():
            self.assertEqual("@" in full, "@@GLIBC_" in full, full)

    def test_older_functions_are_not_hooked(self):
        names = sorted(VERSIONED[os.uname().machine])
        printed = self.run_with(SHIM, [ACTS, "versions", *names]).stdout.decode().splitlines()
        self.assertEqual(printed[:-1], [f"{name}: old libc.so.6, new libsecbox-preload.so" for name in names])

    def test_borrows_little(self):
        borrowed = {name.split("@")[0] for name, defined in dynamic_symbols() if not defined}
        by_compilers = {"memcmp", "bcmp", "memset", "memcpy", "strlen"}
        self.assertEqual(borrowed - by_compilers, {"__errno_location", "dlsym", "dlerror", "dl_iterate_phdr",
                                                   "pthread_getcpuclockid", "pthread_self"})

    def test_no_executable_stack_and_nothing_written_after_start(self):
        self.assertIn("BIND_NOW", readelf("-d"))
        self.assertIn("INITFIRST", readelf("-d"))
        for line in readelf("-l").splitlines():
            if "GNU_STACK" in line:
                self.assertNotIn("E", line.split()[-2])
                break
        else:
            self.fail("no GNU_STACK header")

    def test_can_be_unwound(self):
        """Exceptions and cancellations of the program pass through the hooks."""
        self.assertIn("GNU_EH_FRAME", readelf("-l"))


class Harmless(Shim):
    def test_is_loaded(self):
        maps = self.run_with(SHIM, ["/bin/cat", "/proc/self/maps"]).stdout.decode()
        self.assertIn("libsecbox-preload.so", maps)

    def test_programs_run_the_same(self):
        self.same(["/bin/true"])
        self.same(["/bin/sh", "-c", "echo out; echo err >&2; exit 42"])
        self.same(["/bin/bash", "-c", "for i in 1 2 3; do (echo $i | cat); done; ls /nonexistent; exec echo $HOME"])
        self.same(["/usr/bin/python3", "-c", "import socket, threading, subprocess, os, locale, time\n"
                   "print(subprocess.call(['/bin/true']), os.popen('echo 7').read(), socket.gethostbyname('localhost'))\n"
                   "print(locale.setlocale(locale.LC_ALL, 'C'), time.localtime(0)[0], os.system('exit 3'))\n"
                   "threads = [threading.Thread(target=open, args=('/etc/passwd',)) for _ in range(8)]\n"
                   "[t.start() for t in threads], [t.join() for t in threads]\n"])
        self.same(["/usr/bin/perl", "-e", "open(F, '<', '/nonexistent') or print \"$!\\n\"; print `echo sub`; print $$ > 0"])
        self.assertNotEqual(self.same(["/bin/ls", "/nonexistent"]).returncode, 0)
        self.same(["/usr/bin/env", "-i", "/usr/bin/env"])

    def test_tools_run_the_same(self):
        folder = self.dir / "work"
        folder.mkdir()
        (folder / "hello.c").write_text("#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n")
        self.same(["/bin/sh", "-c", f"cd {folder} && gcc -O1 hello.c -o hello && ./hello && rm hello"])
        script = "; ".join((f"cd {folder}", "rm -rf .git", "git init -q -b main .", "git add hello.c",
                            "git -c user.name=n -c user.email=e@e commit -q -m first", "git log --format=%T%s",
                            "git grep puts", "git status --porcelain"))
        self.assertEqual(self.same(["/bin/sh", "-c", script]).returncode, 0)
        self.same(["/usr/bin/find", str(folder), "-name", "*.c", "-exec", "wc", "-l", "{}", ";"])
        if os.path.exists("/usr/bin/node"):
            self.same(["/usr/bin/node", "-e", "require('fs').readFile('/etc/passwd', e => console.log(e, require("
                       "'child_process').execFileSync('/bin/echo', ['x']).toString()))"])

    def test_acts_go_the_same(self):
        """Without a board, with one, and with every call of theirs held."""
        pages = self.dir / "pages"
        pages.write_bytes(b"x" * 4096 + b"second page")
        for act in (["open", str(self.dir / "new")], ["nested"], ["longjmp"], ["threads"], ["children"], ["storm"],
                    ["execl", "execl"], ["execl", "execlp"], ["execl", "execle"], ["cancel"], ["vfork_first"],
                    ["clone", str(pages)], ["variables"], ["lookup", "localhost"], ["descriptors"],
                    ["load", "./libshim-public.so"], ["load", "./libshim-loader.so"], ["load", "libshim-private.so"],
                    ["deep", "./libshim-public.so", "lazy"], ["deep", "private/libshim-private.so", "now"],
                    ["deep", "./libshim-loader.so", "lazy"], ["deep", "./libshim-private.so", "now"]):
            with self.subTest(act=act):
                native = self.same([ACTS, *act])
                self.assertEqual(native.returncode, 0, native.stdout)
                for options in ([], ["--hold"]):
                    done, _ = self.host([ACTS, *act], *options)
                    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, native.stdout, native.stderr))

    def test_every_function_gets_what_it_is_given(self):
        printed = []
        for preload in (None, SHIM, "held"):
            folder = self.dir / f"every-{preload is None}-{preload == 'held'}"
            folder.mkdir()
            command = ["/bin/sh", "-c", f"cd {folder} && {PARTS / 'every'}"]
            if preload == "held":
                done, lines = self.host(command, "--hold")
            else:
                done = self.run_with(preload, command)
            self.assertEqual(done.returncode, 0, done.stderr)
            printed.append((done.stdout.decode().splitlines(), done.stderr))
        self.assertGreater(len(printed[0][0]), 150)
        self.assertEqual(printed[1], printed[0])
        self.assertEqual(printed[2], printed[0])
        told = [line["slot"] for line in lines if "call" in line and line["slot"]["module"] == "every"]
        self.assertGreaterEqual({slot["function"] for slot in told}, {
            "open", "open64", "openat", "openat64", "creat", "creat64", "__open_2", "__open64_2", "__openat_2",
            "__openat64_2", "fopen", "fopen64", "freopen", "freopen64", "opendir", "mkstemp", "mkstemp64", "mkostemp",
            "mkostemp64", "mkstemps", "mkstemps64", "mkostemps", "mkostemps64", "tmpfile", "tmpfile64", "scandir",
            "scandir64", "glob", "glob64", "ftw", "nftw", "nftw64", "fts_open", "setlocale", "newlocale", "mkdir",
            "unlink", "unlinkat", "remove", "rename", "execve", "execv", "execvp", "execvpe", "execl", "execlp",
            "execle", "fexecve", "execveat", "connect", "sendto", "send", "kill", "getpwnam", "getpwuid_r",
            "getgrgid_r", "getaddrinfo", "syscall"})
        for line in lines:
            # Until its shim has said hello, a new program has its predecessor's board here.
            if "call" in line and line["slot"]["module"] == "every" and line["slot"]["argument"] != 0:
                self.assertIn(line["slot"]["argument"], line["args"], line)

    def test_loader_sees_who_asks(self):
        """Only by the RUNPATH of libshim-loader.so can it find the library that has the number 42."""
        printed = self.run_with(SHIM, [ACTS, "load", "./libshim-loader.so"]).stdout.decode().splitlines()
        self.assertEqual(printed[0], "42")
        self.assertIn("no-such-library.so: cannot open shared object file: No such file or directory", printed)

    def test_static_program_is_not_touched(self):
        self.assertEqual(self.same([str(sbx.FIXTURES / "errno_at_start-static")]).stdout, b"0\n")

    def test_errno_is_kept(self):
        self.assertEqual(self.same([str(sbx.FIXTURES / "errno_at_start")]).stdout, b"0\n")
        done, _ = self.host([str(sbx.FIXTURES / "errno_at_start")])
        self.assertEqual(done.stdout, b"0\n")

    def test_beside_other_preloads(self):
        for both in (f"{SHIM}:libm.so.6", f"libm.so.6:{SHIM}", f"{SHIM}:{SHIM}"):
            self.same(["/bin/sh", "-c", "echo $((6 * 7))"], both)

    def test_calls_pass_through_other_preloads(self):
        chained = str(PARTS / "libshim-chained.so")
        for program in ([ACTS, "threads"], [str(PARTS / "earliest")]):
            alone = self.run_with(chained, program)
            self.assertIn(b" opens, ", alone.stderr)
            for both in (f"{SHIM}:{chained}", f"{chained}:{SHIM}"):
                for done in (self.run_with(both, program), self.host(program, shim=both)[0]):
                    self.assertEqual((done.returncode, done.stdout, done.stderr),
                                     (alone.returncode, alone.stdout, alone.stderr))

    def test_calls_before_its_own_start(self):
        self.assertEqual(self.same([str(PARTS / "earliest")]).stdout, b"0 wrong, errno 0\n")

    def test_calls_before_it_is_relocated(self):
        self.assertEqual(self.same([str(PARTS / "chooser")]).stdout, b"as it should\n")

    def test_without_a_board(self):
        """Hooks that only pass on, and no descriptor of the program's is taken for a board."""
        for answer in ("none", "zero", "old"):
            for act in ("longjmp", "threads", "variables", "descriptors"):
                native = self.run_with(None, [ACTS, act])
                done, lines = self.host([ACTS, act], "--hold", "--answer", answer)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, native.stdout, native.stderr))
                self.assertEqual(len([line for line in lines if "hello" in line]), 1)
                self.assertEqual({line["slot"]["function"] for line in lines if "call" in line}, {""})


class Told(Shim):
    def test_plain_calls(self):
        new = str(self.dir / "new")
        calls, boards = self.told([ACTS, "open", new])
        made, read, listed = calls[new][0], calls[new][1], calls[new][2]
        self.assert_slot(made, "open")
        self.assertEqual(made["slot"]["argument"], made["args"][1])
        self.assert_slot(read, "fopen")
        self.assert_slot(listed, "opendir")
        self.assert_slot(calls[new][3], "unlink")
        self.assert_slot(calls["/nonexistent/a"][0], "open")
        self.assertEqual([board["left"] for board in boards], [[]])

    def test_outer_call_is_there_again(self):
        calls, boards = self.told([ACTS, "nested"])
        self.assert_slot(calls["/nonexistent/inner"][0], "open")
        self.assert_slot(calls["/nonexistent/direct"][0], "syscall")
        self.assertEqual(len(calls["/nonexistent/inner"]), 2)
        self.assert_slot(calls["/etc"][0], "ftw")
        self.assert_slot(calls["/nonexistent/after"][0], "open")
        self.assertEqual(boards[0]["left"], [])

    def test_what_longjmp_left_is_healed(self):
        calls, boards = self.told([ACTS, "longjmp"])
        self.assert_slot(calls["/nonexistent/after"][0], "open")
        self.assertEqual(boards[0]["left"], [])

    def test_signal_handlers_leave_no_trace(self):
        calls, boards = self.told([ACTS, "storm"])
        for path in ("/nonexistent/main", "/dev/null", "/nonexistent/after"):
            for call in calls[path]:
                self.assert_slot(call, "open")
                self.assertEqual(call["slot"]["argument"], call["args"][1])
        self.assertEqual(boards[0]["left"], [])

    def test_threads_have_slots_of_their_own(self):
        calls, boards = self.told([ACTS, "threads"])
        tids = set()
        for number in range(8):
            for call in calls[f"/nonexistent/{number}"]:
                self.assert_slot(call, "open")
                tids.add(call["tid"])
        self.assertEqual(len(tids), 8)
        self.assertEqual(boards[0]["left"], [])

    def test_children(self):
        calls, boards = self.told([ACTS, "children"])
        one = {name: calls[f"/nonexistent/{name}"][0] for name in ("parent", "forked", "grandchild", "vforked", "program",
                                                                  "after")}
        for name in ("parent", "forked", "grandchild", "after"):
            self.assert_slot(one[name], "open")
        # On its parent's memory: open() takes it for its parent, execl() does not.
        self.assertEqual(one["vforked"]["slot"]["function"], "")
        self.assert_slot(one["vforked"], "open", whose="parents")
        self.assert_slot(one["program"], "execl")
        self.assertEqual({(call["tid"] == one["vforked"]["tid"]) for call in (one["program"],)}, {True})
        self.assertEqual(len({call["tid"] for name, call in one.items() if name not in ("program", "after")}), 4)
        shells = [call for call in calls["/bin/sh"] if call["parents"]["function"] != ""]
        for call, function in zip(shells, ("posix_spawn", "system", "popen"), strict=True):
            self.assert_slot(call, function, whose="parents")
        self.assertEqual([call["parents"]["text"] for call in shells], ["", "exit 5", "echo 12"])
        left = [(slot["function"], slot["tid"]) for slot in boards[0]["left"]]
        self.assertEqual(left, [("execl", one["vforked"]["tid"])])

    def test_cancelled_call(self):
        _, boards = self.told([ACTS, "cancel"])
        self.assertEqual([slot["function"] for slot in boards[0]["left"]], ["open"])

    def test_child_of_vfork_that_comes_first(self):
        calls, boards = self.told([ACTS, "vfork_first"])
        self.assert_slot(calls["/nonexistent/program"][0], "execl")
        self.assert_slot(calls["/nonexistent/vforked"][0], "open", whose="parents")
        self.assert_slot(calls["/nonexistent/after"][0], "open")
        self.assertEqual(boards[0]["left"], [])

    def test_loading(self):
        calls, _ = self.told([ACTS, "load", "./libshim-loader.so"])
        self.assert_slot(calls["./libshim-loader.so"][0], "dlopen", text="./libshim-loader.so")
        found = [call for path, all_calls in calls.items() if path.endswith("/libshim-private.so") for call in all_calls]
        self.assert_slot(found[0], "dlopen", "libshim-loader.so", text="libshim-private.so")
        self.assert_slot(calls["/nonexistent/loaded"][0], "open", "libshim-private.so")
        self.assert_slot(calls["/nonexistent/after"][0], "open")

    def test_library_that_binds_libc_first(self):
        for library, how in (("./libshim-public.so", "lazy"), ("./libshim-public.so", "now"),
                             ("private/libshim-private.so", "lazy")):
            with self.subTest(library=library, how=how):
                calls, boards = self.told([ACTS, "deep", library, how])
                name = library.rsplit("/", 1)[1]
                self.assert_slot(calls[library][0], "dlopen", text=library)
                self.assert_slot(calls["/nonexistent/loaded"][0], "open", name)
                self.assert_slot(calls["/nonexistent/by-pointer"][0], "unlink", name)
                self.assertEqual(boards[0]["left"], [])
                self.assertEqual(boards[0]["variables"], ["SHIM_TEST_LOADED"])

    def test_names_of_variables(self):
        _, boards = self.told([ACTS, "variables"])
        told = boards[0]["variables"]
        self.assertEqual(told[:4], ["SHIM_TEST_ONE", "SHIM_TEST_TWO", "SHIM_TEST_CHILD", "L" * 63])
        self.assertEqual(told[4:], [f"SHIM_TEST_MANY_{number}" for number in range(252)])
        self.assertEqual(boards[0]["lost"], 48)

    def test_answers_of_the_resolver(self):
        calls, boards = self.told([ACTS, "lookup", "localhost"])
        self.assertEqual({tuple(name) for name in boards[0]["names"]},
                         {("localhost", "00000000000000000000ffff7f000001")})
        self.assert_slot(calls["/etc/hosts"][0], "getaddrinfo", text="localhost")


class Start(Shim):
    def environment(self, own):
        done, lines = self.host([ACTS, "environment"], "--mark", own)
        self.assertEqual(done.returncode, 0)
        self.assertEqual([line["version"] for line in lines if "hello" in line], [2])
        return done.stdout.decode().splitlines()

    def test_injected_preload_is_taken_out(self):
        printed = self.environment("")
        self.assertEqual(printed[0], "SBXENV1")  # board_host's own
        self.assertIn("LD_PRELOAD is not there", printed)

    def test_own_entry_is_put_back(self):
        printed = self.environment("OWN=of the program")
        self.assertEqual(printed[0], "OWN=of the program")
        self.assertIn("LD_PRELOAD is not there", printed)

    def test_no_descriptor_is_left(self):
        native = self.run_with(None, [ACTS, "descriptors"])
        done, lines = self.host([ACTS, "descriptors"])
        self.assertEqual(done.stdout, native.stdout)
        self.assertEqual(len([line for line in lines if "board" in line]), 1)

    def test_why_it_was_refused(self):
        refused = ("--hold", "--refuse", "/etc/hostname", "secbox: not to be read")
        done, _ = self.host([ACTS, "refused", "/etc/hostname"], *refused, SECBOX_EXPLAIN="1")
        self.assertEqual((done.stdout, done.stderr), (b"-1 13\ndone\n", b"secbox: not to be read\n"))
        done, _ = self.host([ACTS, "refused", "/etc/hostname"], *refused)
        self.assertEqual((done.stdout, done.stderr), (b"-1 13\ndone\n", b""))


if __name__ == "__main__":
    sbx.main()
