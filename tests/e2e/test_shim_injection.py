"""How programs come to the shim: put on the stack of every new program that can take it, whatever environment it is
given, and told of in the record "coverage". Natively and under secbox a program finds the same."""

import os
import pathlib
import shutil
import stat
import struct
import subprocess
import tempfile

import sbx

# Prints what it was started with, as the kernel and libc tell of it.
SHOW = r"""
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
extern char **environ;
static int looks_for_shim(struct dl_phdr_info *info, size_t size, void *found) {
  (void)size;
  if (strstr(info->dlpi_name, "libsecbox-preload.so")) *(int *)found = 1;
  return 0;
}
static void print_file(const char *name) {
  char buffer[65536];
  int fd = open(name, O_RDONLY);
  unsigned long sum = 0;
  long all = 0;
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0; all += got)
    for (ssize_t i = 0; i < got; ++i) sum = sum * 31 + (unsigned char)buffer[i];
  printf("%s %ld %lx\n", name, all, sum);
  close(fd);
}
int main(int argc, char **argv) {
  int shim = 0;
  dl_iterate_phdr(looks_for_shim, &shim);
  printf("shim %d\nargc %d aligned %d\n", shim, argc, (uintptr_t)(argv - 1) % 16 == 0);
  for (int i = 0; argv[i] && i < 100; ++i) printf("argument %.200s\n", argv[i]);
  for (char **entry = environ; *entry; ++entry) printf("variable %.200s\n", *entry);
  // As it was handed over, not as libc keeps it. Variables that were taken out leave more than one NULL.
  char **end = argv + argc + 1;
  while (*end) ++end;
  while (!*end) ++end;
  for (ElfW(auxv_t) *entry = (ElfW(auxv_t) *)end;; ++entry) {
    printf("auxv %lu", (unsigned long)entry->a_type);
    if (entry->a_type == AT_EXECFN || entry->a_type == AT_PLATFORM) printf(" %s", (char *)entry->a_un.a_val);
    if (entry->a_type == AT_SECURE || entry->a_type == AT_UID || entry->a_type == AT_PAGESZ || entry->a_type == AT_HWCAP)
      printf(" %lu", (unsigned long)entry->a_un.a_val);
    puts("");
    if (entry->a_type == AT_NULL) break;
  }
  print_file("/proc/self/cmdline");
  print_file("/proc/self/environ");
  return 0;
}
"""
# Starts its second argument in the way that the first one names, with what else there is and no environment.
START = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char *none[] = {NULL};
  const char *how = argv[1];
  char **rest = argv + 2;
  if (argc < 3) return 1;
  if (!strcmp(how, "raw")) syscall(SYS_execve, rest[0], rest, none);
  if (!strcmp(how, "null")) syscall(SYS_execve, rest[0], rest, NULL);
  if (!strcmp(how, "nothing")) syscall(SYS_execve, rest[0], none, none);
  if (!strcmp(how, "execveat")) syscall(SYS_execveat, open(rest[0], O_RDONLY), "", rest, none, AT_EMPTY_PATH);
  if (!strcmp(how, "system")) return clearenv() | system(rest[0]);
  if (!strcmp(how, "spawn")) {
    pid_t child;
    int status;
    if (posix_spawn(&child, rest[0], NULL, NULL, rest, none) || waitpid(child, &status, 0) != child) return 1;
    return status;
  }
  if (!strcmp(how, "popen")) {
    char line[4096];
    clearenv();
    FILE *output = popen(rest[0], "r");
    while (fgets(line, sizeof line, output)) fputs(line, stdout);
    return pclose(output);
  }
  perror(how);
  return 1;
}
"""
PLAIN = "#include <stdio.h>\nint main(int argc, char **argv) { return argc > 1 ? puts(argv[1]) < 0 : 7; }\n"
# As the Go linker marks what it makes.
GO_NOTE = r"""
__asm__(".pushsection .note.go.buildid,\"a\",@note\n.balign 4\n.long 4,4,4\n.asciz \"Go\"\n.balign 4\n.asciz \"id1\"\n"
        ".popsection\n");
