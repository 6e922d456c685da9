"""secbox doctor: what it says is what a run then meets."""

import json
import subprocess
import unittest

import sbx


class Doctor(sbx.BoxTest):
    def doctor(self, *args, uid=None):
        return subprocess.run([sbx.BIN, "doctor", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              **({} if uid is None else {"user": uid, "group": uid, "extra_groups": []}))

    def test_json_is_stable(self):
        done = self.doctor("--json")
        report = json.loads(done.stdout)
        self.assertEqual(sorted(report), ["checks", "ok", "version"])
        self.assertEqual(report["version"], 1)
        ids = [check["id"] for check in report["checks"]]
        self.assertEqual(len(ids), len(set(ids)))
        for check in report["checks"]:
            self.assertEqual(sorted(check), ["cost_if_missing", "id", "meaning", "ok", "value"])
            self.assertIsInstance(check["ok"], bool)
            self.assertTrue(check["meaning"])
        for required in ("seccomp-listener", "seccomp-addfd-send", "landlock", "openat2", "supervise-child"):
            self.assertIn(required, ids)

    def test_ok_means_that_a_run_works(self):
        done = self.doctor("--json")
        ok = json.loads(done.stdout)["ok"]
        self.assertEqual(done.returncode, 0 if ok else 125)
        run = self.run_box(["file:read:/**", "exec:run:/**"], ["/bin/true"])
        self.assertEqual(run.returncode, 0 if ok else 125, run.stderr)

    def test_inside_secbox_it_says_that_another_supervisor_listens(self):
        run = self.run_box(["file:read:/**", "exec:run:/**"], [sbx.BIN, "doctor", "--json"])
        self.assertEqual(run.returncode, 125, run.stderr)
        checks = {check["id"]: check for check in json.loads(run.stdout)["checks"]}
        self.assertFalse(checks["seccomp-not-nested"]["ok"])

    def test_unknown_option(self):
        self.assertEqual(self.doctor("--jsn").returncode, 122)


if __name__ == "__main__":
    unittest.main()
