"""What `cmake --install` puts somewhere works there: the program, and the shim beside it."""

import os
import pathlib
import subprocess

import sbx

BUILD = pathlib.Path(os.environ.get("SECBOX_BUILD", str(sbx.REPO / "build")))


class Install(sbx.BoxTest):
    def test_installed_program_finds_its_shim(self):
        prefix = self.dir / "prefix"
        subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(prefix)], check=True, capture_output=True)
        os.chmod(prefix, 0o755)
        secbox = prefix / "bin" / "secbox"
        shims = list(prefix.glob("lib*/**/libsecbox-preload.so"))
        self.assertEqual(len(shims), 1, "one shim, below lib")
        self.assertEqual(sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()),
                         ["bin/secbox", str(shims[0].relative_to(prefix)), "share/secbox/schema/manifest.schema.json",
                          *(f"share/secbox/vocab/{name}.json" for name in ("gao", "gql", "mcp.ac", "nexus", "project-ai", "ragged"))])
        self.assertEqual(subprocess.run([secbox, "--version"], capture_output=True).returncode, 0)
        for uid in self.each_user():
            log = self.path(f"log-{uid}")
            done = subprocess.run([secbox, "run", "-m", self.manifest([]), "--audit", log, "--", "/bin/cat", "/proc/self/maps"],
                                  capture_output=True, **sbx._identity(uid))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(str(shims[0]), done.stdout.decode())
            end = sbx.Result(0, b"", b"", log).records[-1]
            self.assertEqual(end["coverage"], {"images": 1, "processes_with_shim": 1})


if __name__ == "__main__":
    sbx.main()
