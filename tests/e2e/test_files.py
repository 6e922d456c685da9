"""Calls on files give what they give natively: results, errno, and what is left behind."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import sbx

SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

static void show(const char *what, long result) {
  printf("%s: %s %s\n", what, result < 0 ? "-" : "ok", result < 0 ? strerrorname_np(errno) : "");
  fflush(stdout);
}
#define R(call) (errno = 0, show(#call, (call)))

static long opened(const char *path, int flags, int mode) {
  const int fd = open(path, flags, mode);
  if (fd < 0) return -1;
  struct stat st;
  fstat(fd, &st);
  printf("  flags %o size %ld ", fcntl(fd, F_GETFL), (long)st.st_size);
  return close(fd);
}
static long opened_how(const char *path, unsigned long flags, unsigned long mode, unsigned long resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  const int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  return fd < 0 ? -1 : close(fd);
}
static long make(const char *path, const char *text, int mode) {
  const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, mode);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) return -1;
  return close(fd);
}
static long size_of(const char *path) {
  struct stat st;
  return stat(path, &st) != 0 ? -1 : (long)st.st_size;
}

static void on_signal(int number) { printf("signal %d\n", number); }

static void full_table(void) {
  struct rlimit old, small = {3, 3};
  getrlimit(RLIMIT_NOFILE, &old);
  small.rlim_max = old.rlim_max;
  make("kept", "kept", 0644);
  setrlimit(RLIMIT_NOFILE, &small);
  R(open("kept", O_WRONLY | O_TRUNC));
  R(open("created", O_WRONLY | O_CREAT, 0644));
  R(open("created", O_WRONLY | O_CREAT | O_EXCL, 0644));
  R(open("kept", O_RDONLY));
  setrlimit(RLIMIT_NOFILE, &old);
  printf("kept %ld created %ld\n", size_of("kept"), size_of("created"));
}

static void write_and_run(void) {
  for (int i = 0; i < 200; ++i) {
    char name[32];
    snprintf(name, sizeof name, "run%d", i % 8);
    unlink(name);
    make(name, "#!\n", 0755);
    execl(name, name, (char *)NULL);
    if (errno == ETXTBSY) printf("busy\n");
  }
}

int main(int count, char **arguments) {
  (void)count;
  if (chdir(arguments[1]) != 0) return 1;
  umask(022);
  signal(SIGXFSZ, on_signal);
  make("f", "text", 0644);
  mkdir("d", 0755);
  mkdir("d/e", 0755);
  symlink("f", "lf");
  symlink("d", "ld");
  full_table();
  write_and_run();
  R(opened("f", O_WRONLY | O_TRUNC, 0));
  R(make("f", "text", 0644));
  R(opened("f", O_RDWR | O_CREAT | O_TRUNC, 0644));
  R(make("f", "text", 0644));
  R(opened("new1", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0644));
  R(opened("f", O_RDONLY | O_NOFOLLOW, 0));
  R(opened("d", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0));
@ROWS@
  return 0;
}
"""

ROWS = r"""
  R(fchmod(open("d", O_RDONLY), 02775));
  R(fchmod(open("d", O_RDONLY), 04755));
  R(chmod("d", 06755));
  R(chmod("d", 0755));
  R(fchmod(open("f", O_RDONLY), 0600));
  R(fchmod(open("f", O_PATH), 0600));
  R(fchmod(-1, 0600));
  R(truncate("f", 1000));
  const struct rlimit small = {4096, RLIM_INFINITY};
  setrlimit(RLIMIT_FSIZE, &small);
  R(truncate("f", 1 << 20));
  R(truncate("f", 4096));
  R(truncate("f", 10));
  R(opened("ld", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0));
  R(opened("ld", O_RDONLY | O_NOFOLLOW, 0));
  R(opened("f", O_DIRECTORY | O_CREAT, 0644));
  R(opened("d/", O_CREAT | O_EXCL, 0));
  R(opened("d/.", O_CREAT | O_EXCL, 0));
  R(opened("/", O_CREAT, 0));
  R(opened("f/", O_CREAT, 0644));
  R(opened("f/", O_RDONLY, 0));
  R(opened("lf/", O_CREAT, 0644));
  R(opened("none/", O_CREAT, 0644));
  R(opened("none/none/", O_CREAT, 0644));
  R(opened("d", O_TMPFILE | O_RDONLY, 0600));
  R(opened("none", O_TMPFILE | O_RDONLY, 0600));
  R(opened("/proc/self/ns/mnt", O_RDONLY, 0));
  R(opened("/proc/self/ns/mnt", O_WRONLY, 0));
  R(opened_how("new3/", O_CREAT | O_WRONLY, 0644, RESOLVE_BENEATH));
  R(opened_how("f/", O_CREAT | O_WRONLY, 0644, RESOLVE_BENEATH));
  R(opened_how("/proc/self/status", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
  R(opened_how("/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
  R(opened_how("/proc/self/status", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
  R(opened_how("lf", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
  R(opened_how("lf", O_RDONLY, 0, RESOLVE_BENEATH));
  R(opened_how("../x", O_RDONLY, 0, RESOLVE_BENEATH));
  for (int i = 0; i < 3; ++i) {
    symlink("new4", "dangling");
    symlink("/new5", "absolute");
    const unsigned long limits[] = {RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS};
    R(opened_how("dangling", O_CREAT | O_WRONLY, 0644, limits[i]));
    R(opened_how("absolute", O_CREAT | O_EXCL | O_WRONLY, 0644, limits[i]));
    R(unlink("new4"));
  }
  R(opened_how("absolute", O_CREAT | O_WRONLY, 0644, RESOLVE_BENEATH));
  R(unlink("d"));
  R(unlink("."));
  R(unlink("/"));
  R(rmdir("."));
  R(rmdir("d/.."));
  R(rmdir("d/../"));
  R(rmdir("/"));
  R(rename("/", "x"));
  R(rename("x", "/"));
  R(rename("f", "d/.."));
  R(rename("d/e/..", "x"));
  R(rename(".", "x"));
  R(rename("none", "f/x"));
  R(rename("none", "x"));
  R(link("none", "f/x"));
  R(link("none", "f"));
  R(mkdir("d/..", 0755));
  const struct timespec none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  R(utimensat(AT_FDCWD, "none", none, 0));
  R(lsetxattr("lf", "bogus.a", "v", 1, 0));
  R(lremovexattr("lf", "bogus.a"));
  R(lremovexattr("lf", "user.a"));
  R(removexattr("f", "bogus.a"));
  mkdir("closed", 0644);
  const int closed = open("closed", O_RDONLY | O_DIRECTORY);
  R(fchmodat(closed, ".", 0600, 0));
  R(fchownat(closed, ".", -1, -1, 0));
  R(fchmodat(closed, "..", 0755, 0));
  R(openat(closed, ".", O_RDONLY));
  R(syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0x10000));
  R(syscall(SYS_execveat, AT_FDCWD, "f", NULL, NULL, 0x10000));
  R(make("script", "#!d\n", 0755));
  R(execl("script", "script", (char *)NULL));
  char line[400];
  memset(line, 'a', sizeof line);
  memcpy(line, "#!/", 3);
  line[399] = 0;
  R(make("long", line, 0755));
  R(execl("long", "long", (char *)NULL));
  line[200] = ' ';
  R(make("long2", line, 0755));
  R(execl("long2", "long2", (char *)NULL));
"""

