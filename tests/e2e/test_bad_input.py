"""Bad input of every kind: it is refused with its place, or recorded as it is, and nothing is lost or started."""

import base64
import json
import os
import shlex
import subprocess

import sbx

BAD_NAME = b"caf\xe9\x1b[31m"
ODD_NAMES = ("a b", "*", "a*", "[x]", "{a,b}", "${HOME}", "$HOME", "a,b", "it's", "a:b", "ü", "?", "[!a] b|c")


class BadInput(sbx.BoxTest):
    def secbox(self, *arguments, uid=None, **options):
        return subprocess.run([sbx.BIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=60, **sbx._identity(uid), **options)

    def validate(self, name, text, *options):
        done = self.secbox("validate", "--json", *options, self.write(name, text))
        return done.returncode, json.loads(done.stdout)

    # ---- manifests ----

    def test_the_same_mistake_has_its_line_in_every_format(self):
        mistake = "file:rea:/srv/x"
        texts = {
            "m.json": '{\n  "id": "x",\n  "permissions": {\n    "required": [\n      "env:read:X",\n      "%s"\n    ]\n  }\n}\n',
            "m.yaml": 'id: x\n# a comment\npermissions:\n  required:\n    - "env:read:X"\n    - %s\n',
            "m.toml": 'id = "x"\n\n[permissions]\nrequired = [\n  "env:read:X",\n  "%s",\n]\n',
        }
        for name, text in texts.items():
            with self.subTest(name):
                code, said = self.validate(name, text % mistake)
                self.assertEqual((code, said["valid"]), (122, False))
                self.assertEqual(len(said["errors"]), 1, said)
                error = said["errors"][0]
                self.assertEqual((error["code"], error["line"], error["pointer"]),
                                 ("SBX-V112", 6, "/permissions/required/1"))
                self.assertEqual((error["file"], error["hint"]), (self.path(name), 'did you mean "read"?'))
                done = self.secbox("run", "-m", self.path(name), "--audit", "none", "--", "/bin/echo", "ran")
                self.assertEqual((done.returncode, done.stdout), (122, b""))
                self.assertIn(f"{self.path(name)}:6:", done.stderr.decode())

    def test_duplicate_keys_are_refused_in_every_format(self):
        texts = {
            "m.json": '{"id": "x",\n"permissions": {"deny": ["file:read:/x"]},\n"permissions": {}}',
            "m.yaml": "id: x\npermissions: {deny: ['file:read:/x']}\npermissions: {}\n",
            "m.toml": 'id = "x"\npermissions = {deny = ["file:read:/x"]}\npermissions = {}\n',
        }
        for name, text in texts.items():
            with self.subTest(name):
                code, said = self.validate(name, text)
                self.assertEqual(code, 122)
                self.assertEqual((said["errors"][0]["code"], said["errors"][0]["line"]), ("SBX-V101", 3), said)

    def test_the_ending_tells_the_format(self):
        toml = 'id = "x"\n[permissions]\nrequired = ["file:read:/srv/x"]\n'
        self.assertEqual(self.validate("m.toml", toml)[0], 0)
        for name, text in (("manifest", toml), ("m.conf", 'id = "x"\n'), ("m", '{"id": "x"'), ("m", "just text")):
            with self.subTest(name=name, text=text):
                code, said = self.validate(name, text)
                self.assertEqual((code, len(said["errors"])), (122, 1), said)
                self.assertIn(".toml", said["errors"][0]["hint"])
        for name, text in (("manifest", "id: x\n"), ("manifest", '{"id": "x"}'), ("m.jsonc", '// c\n{"id": "x",}'),
                           ("m.json", '{"id": "x", /* c */ "permissions": {"required": [],},}')):
            self.assertEqual(self.validate(name, text)[0], 0, text)

    def test_text_that_would_end_up_elsewhere_is_refused(self):
        second_document = "id: x\n---\nid: y\npermissions: {deny: ['file:read:/x']}\n"
        self.assertEqual(self.validate("m.yaml", second_document)[0], 122)
        self.assertEqual(self.validate("m.json", '{"id": "x"} {"id": "y"}')[0], 122)

    def test_bombs_end_soon(self):
        laughs = "a0: &a0 [x, x]\n" + "".join(
            f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
        scalar = f"a: &a '{'x' * 1_000_000}'\nb: [{', '.join(['*a'] * 100_000)}]\n"
        bombs = {
            "deep.json": "[" * 1_000_000, "deep.yaml": "[" * 100_000, "deep.toml": "a = " + "[" * 100_000,
            "hidden.yaml": "# " + "]" * 200_000 + "\n" + "[" * 100_000,
            "dashes.yaml": "- " * 100_000, "laughs.yaml": laughs, "scalar.yaml": scalar,
            "keys.json": "{" + ",".join(f'"{i}":0' for i in range(200_000)) + "}",
        }
        for name, text in bombs.items():
            with self.subTest(name):
                file = self.write(name, text)
                done = self.secbox("validate", "--json", file, preexec_fn=limit_memory)
                self.assertEqual(done.returncode, 122, done.stderr[:400])
                self.assertFalse(json.loads(done.stdout)["valid"])

    def test_a_path_of_endless_components(self):
        code, said = self.validate("m.json", json.dumps({"id": "x", "permissions": {
            "required": ["file:read:" + "/a" * 2_000_000]}}))
        self.assertEqual((code, said["errors"][0]["code"]), (122, "SBX-V118"))

    def test_characters_that_deceive_are_never_shown_raw(self):
        for text in ("\u009b31m", "\u202e", "\u2066", "\u200b", "\ufeff"):
            for member in ({"name": "a" + text}, {"permissions": {"required": ["file:read:/a" + text]}},
                           {"permissions": {"required": [{"use": "file:read:/a", "reason": text}]}},
                           {"a" + text: 1}):
                with self.subTest(text=ascii(text), member=ascii(member)):
                    file = self.write("m.json", json.dumps({"id": "x", **member}, ensure_ascii=False))
                    done = self.secbox("run", "-m", file, "--audit", "none", "--", "/bin/echo", "ran")
                    self.assertEqual((done.returncode, done.stdout), (122, b""), done.stderr)
                    self.assertNotIn(text, done.stderr.decode())

    def test_names_of_commands_are_never_shown_raw(self):
        odd = "no\x1b[2J\u202e"
        plain = self.write(odd, "text", 0o644)
        manifest = self.manifest([])
        env = {**os.environ, "PATH": "/usr/bin:/bin"}
        for command, code in ((plain, 126), ("/" + odd, 127), (odd, 127)):
            with self.subTest(command=ascii(command)):
                done = self.secbox("run", "-m", manifest, "--audit", "none", "--", command, env=env)
                self.assertEqual(done.returncode, code)
                self.assertNotIn("\x1b", done.stderr.decode())
                self.assertNotIn("\u202e", done.stderr.decode())
                self.assertIn("no", done.stderr.decode())
        for arguments in (["run", "--" + odd], [odd], ["run", "--plugin-dir", self.path(odd + "/")], ["schema", odd],
                          ["preset", "show", odd], ["validate", self.path(odd)], ["validate", "-" + odd]):
            with self.subTest(arguments=ascii(arguments)):
                done = self.secbox(*arguments)
                self.assertEqual(done.returncode, 122)
                self.assertNotIn("\x1b", done.stderr.decode())
        done = self.secbox("run", "--audit", "none", "-m", self.write("m.json", json.dumps(
            {"id": "x", "entry_point": [odd]})))
        self.assertEqual(done.returncode, 122)
        self.assertIn(b"SBX-V110", done.stderr)

    def test_unreadable_manifests(self):
        hidden = self.write("hidden.json", '{"id": "x"}', 0o000)
        cases = [(self.path("missing.json"), "SBX-V100"), (str(self.dir), "SBX-V100"),
                 (self.write("empty.yaml", " \n"), "SBX-V102"), ("/dev/null", "SBX-V102"),
                 ("/dev/zero", "SBX-V100")]
        for uid in self.each_user():
            more = [(hidden, "SBX-V100")] if (uid or os.geteuid()) != 0 else []
            for file, code in cases + more:
                with self.subTest(file=file):
                    done = self.secbox("validate", "--json", file, uid=uid)
                    self.assertEqual(done.returncode, 122)
                    said = json.loads(done.stdout)
                    self.assertEqual([error["code"] for error in said["errors"]], [code])
                    done = self.secbox("run", "-m", file, "--audit", "none", "--", "/bin/echo", "ran", uid=uid)
                    self.assertEqual((done.returncode, done.stdout), (122, b""))
                    self.assertIn(code, done.stderr.decode())
        with open(self.path("latin.toml"), "wb") as file:
            file.write(b'id = "x"\nname = "\xe9"\n')
        done = self.secbox("validate", "--json", self.path("latin.toml"))
        error = json.loads(done.stdout)["errors"][0]
        self.assertEqual((error["code"], error["line"]), ("SBX-V103", 2))

    def test_write_and_run_overlap(self):
        for required, deny, code in (
                (["file:write:/srv/x", "exec:run:/srv/x"], [], 122),
                (["file:rw:/srv/**", "exec:run:/srv/bin/*"], [], 122),
                (["file:create:/srv/*", "file:load:/srv/*"], [], 122),
                (["file:rw:/srv/**", "exec:run:/opt/bin/*"], [], 0),
                (["file:rw:/srv/**", "exec:run:/srv/bin/*"], ["file:write|create|delete:/srv/bin/**"], 0),
                ([{"use": "file:rw:/srv/**", "except": ["/srv/bin/**"]}, "exec:run:/srv/bin/*"], [], 0)):
            with self.subTest(required=required, deny=deny):
                got, said = self.validate("m.json", json.dumps(
                    {"id": "x", "permissions": {"required": required, "deny": deny}}))
                self.assertEqual(got, code, said)
                if code != 0:
                    self.assertEqual(said["errors"][0]["code"], "SBX-V201")

    def test_validate_and_strict(self):
        everything = json.dumps({"id": "x", "permissions": sbx.EVERYTHING})
        code, said = self.validate("m.json", everything)
        self.assertEqual((code, said["valid"], said["errors"]), (0, True, []))
        self.assertNotEqual(said["warnings"], [])
        code, said = self.validate("m.json", everything, "--strict")
        self.assertEqual((code, said["valid"], said["errors"]), (122, False, []))

    def test_schema_and_preset_are_printed(self):
        schema = json.loads(self.secbox("schema", "manifest").stdout)
        self.assertEqual(schema["$id"], "urn:secbox:schema:manifest:1")
        self.assertEqual(self.secbox("schema", "manifesto").returncode, 122)
        shown = self.secbox("preset", "show", "base").stdout.decode().splitlines()
        grants = [line for line in shown if line and not line.startswith("#")]
        as_json = json.loads(self.secbox("preset", "show", "base", "--json").stdout)
        self.assertEqual([grant["use"] for grant in as_json], grants)
        code, said = self.validate("m.json", json.dumps(
            {"id": "x", "presets": [], "permissions": {"required": grants}}))
        self.assertEqual((code, said["errors"]), (0, []), "what is printed can be written")
        self.assertEqual(self.secbox("preset", "show", "bass").returncode, 122)

    # ---- command line and environment ----

    def test_variables_stand_for_options_and_options_win(self):
        secret = self.write("secret", "Secret\n")
        log = self.path("by-variable")
        manifest = self.manifest([])
        env = {"PATH": "/usr/bin:/bin", "SECBOX_AUDIT": log, "SECBOX_MODE": "audit"}
        done = self.secbox("run", "-m", manifest, "--", "/bin/cat", secret, env=env)
        self.assertEqual((done.returncode, done.stdout), (0, b"Secret\n"), done.stderr)
        with open(log) as file:
            self.assertIn("would_deny", {json.loads(line).get("decision") for line in file})
        done = self.secbox("run", "-m", manifest, "--mode", "enforce", "--audit", "none", "--", "/bin/cat", secret, env=env)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        done = self.secbox("run", "-m", manifest, "--", "/bin/true", env={**env, "SECBOX_MODE": "lax"})
        self.assertEqual(done.returncode, 122)

    def test_log_that_cannot_be_written_is_named(self):
        for log in (str(self.dir), self.path("no/such/log")):
            for how in ({"SECBOX_AUDIT": log}, {}):
                with self.subTest(log=log, how=how):
                    flag = [] if how else ["--audit", log]
                    done = self.secbox("run", "-m", self.manifest([]), *flag, "--", "/bin/echo", "ran",
                                       env={"PATH": "/usr/bin:/bin", **how})
                    self.assertEqual((done.returncode, done.stdout), (125, b""))
                    self.assertIn(log, done.stderr.decode())

    def test_environment_is_filtered(self):
        secrets = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "NPM_TOKEN", "DB_PASSWORD", "SSH_AUTH_SOCK")
        env = {"PATH": "/usr/bin:/bin", "LANG": "C", "PLAIN": "1", "LD_LIBRARY_PATH": "/nonexistent",
               **{name: "hidden" for name in secrets}}
        for uid in self.each_user():
            for allow, passed in ([], set()), (["*_*", "G*", "A*", "[A-Z]*"], {"PLAIN"}), (["GITHUB_TOKEN"], {"GITHUB_TOKEN"}), \
                    (["*"], {"PLAIN", *secrets}):
                with self.subTest(allow=allow):
                    done = self.run_box([], ["/usr/bin/env", "-0"], uid=uid, env=env,
                                        members={"env": {"allow": allow}})
                    self.assertEqual(done.returncode, 1 if done.stdout == b"" else 0, done.stderr)
                    names = {item.split(b"=")[0].decode() for item in done.stdout.split(b"\0") if item}
                    self.assertLessEqual({"PATH", "LANG", "TMPDIR"}, names)
                    self.assertEqual(names & {"PLAIN", *secrets}, passed)
                    with open(done.log, "rb") as file:
                        self.assertNotIn(b"hidden", file.read(), "values are never recorded")
        both = {"env": {"allow": ["*"], "deny": ["*_TOKEN"]}}
        done = self.run_box([], ["/usr/bin/env", "-0"], env=env, members=both)
        self.assertNotIn(b"GITHUB_TOKEN", done.stdout)
        self.assertIn(b"DB_PASSWORD", done.stdout)

    def test_private_temporary_directory(self):
        script = 'echo x >"$TMPDIR/file" && mkdir "$TMPDIR/dir" && echo y >"$TMPDIR/dir/file" && echo "$TMPDIR"'
        for uid in self.each_user():
            seen = set()
            for code in (0, 3):
                done = self.run_box(["exec:run:/usr/bin/mkdir"], ["/bin/sh", "-c", f"{script}; exit {code}"], uid=uid)
                self.assertEqual(done.returncode, code, done.stderr)
                tmp = done.stdout.decode().strip()
                self.assertTrue(tmp.startswith("/"), done.stderr)
                self.assertFalse(os.path.exists(tmp), tmp)
                seen.add(tmp)
            self.assertEqual(len(seen), 2, "every run has its own")

    def test_plugin_directory_without_manifest_or_approval(self):
        empty = self.dir / "empty"
        empty.mkdir(mode=0o755)
        self.assertEqual(self.secbox("run", "--plugin-dir", str(empty)).returncode, 122)
        self.assertEqual(self.secbox("run", "--plugin-dir", self.path("missing")).returncode, 122)
        (self.dir / "plugin").mkdir()
        self.write("plugin/secbox.toml", 'id = "p"\nentry_point = ["/bin/echo", "ran"]\n'
                   '[permissions]\nrequired = ["file:read:/srv/x"]\n')
        done = self.secbox("run", "--plugin-dir", self.path("plugin"), "--audit", "none")
        self.assertEqual((done.returncode, done.stdout), (120, b""))
        self.assertIn("file:read:/srv/x", done.stderr.decode())
        done = self.secbox("run", "--plugin-dir", self.path("plugin"), "--allow-plugin", "p", "--audit", "none")
        self.assertEqual((done.returncode, done.stdout), (0, b"ran\n"), done.stderr)
        done = self.secbox("run", "--plugin-dir", self.path("plugin"), "--allow-plugin", "q", "--audit", "none")
        self.assertEqual(done.returncode, 120)

    def test_a_link_that_came_with_the_plugin_grants_nothing_outside(self):
        (self.dir / "plugin").mkdir()
        secret = self.write("secret", "Secret\n")
        self.write("plugin/own", "Own\n")
        os.symlink(secret, self.dir / "plugin" / "link")
        os.symlink("own", self.dir / "plugin" / "inside")
        manifest = self.write("plugin/secbox.json", json.dumps({"id": "x", "permissions": {
            "required": ["file:read:${PLUGIN_DIR}/link", "file:read:${PLUGIN_DIR}/inside"]}}))
        for uid in self.each_user():
            for name, code, text in (("link", 1, b""), ("inside", 0, b"Own\n")):
                command = ["/bin/cat", self.path("plugin/" + name)]
                self.assertEqual(self.run_native(command, uid=uid).returncode, 0)
                done = self.secbox("run", "-m", manifest, "--audit", "none", "--", *command, uid=uid)
                self.assertEqual((done.returncode, done.stdout), (code, text), done.stderr)
                self.assertIn(f"grant it: file:read:{secret}", done.stderr.decode())
            done = self.secbox("run", "-m", manifest, "--audit", "none", "--allow", f"file:read:{secret}", "--",
                               "/bin/cat", self.path("plugin/link"), uid=uid)
            self.assertEqual((done.returncode, done.stdout), (0, b"Secret\n"), done.stderr)

    # ---- names that the plugin uses ----

    def test_a_name_that_is_no_text_is_recorded_whole(self):
        path = os.fsencode(str(self.dir)) + b"/" + BAD_NAME
        with open(path, "wb") as file:
            file.write(b"Secret\n")
        os.chmod(path, 0o644)
        for uid in self.each_user():
            self.assertEqual(self.run_native(["/bin/cat", path], uid=uid).stdout, b"Secret\n")
            done = self.run_box([], ["/bin/cat", path], uid=uid)
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertNotIn(b"\x1b", done.stderr)
            found = [record for record in done.denials()
                     if base64.b64decode((record.get("target") or {}).get("path_bytes", "")) == path]
            self.assertEqual(len(found), 1, done.denials())
            self.assertEqual(base64.b64decode(found[0]["resolved_target_bytes"]), path)
            granted = self.run_box([f"file:read:{self.dir}/caf*"], ["/bin/cat", path], uid=uid)
            self.assertEqual((granted.returncode, granted.stdout), (0, b"Secret\n"), granted.stderr)

    def test_odd_arguments_reach_the_plugin_as_they_are(self):
        arguments = [b"", b"a b", b"\xff", b"--", b"-m", "ü\u202e".encode(), b"\n"]
        for uid in self.each_user():
            done = self.run_box([], ["/usr/bin/printf", "%s\\0", *arguments], uid=uid)
            self.assertEqual(done.stdout.split(b"\0")[:-1], arguments, done.stderr)
            self.assertNotEqual(done.records, [])

    def test_the_proposed_flag_grants_exactly_what_was_denied(self):
        for name in ODD_NAMES:
            with self.subTest(name):
                secret = self.write(f"odd/{name}", "Secret\n")
                other = self.write("odd/other", "Other\n")
                denied = self.run_box([], ["/bin/cat", secret])
                self.assertEqual(denied.returncode, 1)
                fix = [line for line in denied.stderr.decode().splitlines() if "--allow " in line]
                self.assertNotEqual(fix, [], denied.stderr)
                flags = shlex.split(fix[0][fix[0].index("--allow "):])
                allowed = self.run_box([], ["/bin/cat", secret], flags)
                self.assertEqual((allowed.returncode, allowed.stdout), (0, b"Secret\n"), allowed.stderr)
                self.assertEqual(self.run_box([], ["/bin/cat", other], flags).returncode, 1)

    def test_a_command_is_looked_for_as_execvp_does(self):
        """A directory of PATH that the caller may not enter could have had it: 126, not 127."""
        for name, mode in (("closed", 0), ("open", 0o755)):
            os.mkdir(self.dir / name)
            os.chmod(self.dir / name, mode)
        user = sbx.users()[-1]
        for path, code in (("open", 127), ("closed", 126)):
            env = {**os.environ, "PATH": f"{self.path(path)}:/usr/bin:/bin"}
            self.assertEqual(self.run_native(["/usr/bin/env", "no-such-command"], user, env=env).returncode, code)
            done = self.run_box([], ["no-such-command"], uid=user, env=env)
            self.assertEqual(done.returncode, code, done.stderr)

    def test_a_script_whose_interpreter_is_missing(self):
        script = self.write("script", "#!/no/such/interpreter\n", 0o755)
        for uid in self.each_user():
            done = self.run_box([], [script], uid=uid)
            self.assertIn(done.returncode, (126, 127), done.stderr)
            self.assertIn("script", done.stderr.decode())


def limit_memory():
    import resource
    if sbx.SANITIZER:
        return  # it reserves terabytes of address space
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


if __name__ == "__main__":
    sbx.main()
