"""What the end-to-end tests share: running a command natively and under secbox, and reading the log.

Every test runs as root and as an ordinary user (uid 1000) where it is started by root, else as the user it has.
SECBOX_BIN names the program under test; SECBOX_FIXTURES the folder of compiled fixtures; SECBOX_SANITIZER what the
program is built with, where it is (address,undefined or thread): its run-time needs memory and descriptors of its own.
"""

import atexit
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("SECBOX_BIN", str(REPO / "build" / "bin" / "secbox"))
FIXTURES = pathlib.Path(os.environ.get("SECBOX_FIXTURES", str(REPO / "build" / "fixtures")))
SANITIZER = os.environ.get("SECBOX_SANITIZER", "")
ORDINARY_USER = 1000

def _reachable():
    """The program and the fixtures where an ordinary user can start them: a checkout in root's home is copied."""
    global BIN, FIXTURES
    if os.geteuid() != 0:
        return
    probe = subprocess.run(["test", "-x", BIN], user=ORDINARY_USER, group=ORDINARY_USER, extra_groups=[])
    if probe.returncode == 0 or not os.path.exists(BIN):
        return
    copy = pathlib.Path(tempfile.mkdtemp(prefix="secbox-bin-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    os.chmod(copy, 0o755)
    for part in ("bin/secbox", "lib/libsecbox-preload.so"):
        (copy / part).parent.mkdir()
        shutil.copy(pathlib.Path(BIN).parents[1] / part, copy / part)
    BIN = str(copy / "bin" / "secbox")
    if FIXTURES.exists():
        FIXTURES = pathlib.Path(shutil.copytree(FIXTURES, copy / "fixtures"))


_reachable()

EVERYTHING = {
    "required": ["file:*:/**", "net:connect:*", "net:connect:udp/*", "net:bind:*", "net:bind:udp/*", "exec:run:/**",
                 "env:read:*", "ipc:unix:*", "signal:send:*"],
}


def users():
    """The uids to test as: None is the present one."""
    return [None, ORDINARY_USER] if os.geteuid() == 0 else [None]


class Result:
    def __init__(self, returncode, stdout, stderr, log):
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.log = log

    @property
    def records(self):
        """Every line of the log, parsed. A line that is no JSON object fails the test."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, "rb") as file:
            return [json.loads(line) for line in file.read().decode("utf-8").splitlines()]

    def denials(self, decision="deny"):
        return [record for record in self.records if record.get("decision") == decision]

    def denied(self, path=None, op=None, **target):
        """Denied records whose target is `path` (as asked or as resolved), or has these members."""
        found = []
        for record in self.denials():
            what = record.get("target") or {}
            if path is not None and path not in (what.get("path"), what.get("to"), record.get("resolved_target")):
                continue
            if op is not None and record.get("op") != op:
                continue
            if any(what.get(key) != value for key, value in target.items()):
                continue
            found.append(record)
        return found


def _identity(uid):
    if uid is None:
        return {}
    return {"user": uid, "group": uid, "extra_groups": []}


class BoxTest(unittest.TestCase):
    """A scratch directory that every tested user may enter, and the two ways to run a command."""

    maxDiff = None

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="secbox-test-"))
        os.chmod(self.dir, 0o777)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self._count = 0

    def path(self, name):
        return str(self.dir / name)

    def write(self, name, text, mode=0o666):
        target = self.dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        os.chmod(target, mode)
        return str(target)

    def manifest(self, permissions, name=None, **members):
        """Writes a manifest; `permissions` is a list of required grants or a whole permissions object."""
        if isinstance(permissions, list):
            permissions = {"required": permissions}
        body = {"id": "test.plugin", "name": "plugin", "version": "1.0", "permissions": permissions, **members}
        self._count += 1
        return self.write(name or f"manifest-{self._count}.json", json.dumps(body), 0o644)

    def command(self, permissions, argv, args=(), log=None, **members):
        self._count += 1
        return [BIN, "run", "-m", self.manifest(permissions, **members), "--audit",
                log or self.path(f"audit-{self._count}.ndjson"), *args, "--", *argv]

    def run_box(self, permissions, argv, args=(), uid=None, timeout=120, members=None, **options):
        """Runs `argv` under secbox. Options are those of subprocess.run."""
        self._count += 1
        log = self.path(f"audit-{self._count}.ndjson")
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.command(permissions, argv, args, log, **(members or {})), timeout=timeout,
                              **_identity(uid), **options)
        return Result(done.returncode, done.stdout, done.stderr, log)

    def run_native(self, argv, uid=None, timeout=120, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(argv, timeout=timeout, **_identity(uid), **options)
        return Result(done.returncode, done.stdout, done.stderr, "")

    def assert_act(self, argv, uid=None, **options):
        """Natively the program does its act (exit code 3). What has to win a race may need a few turns."""
        codes = []
        while 3 not in codes and len(codes) < 4:
            codes.append(self.run_native(argv, uid, **options).returncode)
        self.assertIn(3, codes)

    def each_user(self):
        """The uids of users(), one after the other; a failure names the one it happened under."""
        for uid in users():
            self.where = f"uid {os.geteuid() if uid is None else uid}"
            yield uid

    def _formatMessage(self, msg, standardMsg):
        return super()._formatMessage(f"{msg or ''} [{getattr(self, 'where', '')}]", standardMsg)


def main():
    """Runs the tests of the calling file. With SECBOX_NO_SKIP set (CI) a skipped test is a failed one."""
    done = unittest.main(verbosity=2, exit=False).result
    skipped = bool(done.skipped) and bool(os.environ.get("SECBOX_NO_SKIP"))
    if skipped:
        print("skipped, and SECBOX_NO_SKIP is set:", *(f"{test}: {why}" for test, why in done.skipped), sep="\n  ")
    sys.exit(0 if done.wasSuccessful() and not skipped else 1)
