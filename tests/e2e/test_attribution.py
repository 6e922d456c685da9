"""The log says which module of a process made a call, and a manifest may narrow by it; decisions hang on none of this.

The hosts in fixtures/native-module are innocent Python and Node programs with a native module that reads a secret and
connects out. See docs/manifest.md, "Rules by module"."""

import errno
import json
import os
import re
import shutil
import socket
import subprocess

import sbx

SOURCES = sbx.REPO / "fixtures" / "native-module"
NODE = shutil.which("node", path="/usr/local/bin:/usr/bin:/bin")
REFUSED = {"read": errno.EACCES, "direct_read": errno.EACCES, "connect": errno.EACCES}


def caller(record):
    return record.get("caller") or {}


def is_call(record):
    """A record of what a process did, and not of the session."""
    return record.get("pid") and record.get("syscall")


def what_was_decided(records):
    """Each decision, whoever made the call. The shim's own file is read only where there is one; the private directory has
    another name in each run; and where the kernel happens to put a program, V8 maps it once more or not."""
    decided = set()
    for record in records:
        target = record.get("target") or {}
        if "decision" not in record or "libsecbox-preload" in (target.get("path") or "") or target.get("path") == record.get("exe"):
            continue
        path = re.sub(r"/secbox-\w+", "/secbox-X", re.sub(r"^/proc/\d+/", "/proc/self/", target.get("path") or ""))
        decided.add((record["op"], path, target.get("ip"), target.get("port"), record.get("permission"), record["decision"],
                     record["result"], (record.get("rule") or {}).get("id")))
    return decided


