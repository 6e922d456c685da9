"""Exit codes, messages and options of `secbox run`: what operators and other tools build on."""

import json
import os
import pwd
import re
import subprocess

import sbx


class Cli(sbx.BoxTest):
    def secbox(self, *arguments, uid=None, **options):
        return subprocess.run([sbx.BIN, *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
                              **sbx._identity(uid), **options)

    def run_file(self, manifest, *command, options=(), **more):
        return self.secbox("run", "-m", manifest, "--audit", self.path("log"), *options, "--", *command, **more)

    def test_malformed_manifest_names_the_place_and_a_hint(self):
        cases = {
            "syntax.json": ('{\n  "id": "x",\n  "name" "y"\n}', "syntax.json:3"),
            "syntax.yaml": ("id: x\npermissions: [a\n", "syntax.yaml:"),
            "syntax.toml": ('id = "x"\nname = \n', "toml:2"),
            "key.json": ('{\n  "id": "x",\n  "permisions": {}\n}', 'did you mean "permissions"?'),
            "key.yaml": ("id: x\npermisions: {}\n", 'did you mean "permissions"?'),
            "key.toml": ('id = "x"\n[permisions]\n', 'did you mean "permissions"?'),
            "verb.json": ('{"id": "x", "permissions": {"required": ["file:rea:/x"]}}', 'did you mean "read"?'),
            "class.json": ('{"id": "x", "permissions": {"required": ["fil:read:/x"]}}', 'did you mean "file"?'),
            "scope.json": ('{"id": "x", "permissions": {"required": ["file:read:relative"]}}', "not absolute"),
            "dots.json": ('{"id": "x", "permissions": {"required": ["file:read:/a/../b"]}}', '".."'),
            "both.json": ('{"id": "x", "permissions": {"required": ["file:write:/srv/x", "exec:run:/srv/x"]}}', "SBX-V201"),
            "variable.json": ('{"id": "x", "permissions": {"required": ["file:read:${HOM}/x"]}}', "${HOME}"),
            "list.json": ("[]", "an object"),
            "empty.json": ("", "empty"),
            "nobody.json": ("{}", '"id"'),
            "widens.json": ('{"id": "x", "modules": [{"match": "a.so", "deny": ["file:read:/x"], "allow": []}]}', "never widen"),
            "module.yaml": ("id: x\nmodules:\n  - match: lib/a.so\n    deny: [file:read:/x]\n", "yaml:3"),
        }
        for name, (text, expected) in cases.items():
            with self.subTest(name=name):
                done = self.run_file(self.write(name, text), "/bin/echo", "ran")
                self.assertEqual((done.returncode, done.stdout), (122, b""), done.stderr)
                self.assertIn(expected, done.stderr.decode())
                self.assertIn(name, done.stderr.decode())
                self.assertFalse(os.path.exists(self.path("log")), "nothing was started")

    def test_unreadable_manifest(self):
        for manifest in (self.path("missing.json"), str(self.dir)):
            done = self.run_file(manifest, "/bin/true")
            self.assertEqual(done.returncode, 122)
            self.assertIn(manifest, done.stderr.decode())
        with open(self.path("binary.json"), "wb") as file:
            file.write(b'{"id": "\xff"}')
        done = self.run_file(self.path("binary.json"), "/bin/true")
        self.assertEqual(done.returncode, 122)
        self.assertIn("UTF-8", done.stderr.decode())

    def test_command_line_errors(self):
        manifest = self.manifest([])
        for arguments in ([], ["run"], ["run", "--", "/bin/true"], ["run", "-m", manifest, "--nonsense", "--", "/bin/true"],
                          ["run", "-m", manifest, "--mode", "lax", "--", "/bin/true"], ["run", "-m"], ["nonsense"],
                          ["run", "-m", manifest], ["run", "-m", manifest, "--allow", "file:read", "--", "/bin/true"]):
            done = self.secbox(*arguments)
            self.assertEqual(done.returncode, 122, arguments)
            self.assertNotEqual(done.stderr, b"", arguments)

    def test_command_lines_that_are_refused_say_why(self):
        manifest = self.manifest([])
        for arguments, expected, code in (
                (["-m", manifest, "-m", manifest], "twice", 122), (["--plugin-dir", ".", "--plugin-dir=."], "twice", 122),
                (["-m", manifest, "--audit", "-"], "fd:2", 122), (["--allow-plugin", "x=file:read:/y"], "--allow", 122),
                (["-m", manifest, "--audit", "journald"], "not in this version", 125)):
            with self.subTest(arguments=arguments):
                done = self.secbox("run", *arguments, "--", "/bin/echo", "ran")
                self.assertEqual((done.returncode, done.stdout), (code, b""))
                self.assertIn(expected, done.stderr.decode())
        done = self.secbox("run", "-m", manifest, "--", "/bin/echo", "ran",
                           env={"PATH": "/usr/bin:/bin", "SECBOX_AUDIT": "journald"})
        self.assertEqual((done.returncode, done.stdout), (125, b""))
        self.assertIn("not in this version", done.stderr.decode())

    def test_help_on_verbs_and_codes(self):
        for verb in ("run", "validate", "import", "schema", "preset", "doctor", "test"):
            done = self.secbox("help", verb)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (0, self.secbox(verb, "--help").stdout, b""), verb)
            self.assertTrue(done.stdout.startswith(f"usage: secbox {verb}".encode()))
        codes = set()
        for folder in ("manifest", "tools/secbox", "tools/harness", "supervisor/audit"):
            for path in [*(sbx.REPO / folder).glob("*.cpp"), *(sbx.REPO / folder).glob("*.h")]:
                codes |= set(re.findall(r"SBX-[VDT]\d+", path.read_text()))
        self.assertGreater(len(codes), 40)
        for code in sorted(codes):
            done = self.secbox("help", code)
            self.assertEqual((done.returncode, done.stderr), (0, b""), code)
            self.assertTrue(done.stdout.startswith(code.encode() + b"\n"))
        for word in ("SBX-V999", "nonsense"):
            self.assertEqual(self.secbox("help", word).returncode, 122)
        self.assertEqual(self.secbox("help").stdout, self.secbox("--help").stdout)

    def test_missing_and_not_executable(self):
        manifest = self.manifest([])
        plain = self.write("plain", "text", 0o644)
        for command, code in (("/no/such/program", 127), ("no-such-program", 127), (plain, 126), (str(self.dir), 126)):
            env = {"PATH": "/usr/bin:/bin"}
            done = self.run_file(manifest, command, env=env)
            self.assertEqual(done.returncode, code, command)
            self.assertIn(command, done.stderr.decode())
            native = subprocess.run(["/bin/sh", "-c", '"$0"', command], capture_output=True, env=env)
            self.assertEqual(native.returncode, code, "as a shell would say")

    def test_log_that_cannot_be_written_means_no_start(self):
        manifest = self.manifest([])
        for log in (self.path("no/such/folder/log"), str(self.dir), "/dev/full"):
            done = self.secbox("run", "-m", manifest, "--audit", log, "--", "/bin/echo", "ran")
            self.assertEqual((done.returncode, done.stdout), (125, b""), log)
            self.assertNotEqual(done.stderr, b"")

    def test_fail_on_denial_and_status_file(self):
        secret = self.write("secret", "Secret\n")
        for uid in self.each_user():
            for options, grants, code, cause in (
                    ((), [], 1, None), (("--fail-on", "denial"), [], 121, "denied"),
                    (("--fail-on", "denial"), [f"file:read:{secret}"], 0, "child"),
                    (("--mode", "audit"), [], 0, None),
                    (("--mode", "audit", "--fail-on", "would-deny"), [], 121, "denied")):
                with self.subTest(options=options, grants=grants):
                    status = self.path(f"status-{uid}")
                    more = [] if cause is None else ["--status-file", status]
                    done = self.run_box(grants, ["/bin/cat", secret], [*options, *more], uid)
                    self.assertEqual(done.returncode, code, done.stderr)
                    if cause is not None:
                        with open(status) as file:
                            said = json.load(file)
                        self.assertEqual((said["exit"], said["cause"]), (code, cause))
                        self.assertEqual(said["session"], done.records[0]["session"])
                        self.assertEqual(said["denials"], len(done.denials()))
                        os.unlink(status)

    def test_status_is_written_where_nothing_was_started(self):
        manifest = self.manifest([])
        approval = self.dir / "plugin"
        approval.mkdir()
        (approval / "secbox.json").write_text(json.dumps({
            "id": "x", "entry_point": ["/bin/true"], "permissions": {"required": ["file:read:/srv/x"]}}))
        cases = {
            122: [["-m", self.path("missing.json"), "--", "/bin/true"], ["--", "/bin/true"], ["--nonsense"],
                  ["-m", manifest, "--allow", "file:read", "--", "/bin/true"]],
            120: [["--plugin-dir", str(approval)]],
            125: [["-m", manifest, "--audit", self.path("no/such/log"), "--", "/bin/true"]],
            126: [["-m", manifest, "--", str(self.dir)]],
            127: [["-m", manifest, "--", "/no/such/program"]],
        }
        for code, lines in cases.items():
            for line in lines:
                with self.subTest(line=line):
                    stale = self.write("status", '{"exit":0,"cause":"child","denials":0,"session":"old"}\n' * 2)
                    read, write = os.pipe()
                    done = self.secbox("run", "--status-file", stale, "--status-fd", str(write), *line,
                                       pass_fds=[write])
                    os.close(write)
                    self.assertEqual(done.returncode, code, done.stderr)
                    with open(stale) as file, os.fdopen(read) as pipe:
                        text = file.read()
                        self.assertEqual(pipe.read(), text)
                    said = json.loads(text)
                    self.assertEqual(list(said), ["exit", "cause", "denials", "session"])
                    self.assertEqual((said["exit"], said["cause"], said["denials"]), (code, "secbox", 0))
                    self.assertEqual(said["session"] is None, code != 125)
        done = self.secbox("run", "--status-file", str(self.dir), "-m", self.path("missing.json"))
        self.assertEqual(done.returncode, 122)
        self.assertIn(str(self.dir), done.stderr.decode())

    def test_audit_mode_blocks_nothing_and_says_what_would_have_been(self):
        secret = self.write("secret", "Secret\n")
        for uid in self.each_user():
            out = self.path(f"out-{uid}")
            script = f"cat {secret}; echo x >{out}; /bin/true"
            done = self.run_box([], ["/bin/sh", "-c", script], ["--mode", "audit"], uid)
            self.assertEqual((done.returncode, done.stdout), (0, b"Secret\n"), done.stderr)
            self.assertTrue(os.path.exists(out))
            self.assertEqual(done.denials(), [])
            wanted = {(record["op"], record["target"].get("path")) for record in done.denials("would_deny")}
            self.assertLessEqual({("open", secret), ("open", out)}, wanted)
            self.assertIn("exec", {op for op, _ in wanted})

    def test_allow_and_deny_for_one_run(self):
        text = self.write("text", "text\n")
        self.assertEqual(self.run_box([], ["/bin/cat", text], ["--allow", f"file:read:{text}"]).stdout, b"text\n")
        denied = self.run_box([f"file:read:{text}"], ["/bin/cat", text], ["--deny", f"file:read:{text}"])
        self.assertEqual(denied.returncode, 1)
        self.assertEqual(denied.denied(text)[0]["rule"]["layer"], "flag")

    def test_plugin_directory_needs_an_approval(self):
        plugin = self.dir / "plugin"
        plugin.mkdir()
        (plugin / "text").write_text("text\n")
        (plugin / "secbox.json").write_text(json.dumps({
            "id": "com.example.plugin", "name": "plugin", "version": "2.0", "entry_point": ["/bin/cat", str(plugin / "text")],
            "permissions": {"required": ["file:read:${PLUGIN_DIR}/**"]}}))
        os.chmod(plugin, 0o755)
        refused = self.secbox("run", "--plugin-dir", str(plugin), "--audit", "none")
        self.assertEqual((refused.returncode, refused.stdout), (120, b""))
        self.assertIn("file:read:${PLUGIN_DIR}/**", refused.stderr.decode())
        for name in ("plugin", "com.example.plugin", "plugin@2.0"):
            allowed = self.secbox("run", "--plugin-dir", str(plugin), "--allow-plugin", name, "--audit", "none")
            self.assertEqual((allowed.returncode, allowed.stdout), (0, b"text\n"), allowed.stderr)
        other = self.secbox("run", "--plugin-dir", str(plugin), "--allow-plugin", "plugin@1.0", "--audit", "none")
        self.assertEqual(other.returncode, 120)

    def test_default_log_is_below_the_state_directory(self):
        done = self.secbox("run", "-m", self.manifest([]), "--", "/bin/true",
                           env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": self.path("state")})
        self.assertEqual(done.returncode, 0, done.stderr)
        logs = list((self.dir / "state" / "secbox" / "audit").glob("????-??-??/*/events.ndjson"))
        self.assertEqual(len(logs), 1)
        self.assertEqual(os.stat(logs[0]).st_mode & 0o777, 0o600)

    def test_no_home_is_never_the_whole_file_system(self):
        """HOME is a directory of somebody's own; where there is none, nothing is guessed from it."""
        secret = self.write("secret", "Secret\n")
        nobody = {"user": 54321, "group": 54321, "extra_groups": []} if os.geteuid() == 0 else None
        environment = {"PATH": "/usr/bin:/bin"}
        for grant in ("file:read:${HOME}/**", "file:read:${PLUGIN_DATA}/**"):
            manifest = self.manifest([grant])
            for home in ("/", "//", "/.", "/usr/..", "relative", "/proc/self/root"):
                for verb in (["validate", manifest], ["run", "-m", manifest, "--audit", "none", "--", "/bin/cat", secret]):
                    with self.subTest(grant=grant, home=home, verb=verb[0]):
                        done = self.secbox(*verb, env={**environment, "HOME": home})
                        self.assertEqual((done.returncode, done.stdout), (122, b""), done.stderr)
                        self.assertIn(b"SBX-V123", done.stderr)
                        self.assertIn(b"HOME", done.stderr)
            for env in ({}, {"HOME": ""}):
                run = [sbx.BIN, "run", "-m", manifest, "--audit", "none"]
                with self.subTest(grant=grant, env=env):
                    done = self.secbox(*run[1:], "--dry-run", "--", "/bin/cat", env={**environment, **env})
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertIn(os.fsencode(pwd.getpwuid(os.geteuid()).pw_dir), done.stdout)
                    if nobody is not None:
                        done = subprocess.run([*run, "--", "/bin/cat", secret], env={**environment, **env},
                                              capture_output=True, **nobody)
                        self.assertEqual((done.returncode, done.stdout), (122, b""), done.stderr)
        if nobody is not None:
            manifest = self.manifest([])
            for home in ({}, {"HOME": "/"}):
                done = subprocess.run([sbx.BIN, "run", "-m", manifest, "--", "/bin/echo", "ran"], capture_output=True,
                                      env={**environment, **home}, **nobody)
                self.assertEqual((done.returncode, done.stdout), (125, b""), done.stderr)
                self.assertIn(b"XDG_STATE_HOME", done.stderr)

    def test_plugin_data_is_the_plugins_own(self):
        for name in (".", "..", "a/b", "/"):
            manifest = self.manifest(["file:read:${PLUGIN_DATA}/**"], id=name)
            done = self.secbox("validate", manifest, env={"PATH": "/usr/bin:/bin", "HOME": "/home/x"})
            self.assertEqual(done.returncode, 122, name)
            self.assertIn(b"SBX-V123", done.stderr)

    def test_relative_xdg_directories_are_ignored(self):
        home = self.dir / "home"
        home.mkdir()
        done = self.secbox("run", "-m", self.manifest([]), "--", "/bin/true", cwd=self.dir, env={
            "PATH": "/usr/bin:/bin", "HOME": str(home), "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((self.dir / "state").exists())
        done = self.run_box([], ["/bin/sh", "-c", "echo $TMPDIR"], cwd=home, env={
            "PATH": "/usr/bin:/bin", "HOME": str(home), "XDG_RUNTIME_DIR": ".", "TMPDIR": "."})
        self.assertTrue(done.stdout.startswith(b"/tmp/secbox-"), done.stdout)
        self.assertEqual(len(list(home.glob(".local/state/secbox/audit/*/*/events.ndjson"))), 1)

    def test_what_is_not_enforced_is_said_once(self):
        limits = {"limits": {"memory": "500MB", "pids": 64}, "timeouts": {"run": "300s"}}
        for members, said in (({"timeouts": {"hook": "5s"}}, 1), (limits, 0), ({"limits": None}, 0), ({}, 0)):
            with self.subTest(members=members):
                done = self.run_box([], ["/bin/echo", "ran"], members=members)
                self.assertEqual((done.returncode, done.stdout), (0, b"ran\n"), done.stderr)
                self.assertEqual(done.stderr.count(b"SBX-V193"), said, done.stderr)
                self.assertEqual(self.run_box([], ["/bin/true"], ["-q"], members=members).stderr, b"")
                self.assertEqual(self.secbox("validate", self.manifest([], **members)).stderr.count(b"SBX-V193"), said)
        done = self.secbox("validate", self.manifest(["net:resolve:a.example", "exec:run:/usr/bin/git[status|diff **]"]))
        self.assertEqual(done.returncode, 122)
        self.assertIn(b'SBX-V190: "resolve" is not enforced by this version', done.stderr)
        self.assertIn(b"arguments are not in this version", done.stderr)

    def test_dry_run_starts_nothing(self):
        done = self.run_file(self.manifest(["file:read:/srv/x"]), "/bin/echo", "ran", options=["--dry-run"])
        self.assertEqual(done.returncode, 0)
        self.assertNotIn(b"ran\n", done.stdout)
        self.assertIn(b"/srv/x", done.stdout)

    def test_rules_by_module_are_shown_with_what_they_are_worth(self):
        modules = [{"match": "*/libfoo.so*", "deny": ["file:read:/etc/**", "net:connect:*:*"], "reason": "parses"}]
        manifest = self.manifest(["file:read:/srv/x"], modules=modules)
        self.assertEqual(self.secbox("validate", "--strict", manifest).returncode, 0)
        plain = self.run_file(self.manifest(["file:read:/srv/x"]), "/bin/true", options=["--dry-run"]).stdout.decode()
        self.assertNotIn("by module", plain)
        shown = self.run_file(manifest, "/bin/true", options=["--dry-run"]).stdout.decode()
        by_module = shown.partition("by module, advisory: hostile code in the same process can evade this\n")[2]
        self.assertEqual([line.split(" on ")[0] for line in by_module.splitlines()],
                         ['module "*/libfoo.so*" deny manifest file:read', 'module "*/libfoo.so*" deny manifest net:connect'])
        # The start record has them, its digest covers them, and nothing but them is different.
        with_them = self.run_box(["file:read:/srv/x"], ["/bin/true"], members={"modules": modules}).records[0]
        without = self.run_box(["file:read:/srv/x"], ["/bin/true"]).records[0]
        self.assertEqual(with_them["modules"], [{"match": "*/libfoo.so*", "deny": ["file:read:/etc/**", "net:connect:*:*"]}])
        self.assertNotIn("modules", without)
        self.assertNotEqual(with_them["rules_digest"], without["rules_digest"])
        self.assertEqual([rule["text"] for rule in with_them["rules"]], [rule["text"] for rule in without["rules"]])

    def test_validate_says_what_is_wrong_with_rules_by_module(self):
        cases = [({"match": "*/libfoo.so*", "deny": ["file:read:/etc/**"], "permissions": {}}, 122, "SBX-V106", "never widen"),
                 ({"macth": "*/libfoo.so*", "deny": ["file:read:/etc/**"]}, 122, "SBX-V106", 'did you mean "match"?'),
                 ({"match": "lib/libfoo.so", "deny": ["file:read:/etc/**"]}, 122, "SBX-V140", "*/lib/libfoo.so"),
                 ({"match": "libfoo.so", "deny": ["net:connect:api.example.com:443"]}, 122, "SBX-V141", "addresses"),
                 ({"match": "libfoo.so", "deny": ["env:read:HOME"]}, 122, "SBX-V142", "env.deny"),
                 ({"match": "libfoo.so", "deny": []}, 0, "SBX-V206", "may not do"),
                 ({"match": "libfoo.so", "deny": ["file:read:/srv/x/y"]}, 0, "SBX-V207", "may go")]
        for entry, code, diagnostic, hint in cases:
            with self.subTest(entry=entry):
                text = json.dumps({"id": "x", "permissions": {"deny": ["file:read:/srv/x/**"]}})[:-1] + \
                    ',\n "modules": [\n' + json.dumps(entry) + "]}"
                done = self.secbox("validate", self.write("modules.json", text))
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn("modules.json:3:", done.stderr.decode())
                self.assertIn(diagnostic, done.stderr.decode())
                self.assertIn(hint, done.stderr.decode())
                self.assertEqual(self.secbox("validate", "--strict", self.path("modules.json")).returncode, 122)

    def test_a_denial_is_explained(self):
        secret = self.write("secret", "Secret\n")
        done = self.run_box([], ["/bin/cat", secret])
        record = done.denied(secret)[0]
        text = done.stderr.decode()
        self.assertIn(f"DENIED plugin 1.0 (pid {record['pid']} cat) file:read {secret}", text)
        self.assertIn(f"event {record['session']}-{record['seq']}", text)
        self.assertIn("SBX-D101", text)
        self.assertIn(f"--allow 'file:read:{secret}'", text)
        self.assertIn("why: no grant matches   rule", text)
        near = self.run_box([f"file:read:{self.dir}/data/**", "net:connect:10.0.0.0/8:443"], ["/bin/cat", secret])
        manifest = near.records[0]["manifest"]
        self.assertIn(f"why: no grant matches; nearest is file:read:{self.dir}/data/** ({manifest}:1)   rule SBX-D101",
                      near.stderr.decode())
        flag = self.run_box([], ["/bin/cat", secret], ["--allow", f"file:read:{self.dir}/data/**"])
        self.assertIn(f"nearest is file:read:{self.dir}/data/** (--allow)   rule", flag.stderr.decode())
        for member in ("timestamp", "seq", "plugin", "op", "target", "decision", "rule", "errno", "pid"):
            self.assertIn(member, record)
        self.assertEqual(self.run_box([], ["/bin/cat", secret], ["--quiet"]).stderr.count(b"DENIED"), 0)
        # The pipe was made by another user than the one who runs it, who may not open it.
        for uid in self.each_user():
            for shape in ("beside", "parent"):
                done = self.run_box(["exec:run:/bin/cat"], ["/bin/cat", secret], ["--supervisor", shape], uid)
                self.assertIn(b"secbox: DENIED", done.stderr, shape)


if __name__ == "__main__":
    sbx.main()
