"""Manifests of other plugin hosts, read as they are, and the places of this host that they speak of."""

import json
import os
import subprocess

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


class Dialects(sbx.BoxTest):
    def secbox(self, *arguments, uid=None, **options):
        return subprocess.run([sbx.BIN, *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
                              **sbx._identity(uid), **options)

    # name -> text, and a permission that has to come of it
    FILES = {
        "plugin.yaml": ("name: notes\nversion: 1.0\ntype: agent\nentry_point: notes.main:Notes\npermissions:\n"
                        "  - file:read\ntimeout_seconds: 20\n", "file:read:{${PLUGIN_DIR},${PLUGIN_DATA},${HOST:workspace}}/**"),
        "plugin.toml": ('name = "notes"\n[permissions]\nrequired = ["read:documents"]\n', "file:read:${HOST:documents}/**"),
        "nexus.plugin.json": ('{"id": "notes", "tools": ["echo"]}', "reg:tool:echo"),
        "package.json": ('{"name": "notes", "gql": {"permissions": ["network:api.example.com"]}}', "net:connect:api.example.com"),
        "plugin.json": ('{"name": "notes", "id": "notes", "capabilities": ["file_access:data/"], "entry_point": "main.py"}',
                        "file:read|write|create|delete:${PLUGIN_DIR}/data/"),
        "manifest.json": ('{"manifest_version": "0.3", "name": "notes", "server": {"type": "python", "entry_point": "main.py"}}',
                          "file:read:${PLUGIN_DIR}/**"),
    }

    def test_every_dialect_is_valid_and_its_import_is_a_native_manifest(self):
        for name, (text, grant) in self.FILES.items():
            with self.subTest(name=name):
                file = self.write(name, text)
                self.assertEqual(self.secbox("validate", file).returncode, 0)
                done = self.secbox("import", file)
                self.assertEqual(done.returncode, 0, done.stderr)
                native = json.loads(done.stdout)
                self.assertIn(native.get("id", native.get("name")), ("notes",))
                self.assertIn(grant, [entry["use"] for entry in native["permissions"]["required"]])
                again = self.write("secbox.json", done.stdout.decode())
                checked = self.secbox("validate", "--json", again)
                self.assertEqual(checked.returncode, 0, checked.stdout)
                # Imported, it is the same manifest again.
                twice = json.loads(self.secbox("import", again).stdout)
                self.assertEqual(twice, native)
                output = self.path("out.json")
                self.assertEqual(self.secbox("import", file, "-o", output).returncode, 0)
                with open(output, "rb") as written:
                    self.assertEqual(written.read(), done.stdout)

    def test_an_unknown_word(self):
        cases = {"plugin.yaml": ("name: a\npermissions:\n  - file:raed\n", "plugin.yaml:3", "file:raed", "file:read"),
                 "plugin.toml": ('[permissions]\nrequired = ["network:apy"]\n', "plugin.toml:2", "network:apy", "network:api"),
                 "plugin.json": ('{"id": "a",\n "capabilities": ["netwrok"]}', "plugin.json:2", "netwrok", "network")}
        for name, (text, place, word, near) in cases.items():
            file = self.write(name, text)
            for arguments in (("validate", file), ("import", file), ("run", "-m", file, "--", "/bin/echo", "ran")):
                with self.subTest(arguments=arguments):
                    done = self.secbox(*arguments)
                    self.assertEqual((done.returncode, done.stdout), (122, b""))
                    self.assertIn(place, done.stderr.decode())
                    self.assertIn(f"Invalid permission: {word}\n", done.stderr.decode())
                    self.assertIn(f'did you mean "{near}"?', done.stderr.decode())

    def test_what_has_no_counterpart_is_noted(self):
        done = self.secbox("import", self.write("plugin.yaml", "name: a\npermissions: []\nauthor: Ana\n"))
        self.assertEqual(json.loads(done.stdout)["x-notes"], ['line 3: "author" has no counterpart here: it is left out'])
        self.assertIn("SBX-V194", done.stderr.decode())

    def test_servers_of_a_configuration(self):
        file = self.write("mcp.json", '{"mcpServers": {"fs": {"command": "npx", "args": ["-y", "x"]}, "b": {"command": "c"}}}')
        self.assertEqual(self.secbox("import", file).returncode, 122)
        done = self.secbox("import", "--server", "fs", file)
        self.assertEqual(json.loads(done.stdout)["entry_point"], ["npx", "-y", "x"])

    def test_command_lines_that_are_refused(self):
        file = self.write("plugin.yaml", "name: a\npermissions: []\n")
        for arguments in ([], [file, file], ["--nonsense", file], ["-o"], ["--vocabulary", "nonsense", file], [self.path("none")]):
            done = self.secbox("import", *arguments)
            self.assertEqual((done.returncode, done.stdout), (122, b""), arguments)
            self.assertNotEqual(done.stderr, b"")
        self.assertEqual(self.secbox("import", file, "-o", self.path("no/such/place")).returncode, 125)

    def test_a_plugin_directory_runs_by_what_its_own_manifest_says(self):
        self.write("plugin/data/seen", "yes")
        self.write("plugin/main.py", "import sys\n"
                   "print(open(sys.path[0] + '/data/seen').read())\n"
                   "open(sys.path[0] + '/data/new', 'w').write('x')\n"
                   "try:\n    open(sys.path[0] + '/new', 'w')\nexcept PermissionError:\n    print('refused')\n")
        self.write("plugin/plugin.json", self.FILES["plugin.json"][0])
        os.chmod(self.path("plugin"), 0o777)
        os.chmod(self.path("plugin/data"), 0o777)
        run = ["run", "--audit", self.path("log"), "--plugin-dir", self.path("plugin"), "--allow", "exec:run:/usr/bin/python3*",
               "--allow", "file:read:/etc/python3*/**"]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.dir)}
        for uid in self.each_user():
            done = self.secbox(*run, uid=uid, env=environment)
            self.assertEqual((done.returncode, done.stdout), (120, b""), "nobody has approved it")
            done = self.secbox(*run, "--allow-plugin", "notes", uid=uid, env=environment)
            self.assertEqual((done.returncode, done.stdout), (0, b"yes\nrefused\n"), done.stderr)
            self.assertFalse(os.path.exists(self.path("plugin/new")))
            os.unlink(self.path("plugin/data/new"))
            os.unlink(self.path("log"))

    def test_a_disabled_plugin_is_not_started(self):
        file = self.write("plugin.yaml", "name: a\nenabled: false\n")
        done = self.secbox("run", "-m", file, "--audit", "none", "--", "/bin/echo", "ran")
        self.assertEqual((done.returncode, done.stdout), (120, b""))
        self.assertIn("disabled", done.stderr.decode())


if __name__ == "__main__":
    sbx.main()
