"""The documents name only what exists: files that they link to, tests that they call as witnesses."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORD = r"\w*"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


class Docs(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")

    def test_files_that_are_named_exist(self):
        for document in DOCUMENTS:
            for name in re.findall(r"`((?:docs|tests|tools|supervisor|manifest|preload|fixtures)/[\w./-]+)`", document.read_text()):
                self.assertTrue((ROOT / name).exists(), f"{document.name}: {name}")

    def test_witnesses_of_the_threat_model_exist(self):
        text = (ROOT / "docs" / "threat-model.md").read_text()
        unit = "\n".join(path.read_text() for path in ROOT.glob("tests/unit/**/*.cpp"))
        acts = (ROOT / "fixtures" / "hostile" / "act" / "main.c").read_text()
        rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
        self.assertGreater(len(rows), 20)
        for row in rows:
            witnesses = re.findall(r"`([^`]+)`", row.split("|")[3])
            self.assertNotEqual(witnesses, [], row)
            for name in witnesses:
                if name.startswith("fixtures/"):
                    self.assertTrue(any((ROOT / name).glob("*/expect.json")), name)
                elif name.startswith("e2e."):
                    self.assertTrue((ROOT / "tests" / "e2e" / f"test_{name[4:]}.py").exists(), name)
                elif name.startswith("source."):
                    self.assertTrue((ROOT / "tests" / "source" / f"test_{name[7:]}.py").exists(), name)
                elif name.startswith("docs."):
                    self.assertRegex((ROOT / "tests" / "CMakeLists.txt").read_text(), rf"NAME {name}\s")
                elif "." in name:
                    suite, case = name.split(".")[1:] if name.count(".") == 2 else (name.split(".")[1], "*")
                    pattern = rf"TEST(?:_P|_F)?\({suite.replace('*', WORD)}, {case.replace('*', WORD)}\)"
                    self.assertRegex(unit, pattern, name)
                elif (ROOT / "tests" / "fuzz" / f"fuzz_{name}.cpp").exists():
                    continue
                else:
                    self.assertRegex(acts, rf"\bact_{name.replace('*', WORD)}\(", name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
