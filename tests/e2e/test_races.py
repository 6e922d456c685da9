"""Exchanging an argument while the supervisor looks at it wins nothing: open, connect, exec, rename, by threads and by
processes that share memory, dynamic and static programs. Natively each program wins at once, which proves that it
would notice.

SECBOX_RACE_SECONDS is how long each attack goes on (3; the target races-long: 60).
"""

import json
import os
import queue
import re
import shutil
import socket
import threading

import sbx

SECONDS = float(os.environ.get("SECBOX_RACE_SECONDS", "3"))
ROUND = 3.0  # a session each: every try is a record, and logs are read in between
# mode of the attack, suffix of the program: both kinds of program meet both kinds of attacker over the two users.
ATTACKS = (("threads", "", None), ("processes", "-static", None), ("threads", "-static", sbx.ORDINARY_USER),
           ("processes", "", sbx.ORDINARY_USER))


class Listener:
    """Accepts on a loopback port, and counts."""

    WAIT_S = 30

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = str(self.socket.getsockname()[1])
        self.accepted = 0
        self.seen = queue.SimpleQueue()
        self.own = None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, peer = self.socket.accept()
                connection.close()
                self.accepted += 1
                if peer == self.own:
                    self.seen.put(peer)
            except ConnectionAbortedError:
                continue
            except OSError:
                return

    def reset(self):
        """Forgets what came so far: a connection of our own is the last in the queue."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.own = probe.getsockname()
            probe.connect(self.socket.getsockname())
            self.seen.get(timeout=self.WAIT_S)
        self.accepted = 0

    def close(self):
        # Wakes the thread that waits in accept(2), which closing alone does not.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Races(sbx.BoxTest):
    def score(self, output):
        found = re.fullmatch(rb"wins=(\d+) tries=(\d+) passed=(\d+) refused=(\d+)\n", output)
        self.assertIsNotNone(found, output)
        return dict(zip(("wins", "tries", "passed", "refused"), map(int, found.groups())))

    def count_denials(self, log, names_target):
        """Denied records whose target is the denied one. Line by line: there are hundreds of thousands."""
        count = 0
        record = None
        with open(log, "rb") as file:
            for line in file:
                if b'"decision":"deny"' not in line:
                    continue
                record = json.loads(line)
                count += names_target(record)
        return count

    def fight(self, program, arguments, permissions, names_target):
        for mode, suffix, uid in ATTACKS:
            if uid is not None and os.geteuid() != 0:
                uid = None
            with self.subTest(mode=mode, program=program + suffix, uid=os.geteuid() if uid is None else uid):
                binary = str(sbx.FIXTURES / (program + suffix))
                native = self.run_native([binary, "0.5", mode, *arguments], uid)
                score = self.score(native.stdout)
                self.assertGreater(score["wins"], 0, "the attack does not even work without a supervisor")
                self.assertEqual(native.returncode, 3)
                self.after_native()
                left = SECONDS
                while left > 0:
                    now = min(left, ROUND)
                    left -= now
                    done = self.run_box(permissions, [binary, str(now), mode, *arguments], ["--quiet"], uid)
                    score = self.score(done.stdout)
                    print(f"  {program}{suffix} {mode} uid {uid}: {score}", flush=True)
                    self.assertEqual(score["wins"], 0)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    # Both values were met, or it was no race.
                    self.assertGreater(score["passed"], 0)
                    self.assertGreater(score["refused"], 0)
                    self.assertGreater(self.count_denials(done.log, names_target), 0)
                    os.unlink(done.log)
                self.after_box()

    def after_native(self):
        pass

    def after_box(self):
        pass

    def test_open(self):
        granted = self.write("target-a", "granted\n", 0o644)
        denied = self.write("target-b", "Secret\n", 0o644)
        self.fight("race_open", [granted, denied], [f"file:read:{granted}"],
                   lambda record: record["target"].get("path") == denied)

    def test_connect(self):
        granted, denied = Listener(), Listener()
        self.addCleanup(granted.close)
        self.addCleanup(denied.close)

        def check():
            self.assertEqual(denied.accepted, 0, "the denied server had a visitor")

        self.after_native, self.after_box = denied.reset, check
        self.fight("race_connect", [granted.port, denied.port], [f"net:connect:127.0.0.1:{granted.port}"],
                   lambda record: record["target"].get("port") == int(denied.port))

    def test_exec(self):
        granted, denied = self.path("program-a"), self.path("program-b")
        shutil.copy("/bin/true", granted)
        shutil.copy("/bin/false", denied)
        # Refused at the look, or caught when the image had been exchanged after it.
        self.fight("race_exec", [granted, denied], [f"exec:run:{granted}"],
                   lambda record: denied in (record["target"].get("path"), record.get("resolved_target")))

    def test_rename(self):
        for name in ("dir-a", "dir-b"):
            os.mkdir(self.dir / name)
            os.chmod(self.dir / name, 0o777)
        granted, denied = self.path("dir-a/file"), self.path("dir-b/file")
        own = self.write("own/file", "mine\n")
        os.chmod(self.dir / "own", 0o777)

        def check():
            self.assertFalse(os.path.exists(denied), "the denied name came to exist")

        self.after_box = check
        self.fight("race_rename", [own, granted, denied],
                   [f"file:create|delete:{own}", f"file:create|delete:{granted}"],
                   lambda record: denied in (record["target"].get("path"), record["target"].get("to")))


if __name__ == "__main__":
    sbx.main()