class Attribution(sbx.BoxTest):
    def setUp(self):
        super().setUp()
        self.module = self.dir / "module"
        self.module.mkdir()
        for source in (SOURCES / "host.py", SOURCES / "host.js", sbx.FIXTURES / "native-module" / "native_module.so",
                       sbx.FIXTURES / "native-module" / "native_module.node"):
            shutil.copy(source, self.module)
        subprocess.run(["chmod", "-R", "a+rX", str(self.module)], check=True)
        self.secret = self.write("secret", "Secret\n", 0o644)
        home = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.addCleanup(home.close)
        self.port = home.getsockname()[1]

    def hosts(self):
        """For each host its command line, the module's file, and what it needs besides the acts."""
        needs = [f"file:read|load:{self.module}/**"]
        arguments = [str(self.module), self.secret, str(self.port)]
        yield (["/usr/bin/python3", "-BI", str(self.module / "host.py"), *arguments],
               str(self.module / "native_module.so"), needs)
        yield ([NODE, str(self.module / "host.js"), *arguments], str(self.module / "native_module.node"),
               [*needs, f"file:read:{NODE}", "file:read:/usr/share/node*/**", "file:read:/proc/version_signature"])

    def acts(self):
        return [f"file:read:{self.secret}", f"net:connect:127.0.0.1:{self.port}"]

    def outcome(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def of_secret(self, done):
        return [r for r in done.records if is_call(r) and (r.get("target") or {}).get("path") == self.secret]

    def of_connect(self, done):
        return [r for r in done.records if r["event"] == "connect" and r["target"].get("port") == self.port]

    def one(self, records, function):
        found = [record for record in records if caller(record).get("function") == function]
        self.assertEqual(len(found), 1, f"{function}: {[caller(r) for r in records]}")
        return found[0]

    def symbol(self, module, name):
        """Where a function of the module begins and ends."""
        for line in subprocess.run(["readelf", "-W", "--dyn-syms", module], check=True, capture_output=True, text=True).stdout.splitlines():
            fields = line.split()
            if len(fields) == 8 and fields[7] == name:
                start = int(fields[1], 16)
                return start, start + int(fields[2], 0)
        self.fail(f"{module} has no {name}")

    def build_id(self, module):
        notes = subprocess.run(["readelf", "-W", "-n", module], check=True, capture_output=True, text=True).stdout
        return re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)

    def assert_caller(self, record, module, function, call, source):
        claim = dict(caller(record))
        if "call" in claim:
            claim["call"] = claim["call"].removesuffix("64")  # as a build with 64-bit offsets calls it
        start, end = self.symbol(module, function)
        self.assertEqual({key: claim.get(key) for key in ("module", "function", "call", "source", "checked", "build_id")},
                         {"module": module, "function": function, "call": call, "source": source, "checked": True,
                          "build_id": self.build_id(module)})
        self.assertTrue(start < claim["offset"] <= end, f"{claim['offset']:#x} is not in {start:#x}-{end:#x}")

    def test_a_record_names_the_module_and_its_function(self):
        for uid in self.each_user():
            for argv, module, needs in self.hosts():
                done = self.run_box([*needs, *self.acts()], argv, uid=uid)
                self.assertEqual(self.outcome(done), {"own_read": 0, "read": 0, "direct_read": 0, "connect": 0})
                reads = self.of_secret(done)
                self.assert_caller(self.one(reads, "read_secret"), module, "read_secret", "open", "shim")
                self.assert_caller(self.one(reads, "read_secret_directly"), module, "read_secret_directly", None, "instruction")
                self.assert_caller(self.one(self.of_connect(done), "phone_home"), module, "phone_home", "connect", "shim")
                # The host's own read of the same file is the host's.
                own = [caller(record) for record in reads if caller(record).get("module") != module]
                self.assertEqual([claim.get("checked") for claim in own], [True], own)

    def test_a_package_with_a_prebuilt_module(self):
        """Of npm, as others built it: stripped, so that only the functions that it calls have names."""
        sources = SOURCES / "npm"
        place = sbx.FIXTURES.parent / "native-module-npm"
        if not (place / "node_modules" / "@napi-rs").exists():
            place.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(sources / name, place / name)
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place, check=True,
                           stdout=subprocess.DEVNULL)
        host = self.dir / "host"
        shutil.copytree(place / "node_modules", host / "node_modules", symlinks=True)
        shutil.copy(sources / "host.js", host)
        repository = self.dir / "repository"
        subprocess.run(["git", "init", "-q", str(repository)], check=True)
        subprocess.run(["chmod", "-R", "a+rX", str(host), str(repository)], check=True)
        module, = map(str, host.glob("node_modules/@napi-rs/*/*.node"))
        config = str(repository / ".git" / "config")
        closed = socket.socket()  # nobody listens: the module is told so, and gives up
        self.addCleanup(closed.close)
        closed.bind(("127.0.0.1", 0))
        self.port = closed.getsockname()[1]
        needs = [f"file:read|list|load:{host}/**", f"file:read:{NODE}", "file:read:/usr/share/node*/**",
                 "file:read:/proc/version_signature", "file:read:/etc/gitconfig"]
        for uid in self.each_user():
            copy = self.dir / f"copy-{uid}"
            copy.mkdir()
            copy.chmod(0o777)
            if uid is not None:
                subprocess.run(["chown", "-R", str(uid), str(repository)], check=True)
            needs.append(f"file:rw|list:{copy}/**")
            argv = [NODE, str(host / "host.js"), str(repository), str(self.port), str(copy / "x")]
            granted = [f"file:read|list:{repository}/**", f"net:connect:127.0.0.1:{self.port}"]
            for grants, decision in ((granted, "allow"), ([], "deny")):
                for options in ([], ["--no-shim"]):
                    done = self.run_box([*needs, *grants], argv, options, uid, env={"PATH": "/usr/bin:/bin", "HOME": str(copy)})
                    self.assertEqual(self.outcome(done)["read"] == "done", bool(grants), done.stdout)
                    connects = self.of_connect(done)
                    acts = [r for r in done.records if is_call(r) and (r.get("target") or {}).get("path") == config] + connects
                    self.assertTrue(connects)
                    self.assertEqual({record["decision"] for record in acts}, {decision})
                    if options:
                        continue
                    self.assertEqual({tuple(caller(r)[key] for key in ("module", "source", "checked")) for r in acts},
                                     {(module, "shim", True)})
                    self.assertTrue(all(caller(r)["function"] == caller(r)["call"] for r in acts))
                    self.assertEqual({caller(r)["function"] for r in connects}, {"connect"})

    def test_a_denial_names_them_too(self):
        for uid in self.each_user():
            for argv, module, needs in self.hosts():
                done = self.run_box(needs, argv, uid=uid)
                self.assertEqual(self.outcome(done), {"own_read": errno.EACCES, **REFUSED})
                denied = self.one([r for r in self.of_secret(done) if r["decision"] == "deny"], "read_secret")
                self.assert_caller(denied, module, "read_secret", "open", "shim")

    def test_decisions_are_the_same_without_the_shim(self):
        for uid in self.each_user():
            for argv, _, needs in self.hosts():
                for grants in (needs, [*needs, *self.acts()]):
                    with_shim = self.run_box(grants, argv, uid=uid)
                    without = self.run_box(grants, argv, ["--no-shim"], uid=uid)
                    self.assertEqual(self.outcome(with_shim), self.outcome(without))
                    self.assertEqual(what_was_decided(with_shim.records), what_was_decided(without.records))
                    self.assertEqual([r for r in without.records if caller(r).get("source") == "shim"], [])

    def narrowed(self):
        return {"modules": [{"match": "*/native_module.*", "deny": [f"file:read:{self.secret}", f"net:connect:127.0.0.1:{self.port}"],
                             "reason": "has no business there"}]}

    def test_a_rule_by_module_holds_the_module_back_and_not_its_host(self):
        for uid in self.each_user():
            for argv, module, needs in self.hosts():
                done = self.run_box([*needs, *self.acts()], argv, uid=uid, members=self.narrowed())
                self.assertEqual(self.outcome(done), {"own_read": 0, **REFUSED})
                self.assertEqual(sorted((caller(r)["function"], r["rule"]["id"], r["rule"]["layer"]) for r in done.denials()),
                                 [("phone_home", "modules[0].deny[1]", "manifest"), ("read_secret", "modules[0].deny[0]", "manifest"),
                                  ("read_secret_directly", "modules[0].deny[0]", "manifest")])
                self.assertEqual({caller(r)["module"] for r in done.denials()}, {module})

    def test_without_the_shim_the_rules_of_the_plugin_hold(self):
        for uid in self.each_user():
            for argv, _, needs in self.hosts():
                done = self.run_box([*needs, *self.acts()], argv, ["--no-shim"], uid=uid, members=self.narrowed())
                # But for what the module calls directly: there the instruction itself is in it.
                self.assertEqual(self.outcome(done), {"own_read": 0, "read": 0, "direct_read": errno.EACCES, "connect": 0})
                done = self.run_box(needs, argv, ["--no-shim"], uid=uid, members=self.narrowed())
                self.assertEqual(self.outcome(done), {"own_read": errno.EACCES, **REFUSED})

    def test_audit_mode_says_what_a_rule_by_module_would_have_denied(self):
        for argv, module, needs in self.hosts():
            done = self.run_box([*needs, *self.acts()], argv, ["--mode", "audit"], members=self.narrowed())
            self.assertEqual(self.outcome(done), {"own_read": 0, "read": 0, "direct_read": 0, "connect": 0})
            would = [r for r in done.denials("would_deny") if r["rule"]["id"].startswith("modules[0]")]
            self.assertEqual(sorted(caller(r)["function"] for r in would), ["phone_home", "read_secret", "read_secret_directly"])

    def test_nearly_every_event_has_a_checked_caller(self):
        for uid in self.each_user():
            for argv, _, _ in self.hosts():
                done = self.run_box(sbx.EVERYTHING, argv, ["--mode", "audit"], uid=uid)
                self.outcome(done)
                events = [record for record in done.records if is_call(record)]
                self.assertGreater(len(events), 20)
                without = [record for record in events if caller(record).get("checked") is not True]
                self.assertLessEqual(len(without), len(events) * 0.05,
                                     f"of {len(events)}: {[(r['op'], r.get('target'), caller(r)) for r in without]}")
                # "The C library called the kernel" is true of nearly everything, and says nothing.
                libc = [record for record in events if "/libc.so" in (caller(record).get("module") or "")]
                self.assertLessEqual(len(libc), len(events) * 0.1, [(r["op"], r.get("target")) for r in libc])

    def test_an_empty_environment_changes_nothing(self):
        env = ["/usr/bin/env", "-i"]
        for uid in self.each_user():
            for argv, module, needs in self.hosts():
                grants = [*needs, *self.acts(), f"exec:run:{os.path.realpath(argv[0])}", f"exec:run:{argv[0]}"]
                done = self.run_box(grants, [*env, *argv], uid=uid, members=self.narrowed())
                self.assertEqual(self.outcome(done), {"own_read": 0, **REFUSED})
                self.assert_caller(self.one(self.of_secret(done), "read_secret"), module, "read_secret", "open", "shim")
                fewer = [grant for grant in grants if grant not in self.acts()]
                with_shim = self.run_box(fewer, [*env, *argv], uid=uid)
                without = self.run_box(fewer, [*env, *argv], ["--no-shim"], uid=uid)
                self.assertEqual(self.outcome(with_shim), {"own_read": errno.EACCES, **REFUSED})
                self.assertEqual(self.outcome(without), self.outcome(with_shim))

    def build_programs(self):
        """name -> path: what the shim is not in."""
        programs = {name: self.path(name) for name in ("static", "musl", "musl-static")}
        source = str(SOURCES / "program.c")
        for command in (["cc", "-O2", "-static", "-o", programs["static"], source],
                        ["musl-gcc", "-O2", "-o", programs["musl"], source],
                        ["musl-gcc", "-O2", "-static", "-o", programs["musl-static"], source]):
            subprocess.run(command, check=True, env={"PATH": "/usr/bin:/bin"})
        for path in programs.values():
            os.chmod(path, 0o755)
        return programs

    def test_programs_without_the_shim_are_held_all_the_same(self):
        for name, program in self.build_programs().items():
            needs = ["file:read|load:/lib/ld-musl-*", "exec:run:/lib/ld-musl-*"] if name == "musl" else []
            argv = [program, self.secret, str(self.port)]
            for uid in self.each_user():
                self.where += f", {name}"
                native = self.run_native(argv, uid)
                self.assertEqual(json.loads(native.stdout), dict.fromkeys(REFUSED, 0))
                for options in ([], ["--no-shim"]):
                    granted = self.run_box([*needs, *self.acts()], argv, options, uid=uid)
                    self.assertEqual(self.outcome(granted), dict.fromkeys(REFUSED, 0))
                    refused = self.run_box(needs, argv, options, uid=uid)
                    self.assertEqual(self.outcome(refused), REFUSED)
                    for record in [*self.of_secret(granted), *self.of_secret(refused), *self.of_connect(granted)]:
                        self.assertEqual((caller(record).get("source"), caller(record).get("checked")), ("instruction", True), record)
                    # All in one file: there a rule by module is one for the program.
                    if name != "musl":
                        self.assertEqual({caller(record)["module"] for record in self.of_secret(granted)}, {program})
                        module = {"match": program, "deny": [f"file:read:{self.secret}"]}
                        narrowed = self.run_box([*needs, *self.acts()], argv, options, uid=uid, members={"modules": [module]})
                        self.assertEqual(self.outcome(narrowed), {**REFUSED, "connect": 0})

    def test_a_program_of_go_is_held_all_the_same(self):
        gosu, users = "/usr/sbin/gosu", "/etc/passwd"
        argv = [gosu, f"{sbx.ORDINARY_USER}:{sbx.ORDINARY_USER}", "/bin/true"]
        by_plugin = {"required": ["exec:run:/bin/true"], "deny": [f"file:read:{users}"]}
        by_module = {"modules": [{"match": "gosu", "deny": [f"file:read:{users}"]}]}
        for uid in self.each_user():
            free = self.run_box(["exec:run:/bin/true"], argv, uid=uid)
            self.assertEqual(free.denials(), [])
            for permissions, members in ((by_plugin, None), (["exec:run:/bin/true"], by_module)):
                for options in ([], ["--no-shim"]):
                    done = self.run_box(permissions, argv, options, uid=uid, members=members)
                    denied = done.denied(users)
                    self.assertEqual([(caller(r).get("module"), caller(r).get("source"), caller(r).get("checked")) for r in denied],
                                     [(gosu, "instruction", True)] * len(denied))
                    self.assertNotEqual(denied, [])


if __name__ == "__main__":
    sbx.main()
