"""The sources keep to the architecture: includes point only downward, and raw kernel interfaces stay in their place."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What each folder may include, besides itself.
MAY_INCLUDE = {
    "supervisor/base": set(),
    "supervisor/checker": {"supervisor/base"},
    "supervisor/audit": {"supervisor/base"},
    "supervisor/sys": {"supervisor/base"},
    "supervisor/broker": {"supervisor/base", "supervisor/checker", "supervisor/audit", "supervisor/sys", "preload"},
    "supervisor/limits": {"supervisor/base", "supervisor/sys"},
    "supervisor/launch": {"supervisor/base", "supervisor/checker", "supervisor/sys", "supervisor/broker",
                          "supervisor/limits"},
    "supervisor/session": {"supervisor/base", "supervisor/checker", "supervisor/audit", "supervisor/sys",
                           "supervisor/broker", "supervisor/launch", "supervisor/limits"},
    "manifest": {"supervisor/base", "supervisor/checker"},
    "preload": set(),
    "tools/harness": {"supervisor/base", "supervisor/audit", "manifest"},
    "tools/secbox": None,  # anything
    "tools/gen": None,
}
# decide() and the manifest reader are given values: no header that reaches the kernel.
PURE = ("supervisor/checker",)
KERNEL_HEADERS = re.compile(r"#include <(fcntl|unistd|sys/(?!types\.h)[a-z_/]+|linux/[a-z_]+|dirent|pthread|signal|time)\.h>"
                            r"|#include <(chrono|fstream|iostream|filesystem|thread|mutex)>")


def sources():
    for folder in MAY_INCLUDE:
        for path in sorted((ROOT / folder).glob("*")):
            if path.suffix in (".h", ".cpp"):
                yield folder, path.relative_to(ROOT), path.read_text()


class Layers(unittest.TestCase):
    def test_includes_point_downward(self):
        for folder, path, text in sources():
            allowed = MAY_INCLUDE[folder]
            for include in re.findall(r'#include "([^"]+)/[^/"]+"', text):
                if include == folder or allowed is None:
                    continue
                self.assertIn(include, allowed, f"{path} includes {include}")

    def test_every_folder_is_listed(self):
        for path in sorted(ROOT.glob("supervisor/*")):
            if path.is_dir() and any(path.glob("*.cpp")):
                self.assertIn(str(path.relative_to(ROOT)), MAY_INCLUDE)

    def test_checker_is_pure(self):
        for folder, path, text in sources():
            if folder in PURE:
                self.assertIsNone(KERNEL_HEADERS.search(text), f"{path} includes a header of the kernel or a clock")

    def test_one_place_lets_the_kernel_go_on(self):
        """The flag is used by the listener alone, and the listener's answer only by the pipeline and the exec verifier,
        which take a Continue with its label."""
        for folder, path, text in sources():
            if str(path) != "supervisor/sys/notify_fd.cpp":
                self.assertNotIn("SECCOMP_USER_NOTIF_FLAG_CONTINUE", text, path)
            if str(path) not in ("supervisor/sys/notify_fd.cpp", "supervisor/sys/notify_fd.h",
                                 "supervisor/broker/pipeline.cpp", "supervisor/broker/exec_verifier.cpp"):
                self.assertNotIn("reply_continue", text, path)
            for label in re.findall(r"\bContinue\{(.*?)\}", text):
                self.assertRegex(label, r"^ContinueSafety::\w+$", path)

    def test_raw_kernel_interfaces_stay_in_sys(self):
        for folder, path, text in sources():
            if folder.startswith("supervisor/") and folder != "supervisor/sys":
                self.assertIsNone(re.search(r"\bioctl\(", text), f"{path}: raw ioctl")

    def test_only_session_and_command_line_print(self):
        """launch may, in the process that is about to become the plugin and has nobody else to tell."""
        for folder, path, text in sources():
            if folder in ("supervisor/session", "supervisor/launch", "tools/secbox", "tools/gen"):
                continue
            self.assertIsNone(re.search(r"\b(std::cerr|std::cout|printf\(|fprintf\(|fputs\(|perror\()", text), path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