""" + PLAIN


# Forbids itself prctl(2), on pain of death, and becomes its arguments.
FILTER = r"""
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 1;
  execv(argv[1], argv + 1);
  return 1;
}
"""


class ShimInjection(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-shim-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        os.chmod(cls.built, 0o755)
        cls.show = cls.build("show", SHOW)
        cls.start = cls.build("start", START)
        cls.start_static = cls.build("start-static", START, "-static")

    @classmethod
    def build(cls, name, source, *flags, compiler="gcc"):
        program = str(cls.built / name)
        subprocess.run([compiler, "-x", "c", "-O1", "-w", *flags, "-o", program, "-"], input=source.encode(), check=True)
        return program

    def boxed(self, argv, uid=None, args=(), **options):
        return self.run_box(sbx.EVERYTHING, argv, uid=uid, args=args, **options)

    def coverage(self, done):
        """The entries of the coverage record, which comes before session_end and adds up to what that says."""
        record, end = done.records[-2:]
        self.assertEqual((record["event"], end["event"]), ("coverage", "session_end"), done.stderr)
        self.assertEqual(sum(image["starts"] for image in record["images"]), end["coverage"]["images"])
        return record["images"]

    def image(self, done, program):
        real = os.path.realpath(program)
        [image] = [image for image in self.coverage(done) if image["exe"] == real]
        return image

    def assert_loaded(self, done, program, starts=1):
        image = self.image(done, program)
        self.assertEqual((image["starts"], image["shim"], image["loaded"], image.get("why")), (starts, "loaded", starts, None))

    def assert_absent(self, done, program, why):
        image = self.image(done, program)
        self.assertEqual((image["shim"], image["loaded"], image["why"]), ("absent", 0, why))

    def same_but_shim(self, argv, uid=None, args=(), environment=None):
        """Runs it under secbox, then natively with the environment that it had; all that it prints is the same."""
        boxed = self.boxed(argv, uid, args, env=environment or {})
        self.assertEqual((boxed.returncode, boxed.stderr), (0, b""))
        given = dict(line[len("variable "):].split("=", 1) for line in boxed.stdout.decode().splitlines()
                     if line.startswith("variable "))
        native = self.run_native(argv, uid, env=given)
        self.assertEqual(native.returncode, 0)
        self.assertEqual(native.stdout.decode().replace("shim 0", "shim 1"), boxed.stdout.decode())
        return boxed

    def test_a_program_finds_what_it_would_find_natively(self):
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                for arguments in ([], ["one"], ["one", "two"], [""]):
                    for environment in ({}, {"A": "1"}):
                        done = self.same_but_shim([self.show, *arguments], uid, ["--supervisor", shape], environment)
                        self.assert_loaded(done, self.show)

    def test_own_preload_is_loaded_as_well(self):
        for uid in self.each_user():
            for before, after in (("", ""), ("A=1 ", ""), ("", " B=2"), ("A=1 ", " B=2")):
                command = f"exec env -i {before}LD_PRELOAD=libm.so.6{after} /bin/cat /proc/self/maps /proc/self/environ"
                done = self.boxed(["/bin/sh", "-c", command], uid)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                maps, _, given = done.stdout.rpartition(b"\n")
                self.assertIn(b"/libsecbox-preload.so", maps)
                self.assertIn(b"/libm.so.6", maps)
                self.assertEqual(given, command.split(" -i ")[1].split(" /bin/cat")[0].replace(" ", "\0").encode() + b"\0")
                self.assert_loaded(done, "/bin/cat")

    def test_neither_proc_nor_the_log_shows_it(self):
        for uid in self.each_user():
            done = self.boxed(["/usr/bin/env", "-i", "NAME=value", "/bin/cat", "/proc/self/environ"], uid)
            self.assertEqual(done.stdout, b"NAME=value\0")
            [names] = [record["env_names"] for record in done.records
                       if record["event"] == "exec" and record["exe"] == os.path.realpath("/bin/cat")]
            self.assertEqual(names, ["NAME"])
            for record in done.records:
                self.assertNotIn("LD_PRELOAD", record.get("env_names", []))

    def test_an_empty_environment(self):
        for uid in self.each_user():
            done = self.boxed(["/usr/bin/env", "-i", "/usr/bin/python3", "-c", "print(6 * 7)"], uid)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"42\n", b""))
            self.assert_loaded(done, "/usr/bin/python3")
            self.assertEqual(done.records[-1]["coverage"], {"images": 2, "processes_with_shim": 1})

    def test_every_way_to_start_a_program(self):
        script = self.write("script", f"#!{self.show} argument\n", 0o755)
        for uid in self.each_user():
            for how, starter in (("raw", self.start_static), ("null", self.start_static), ("nothing", self.start_static),
                                 ("execveat", self.start_static), ("raw", self.start), ("system", self.start),
                                 ("popen", self.start), ("spawn", self.start)):
                done = self.boxed([starter, how, self.show], uid)
                self.assertEqual((done.returncode, done.stderr), (0, b""), how)
                self.assertIn(b"shim 1\nargc 1 aligned 1\n", done.stdout, how)
                self.assert_loaded(done, self.show)
                if starter == self.start_static:
                    self.assert_absent(done, starter, "static")
            done = self.boxed([self.start_static, "raw", script], uid)
            self.assertIn(b"shim 1\nargc 3 aligned 1\n", done.stdout)
            self.assertIn(f"argument {script}\n".encode(), done.stdout)
            self.assert_loaded(done, self.show)

    def test_the_loader_as_the_program(self):
        [loader] = [line.split()[0] for line in subprocess.run(["ldd", "/bin/true"], capture_output=True, text=True)
                    .stdout.splitlines() if "ld-linux" in line]
        for uid in self.each_user():
            done = self.boxed([loader, self.show], uid)
            self.assertIn(b"shim 1\n", done.stdout)
            self.assert_loaded(done, loader)

    def test_many_arguments_and_variables(self):
        for uid in self.each_user():
            for arguments in (["x" * 100_000], ["abc"] * 20_000, ["abc"] * 90_000):
                self.assert_loaded(self.same_but_shim([self.show, *arguments], uid), self.show)
            done = self.same_but_shim([self.show], uid, environment={f"NAME{i}": "value" for i in range(20_000)})
            self.assert_loaded(done, self.show)

    def test_more_than_is_moved(self):
        for uid in self.each_user():
            done = self.boxed([self.show, *["a"] * 140_000], uid)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"shim 0\nargc 140001 aligned 1\n", done.stdout)
            self.assert_absent(done, self.show, "arguments-too-long")

    def test_programs_without_libc_run_unmodified(self):
        programs = {
            "static": ("static", "gcc", ["-static"], PLAIN),
            "static-pie": ("static", "gcc", ["-static-pie"], PLAIN),
            "musl": ("other-libc", "musl-gcc", [], PLAIN),
            "musl-static": ("static", "musl-gcc", ["-static"], PLAIN),
            "go-static": ("go", "gcc", ["-static"], GO_NOTE),
        }
        for name, (why, compiler, flags, source) in programs.items():
            program = self.build(name, source, *flags, compiler=compiler)
            for uid in self.each_user():
                done = self.boxed([program, "said"], uid)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"said\n", b""), name)
                self.assert_absent(done, program, why)

    def test_a_program_of_go(self):
        for uid in self.each_user():
            native = self.run_native(["/usr/sbin/gosu", "--version"], uid)
            done = self.boxed(["/usr/sbin/gosu", "--version"], uid)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (native.returncode, native.stdout, native.stderr))
            self.assert_absent(done, "/usr/sbin/gosu", "go")

    def test_go_with_libc_takes_the_shim_and_is_marked(self):
        program = self.build("cgo", GO_NOTE)
        for uid in self.each_user():
            done = self.boxed([program], uid)
            self.assertEqual(done.returncode, 7)
            image = self.image(done, program)
            self.assertEqual((image["shim"], image["loaded"], image["why"]), ("loaded", 1, "go"))

    def test_without_the_shim(self):
        for uid in self.each_user():
            done = self.boxed([self.show], uid, args=["--no-shim"])
            self.assertIn(b"shim 0\n", done.stdout)
            self.assert_absent(done, self.show, "no-shim")

    def test_a_shim_that_may_not_be_read(self):
        """A denial of its place, and a program of another user that cannot reach it: nothing on their stderr."""
        copy = self.dir / "copy"
        for part in ("bin/secbox", "lib/libsecbox-preload.so"):
            (copy / part).parent.mkdir(parents=True)
            shutil.copy(pathlib.Path(sbx.BIN).parents[1] / part, copy / part)
        for path in (copy, copy / "bin", copy / "lib"):
            os.chmod(path, 0o755)

        def run(argv, uid, *args):
            self._count += 1
            log = self.path(f"audit-{self._count}.ndjson")
            done = subprocess.run([copy / "bin" / "secbox", "run", "-m", self.manifest(sbx.EVERYTHING), "--audit", log, *args,
                                   "--", *argv], capture_output=True, **sbx._identity(uid))
            return sbx.Result(done.returncode, done.stdout, done.stderr, log)

        for uid in self.each_user():
            done = run([self.show], uid)
            self.assert_loaded(done, self.show)
            done = run([self.show], uid, "--deny", f"file:read:{copy}/lib/**")
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assert_absent(done, self.show, "unreadable")
            self.assertEqual(done.denials(), [])
        if os.geteuid() == 0:
            os.chmod(copy / "lib", stat.S_IRWXU)
            become = f"import os; os.setgroups([]); os.setgid({sbx.ORDINARY_USER}); os.setuid({sbx.ORDINARY_USER})"
            done = run(["/usr/bin/python3", "-c", f"{become}; os.execve({self.show!r}, ['show'], {{}})"], None)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assert_loaded(done, "/usr/bin/python3")
            self.assert_absent(done, self.show, "unreadable")

    def test_a_program_with_rights_of_its_own(self):
        """A capability of the file, which an ordinary user does not get but which sets AT_SECURE: the loader takes nothing
        from the environment."""
        if os.geteuid() != 0:
            self.skipTest("only root can give a file a capability")
        program = self.build("capable", SHOW)
        net_raw = 1 << 13
        os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, net_raw, 0, 0, 0))
        done = self.boxed([program], sbx.ORDINARY_USER)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"auxv 23 1\n", done.stdout)
        self.assertIn(b"shim 0\n", done.stdout)
        self.assert_absent(done, program, "setuid")

    def test_a_program_with_a_filter_of_its_own(self):
        """The shim's first call would end it, as nothing natively does."""
        filtering = self.build("filter", FILTER)
        for uid in self.each_user():
            done = self.boxed([filtering, self.show], uid)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"shim 0\n", done.stdout)
            self.assert_loaded(done, filtering)
            self.assert_absent(done, self.show, "own-filter")

    def test_a_list_of_libraries(self):
        """ldd(1) shows what the program needs."""
        for uid in self.each_user():
            done = self.boxed(["/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", self.show], uid)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"libc.so", done.stdout)
            self.assertNotIn(b"secbox", done.stdout)
            self.assert_absent(done, self.show, "only-lists")

    def test_programs_that_come_and_go(self):
        """Counted one by one, those that never reached the shim's first instruction too."""
        for uid in self.each_user():
            done = self.boxed(["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; exit 0"], uid)
            self.assert_loaded(done, "/bin/true", 10)
            # No room for the shim, or for anything else.
            done = self.boxed(["/bin/sh", "-c", "(ulimit -v 100; exec /bin/true) 2>/dev/null; /bin/true"], uid)
            image = self.image(done, "/bin/true")
            self.assertEqual((image["shim"], image["loaded"]), ("loaded", 1) if image["starts"] == 1 else ("partly", 1))

    def test_auditing_is_the_same(self):
        for uid in self.each_user():
            done = self.boxed(["/usr/bin/env", "-i", self.show], uid, args=["--mode", "audit"])
            self.assertIn(b"shim 1\n", done.stdout)
            self.assert_loaded(done, self.show)

    def test_nothing_that_was_started_nothing_to_tell(self):
        done = self.run_box([], [self.path("missing")])
        self.assertEqual(done.returncode, 127)
        self.assertNotIn("coverage", [record["event"] for record in done.records])


if __name__ == "__main__":
    sbx.main()
