"""A plugin with the grants that it needs, and the host that started it, cannot tell that it is supervised."""

import os
import pty
import resource
import select
import signal
import subprocess
import time

import sbx

SHAPES = ("beside", "parent")


class Transparency(sbx.BoxTest):
    def start(self, argv, shape, uid=None, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(self.command(sbx.EVERYTHING, argv, ["--supervisor", shape]), **sbx._identity(uid), **options)

    def shapes(self):
        for uid in self.each_user():
            for shape in SHAPES:
                self.where += f", {shape}"
                yield shape, uid

    def test_exit_status_passes_through(self):
        for shape, uid in self.shapes():
            for code in (0, 1, 42, 77, 120, 125, 127, 255):
                done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", f"exit {code}"], ["--supervisor", shape], uid)
                self.assertEqual(done.returncode, code, done.stderr)

    def test_death_by_signal_is_seen(self):
        for shape, uid in self.shapes():
            for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1, signal.SIGPIPE):
                done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", f"kill -{int(number)} $$"], ["--supervisor", shape], uid)
                self.assertEqual(done.returncode, -number, done.stderr)

    def test_signals_from_the_host_arrive(self):
        script = ('trap "echo got usr1" USR1; trap "echo got term; exit 9" TERM; echo ready; '
                  'while :; do sleep 0.05; done')
        for shape, uid in self.shapes():
            with self.start(["/bin/sh", "-c", script], shape, uid) as process:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                process.send_signal(signal.SIGUSR1)
                self.assertEqual(process.stdout.readline(), b"got usr1\n")
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.stdout.readline(), b"got term\n")
                self.assertEqual(process.wait(20), 9)

    def test_stop_and_continue(self):
        for shape, uid in self.shapes():
            with self.start(["/bin/sh", "-c", "echo ready; sleep 0.3; echo done"], shape, uid) as process:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                # Shape parent: the plugin is stopped through its own process, which the supervisor mirrors.
                if shape == "beside":
                    process.send_signal(signal.SIGSTOP)
                    _, status = os.waitpid(process.pid, os.WUNTRACED)
                    self.assertTrue(os.WIFSTOPPED(status))
                    process.send_signal(signal.SIGCONT)
                self.assertEqual(process.stdout.readline(), b"done\n")
                self.assertEqual(process.wait(20), 0)

    def test_killing_the_started_process_ends_everything(self):
        marker = "987654"
        for shape, uid in self.shapes():
            with self.start(["/bin/sh", "-c", f"sleep {marker} & echo ready; wait"], shape, uid) as process:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                process.kill()
                self.assertEqual(process.wait(20), -signal.SIGKILL)
            self.assertTrue(self.gone(marker), "a process of the plugin is left")

    def test_background_processes_do_not_survive(self):
        marker = "987655"
        for shape, uid in self.shapes():
            script = f"sleep {marker} & setsid sleep {marker} & (setsid sh -c 'sleep {marker} & sleep {marker}' &) ; sleep 0.1; exit 4"
            done = self.run_box(sbx.EVERYTHING, ["/bin/sh", "-c", script], ["--supervisor", shape], uid,
                                stdout=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 4)
            self.assertEqual(self.living(marker), [], "at the moment of return")

    def living(self, marker):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    argv = file.read().split(b"\0")
            except OSError:
                continue
            if argv[:2] == [b"sleep", marker.encode()]:
                found.append(pid)
        return found

    def gone(self, marker, seconds=10):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.living(marker):
                return True
            time.sleep(0.02)
        return False

    def test_closed_and_inherited_streams(self):
        # The plugin must see a closed stream as closed, and readers must see its streams end when it closes them.
        probe = ("import os\n"
                 "out = []\n"
                 "for fd in range(0, 10):\n"
                 "    try: os.fstat(fd); out.append(str(fd))\n"
                 "    except OSError: pass\n"
                 f"open({self.path('fds')!r}, 'w').write(' '.join(out))\n")
        for shape, uid in self.shapes():
            for closed in ((), (0,), (1,), (2,), (0, 1, 2)):
                def close(closed=closed):
                    for fd in closed:
                        os.close(fd)
                argv = ["/usr/bin/python3", "-S", "-E", "-c", probe]
                subprocess.run(argv, preexec_fn=close, check=True, **sbx._identity(uid))
                with open(self.path("fds")) as file:
                    native = file.read()
                os.unlink(self.path("fds"))
                done = subprocess.run(self.command(sbx.EVERYTHING, argv, ["--supervisor", shape]), preexec_fn=close,
                                      **sbx._identity(uid))
                self.assertEqual(done.returncode, 0)
                with open(self.path("fds")) as file:
                    self.assertEqual(file.read(), native, f"closed: {closed}")
                os.unlink(self.path("fds"))

    def test_a_plugin_that_leaves_root(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        program = self.write("leave.py", """
import os, socket, sys
os.chdir(sys.argv[1])
child = os.fork()  # the parent stays root
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.setgroups([]); os.setgid(1000); os.setuid(1000)
open("a", "w").close(); os.rename("a", "b"); print(os.stat("b").st_uid); os.unlink("b"); os.mkdir("c"); os.rmdir("c")
listener = socket.socket(socket.AF_UNIX)
listener.bind("sock"); listener.listen(1); print(os.stat("sock").st_uid)
socket.socket(socket.AF_UNIX).connect("sock")
for act in (lambda: open("/etc/shadow"), lambda: open(f"/proc/{os.getppid()}/maps"),
            lambda: open(f"/proc/{os.getppid()}/root/etc/hostname"), lambda: os.chmod("/etc/hostname", 0o777), lambda: os.mkdir("/etc/x")):
    try:
        act()
    except OSError as error:
        print(error.strerror)
os.unlink("sock")
""")
        command = ["/usr/bin/python3", program, str(self.dir)]
        native = self.run_native(command)
        boxed = self.run_box(sbx.EVERYTHING, command, ["--quiet"])
        self.assertEqual((boxed.returncode, boxed.stdout, boxed.stderr), (0, native.stdout, native.stderr))

    def test_output_ends_when_the_plugin_closes_it(self):
        for uid in self.each_user():
            with self.start(["/bin/sh", "-c", "echo out; exec >&- 2>&-; sleep 1.5; exit 6"], "beside", uid) as process:
                started = time.monotonic()
                self.assertEqual(process.stdout.read(), b"out\n")
                self.assertEqual(process.stderr.read(), b"")
                self.assertLess(time.monotonic() - started, 1.2, "the ends of the pipes were held open")
                self.assertEqual(process.wait(20), 6)

    def test_usage_is_the_plugins_own(self):
        for shape, uid in self.shapes():
            with self.start(["/usr/bin/python3", "-S", "-E", "-c", "x = 0\nfor i in range(3000000): x += i"], shape, uid) as process:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(process.returncode, 0)
            self.assertGreater(usage.ru_utime, 0.02)

    def test_resource_limits_are_the_hosts(self):
        probe = ("import resource as r\n"
                 "print([r.getrlimit(n) for n in (r.RLIMIT_NOFILE, r.RLIMIT_CORE, r.RLIMIT_STACK, r.RLIMIT_FSIZE)])")
        argv = ["/usr/bin/python3", "-c", probe]
        for uid in self.each_user():
            limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))
            native = self.run_native(argv, uid, preexec_fn=limit)
            boxed = self.run_box(sbx.EVERYTHING, argv, uid=uid, preexec_fn=limit, members={"limits": None})
            self.assertEqual(boxed.stdout, native.stdout, boxed.stderr)

    def test_descriptor_numbers(self):
        probe = ("import os\n"
                 "a = os.open('/etc/passwd', os.O_RDONLY); b = os.open('/dev/null', os.O_RDWR); os.close(a)\n"
                 "c = os.open('/etc/group', os.O_RDONLY); print(a, b, c, os.get_inheritable(c))")
        argv = ["/usr/bin/python3", "-S", "-E", "-c", probe]
        for uid in self.each_user():
            native = self.run_native(argv, uid)
            boxed = self.run_box(sbx.EVERYTHING, argv, uid=uid)
            self.assertEqual(boxed.stdout, native.stdout, boxed.stderr)

    def test_a_full_table_gives_emfile(self):
        probe = ("import os, resource\n"
                 "resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))\n"
                 "held = []\n"
                 "try:\n"
                 "    while True: held.append(os.open('/etc/passwd', os.O_RDONLY))\n"
                 "except OSError as error: print(len(held), error.errno)")
        argv = ["/usr/bin/python3", "-S", "-E", "-c", probe]
        for uid in self.each_user():
            self.assertEqual(self.run_box(sbx.EVERYTHING, argv, uid=uid).stdout, self.run_native(argv, uid).stdout)

    # ---- the terminal ----

    def on_terminal(self, argv, talk, uid=None):
        """Runs argv as the session leader of a new pseudo-terminal; `talk(master)` plays the person."""
        self.unread = b""
        pid, master = pty.fork()
        if pid == 0:
            try:
                if uid is not None:
                    os.setgroups([])
                    os.setgid(uid)
                    os.setuid(uid)
                os.execv(argv[0], argv)
            finally:
                os._exit(99)
        try:
            output = talk(master)
            status = self.wait_for(pid)
        finally:
            os.close(master)
        return os.waitstatus_to_exitcode(status), output

    def wait_for(self, pid, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.fail("the command did not end")

    def read_until(self, master, text, seconds=20):
        # What came behind `text` in one piece with it is kept for the next look.
        seen, self.unread = self.unread, b""
        until = time.monotonic() + seconds
        while text not in seen:
            ready, _, _ = select.select([master], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self.fail(f"waited for {text!r}, saw {seen!r}")
            try:
                seen += os.read(master, 4096)
            except OSError:
                self.fail(f"waited for {text!r}, saw {seen!r}")
        end = seen.index(text) + len(text)
        self.unread = seen[end:]
        return seen[:end]

    def test_interrupt_from_the_terminal(self):
        script = "trap 'echo interrupted; exit 33' INT; echo ready; while :; do sleep 0.05; done"
        for shape, uid in self.shapes():
            def talk(master):
                self.read_until(master, b"ready")
                os.write(master, b"\x03")
                return self.read_until(master, b"interrupted")
            code, _ = self.on_terminal(self.command(sbx.EVERYTHING, ["/bin/sh", "-c", script], ["--supervisor", shape]), talk)
            self.assertEqual(code, 33)

    def test_job_control(self):
        # An interactive shell starts the box as a job; Ctrl-Z stops it, fg goes on, and it ends as it should.
        for shape, uid in self.shapes():
            box = self.command(sbx.EVERYTHING, ["/bin/sh", "-c", "echo st''arted; read line; echo line=$line; exit 5"],
                               ["--supervisor", shape])
            line = " ".join(f"'{word}'" if "'" not in word else '"' + word.replace("$", "\\$") + '"' for word in box)

            def talk(master):
                self.read_until(master, b"$ ")
                os.write(master, line.encode() + b"\n")
                self.read_until(master, b"started\r\n")
                os.write(master, b"\x1a")
                self.read_until(master, b"$ ")
                os.write(master, b"jobs\n")
                self.read_until(master, b"Stopped")
                self.read_until(master, b"$ ")
                os.write(master, b"fg\n")
                self.read_until(master, b"\r\n")
                os.write(master, b"hello\n")
                self.read_until(master, b"line=hello")
                self.read_until(master, b"$ ")
                os.write(master, b"echo status=$?\n")
                seen = self.read_until(master, b"status=5")
                os.write(master, b"exit\n")
                return seen
            env = dict(os.environ, PS1="$ ")
            os.environ.update(env)
            code, _ = self.on_terminal(["/bin/bash", "--norc", "--noprofile", "-i"], talk)
            self.assertEqual(code, 0)

    def test_the_terminal_is_the_plugins(self):
        probe = ("import os\n"
                 "print(os.isatty(0), os.isatty(1), os.ttyname(0) == os.ttyname(1), os.tcgetpgrp(0) == os.getpgrp())\n"
                 "with open('/dev/tty', 'w') as tty: tty.write('through dev tty\\n')")
        argv = ["/usr/bin/python3", "-S", "-E", "-c", probe]
        for shape in SHAPES:
            def talk(master):
                return self.read_until(master, b"through dev tty")
            _, native = self.on_terminal(argv, talk)
            code, boxed = self.on_terminal(self.command(sbx.EVERYTHING, argv, ["--supervisor", shape]), talk)
            self.assertEqual(code, 0)
            self.assertEqual(boxed, native)

    def test_terminals_are_opened_for_the_plugin(self):
        """/dev/tty is the caller's own, in its session and in one with another terminal or none."""
        probe = """if True:
            import os, pty, subprocess, termios
            def use(fd):
                os.tcsetpgrp(fd, os.getpgrp())
                termios.tcsetattr(fd, termios.TCSANOW, termios.tcgetattr(fd))
                return os.isatty(fd), os.tcgetpgrp(fd) == os.getpgrp(), os.get_inheritable(fd), os.get_blocking(fd)
            print(use(os.open('/dev/tty', os.O_RDWR)), use(os.open('/dev/tty', os.O_RDONLY)))
            print(use(os.open(os.ttyname(0), os.O_RDWR)))
            print(subprocess.run(['/bin/sh', '-c', 'read line </dev/tty; echo got $line >/dev/tty; stty -F /dev/tty speed'],
                                 stdin=subprocess.DEVNULL).returncode)
            pid, master = pty.fork()
            if pid == 0:
                with open('/dev/tty', 'w') as tty: tty.write('inner ' + str(os.ttyname(0) == os.ttyname(1)))
                os._exit(0)
            print(os.read(master, 100), os.waitpid(pid, 0)[1])
            if os.fork() == 0:
                os.setsid()
                try: os.open('/dev/tty', os.O_RDWR)
                except OSError as error: print(error)
                os._exit(0)
            os.wait()
            print('that was', 'all')"""
        argv = ["/usr/bin/python3", "-S", "-E", "-c", probe]

        def talk(master):
            os.write(master, b"a line\n")
            return self.read_until(master, b"that was all")
        _, native = self.on_terminal(argv, talk)
        code, boxed = self.on_terminal(self.command(sbx.EVERYTHING, argv), talk)
        self.assertEqual(boxed, native)
        self.assertIn(b"No such device", native)
        self.assertEqual(code, 0)


if __name__ == "__main__":
    sbx.main()
