"""Manifests of other plugin hosts, read as they are, and the places of this host that they speak of."""

import os

import sbx


class Host(sbx.BoxTest):
    def test_a_place_of_the_host_is_what_the_configuration_says(self):
        for uid in self.each_user():
            inside = self.write("documents/letter", "dear")
            outside = self.write("elsewhere/letter", "dear")
            config = self.write("config.toml", f"[host]\ndocuments = '{self.path('documents')}'\n")
            environment = {**os.environ, "SECBOX_CONFIG": config}
            grants = ["file:read:${HOST:documents}/**"]
            done = self.run_box(grants, ["/bin/cat", inside], uid=uid, env=environment)
            self.assertEqual((done.returncode, done.stdout), (0, b"dear"), done.stderr)
            done = self.run_box(grants, ["/bin/cat", outside], uid=uid, env=environment)
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertTrue(done.denied(outside))

    def test_a_place_that_the_host_does_not_have(self):
        config = self.write("config.toml", "[host]\nother = '/srv'\n")
        done = self.run_box(["file:read:${HOST:documents}/**"], ["/bin/echo", "ran"],
                            env={**os.environ, "SECBOX_CONFIG": config})
        self.assertEqual((done.returncode, done.stdout), (122, b""))
        self.assertIn('under [host]: documents = "/absolute/path"', done.stderr.decode())


if __name__ == "__main__":
    sbx.main()