# Names of descriptors in /proc and /dev, for a program that may do what it likes in its own directory.
BY_DESCRIPTOR = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define R(call) (errno = 0, printf("%s: %s\n", #call, (call) < 0 ? strerrorname_np(errno) : "ok"))

int main(int count, char **arguments) {
  char name[64];
  if (count != 2 || chdir(arguments[1]) != 0 || close(open("f", O_CREAT | O_WRONLY, 0644)) != 0) return 1;
  R(fchmodat(AT_FDCWD, "f", 0600, AT_SYMLINK_NOFOLLOW));
  const char *folders[] = {"/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"};
  const int flags[] = {O_RDONLY, O_PATH};
  for (int i = 0; i < 6; ++i) {
    snprintf(name, sizeof name, "%s/%d", folders[i / 2], open("f", flags[i % 2]));
    R(open(name, O_RDONLY));
    R(open(name, O_WRONLY | O_TRUNC));
    R(chmod(name, 0640));
    R(truncate(name, 10));
    R(setxattr(name, "user.a", "v", 1, 0));
  }
  return 0;
}
"""


class Files(sbx.BoxTest):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="secbox-files-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        os.chmod(cls.built, 0o755)
        for name, flags in (("files", []), ("files-static", ["-static"])):
            subprocess.run(["gcc", "-x", "c", "-O1", "-w", *flags, "-o", str(cls.built / name), "-"], check=True,
                           input=SOURCE.replace("@ROWS@", ROWS).encode())
        subprocess.run(["gcc", "-x", "c", "-O1", "-w", "-o", str(cls.built / "by-descriptor"), "-"], check=True,
                       input=BY_DESCRIPTOR.encode())

    def test_as_natively(self):
        for uid in self.each_user():
            for name in ("files", "files-static"):
                seen = []
                for run in (self.run_native, lambda *rest: self.run_box(sbx.EVERYTHING, *rest[:1], ["--quiet", "--limit", "file_size=none"], *rest[1:])):
                    work = self.dir / f"work-{len(seen)}"
                    shutil.rmtree(work, ignore_errors=True)
                    work.mkdir()
                    os.chown(work, os.geteuid() if uid is None else uid, -1)
                    done = run([str(self.built / name), str(work)], uid)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    seen.append(done.stdout.decode())
                self.assertEqual(seen[1], seen[0])

    def test_descriptor_names(self):
        for uid in self.each_user():
            work = self.dir / f"own-{uid}"
            work.mkdir()
            os.chown(work, os.geteuid() if uid is None else uid, -1)
            command = [str(self.built / "by-descriptor"), str(work)]
            native = self.run_native(command, uid)
            boxed = self.run_box([f"file:rw|list:{work}/**"], command, uid=uid)
            self.assertEqual((boxed.returncode, boxed.stdout), (0, native.stdout), boxed.stderr)
            # A rule about the spelling holds all the same.
            boxed = self.run_box({"required": [f"file:rw|list:{work}/**"], "deny": ["file:write:/proc/self/fd/**"]}, command, uid=uid)
            self.assertNotEqual(boxed.stdout, native.stdout)
            self.assertTrue(boxed.denials())


if __name__ == "__main__":
    sbx.main()
