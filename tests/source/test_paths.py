"""Names that a plugin can influence are looked up by openat2(2) from a pinned directory, or are one entry of one.

Whatever takes a whole path would be resolved anew, with the supervisor's rights, after it was judged.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("supervisor/broker", "supervisor/sys", "supervisor/session")

# Calls that take a path and no directory, and what C++ wraps them in.
BARE = re.compile(
    r"(?<!\w)(?:::|std::)(open|creat|fopen|freopen|opendir|scandir|nftw|ftw|fts_open|glob|stat|lstat|access|eaccess|chmod|"
    r"lchmod|chown|lchown|rename|unlink|remove|rmdir|mkdir|mknod|mkfifo|link|symlink|readlink|truncate|utime|utimes|"
    r"lutimes|setxattr|lsetxattr|getxattr|lgetxattr|removexattr|lremovexattr|realpath|canonicalize_file_name|chdir|chroot|"
    r"statfs|statvfs|inotify_add_watch|mkstemp|mkdtemp|tmpfile|execve|execv|execvp|posix_spawn|dlopen|"
    r"ifstream|ofstream|fstream|filesystem(?:::\w+)?)\b(?!::)")
# Calls that take a directory and a name: position of the name.
AT = re.compile(r"::(openat|fstatat|statx|faccessat|fchmodat|fchownat|unlinkat|mkdirat|mknodat|readlinkat|utimensat|"
                r"execveat|renameat|renameat2|linkat|symlinkat)\(|SYS_(openat2|fchmodat2|renameat2|utimensat|execveat),")
NAMES_AT = {"renameat": (1, 3), "renameat2": (1, 3), "linkat": (1, 3), "symlinkat": (2,)}

# One entry of a directory, or the descriptor itself.
ONE_ENTRY = (
    r'""', r'"[^"/]+"',
    r"(?:\w+\.)?leaf\.c_str\(\)", r"leaf_of\(\w+\)\.c_str\(\)",  # the last component of a pinned path
    r"entry->d_name", r"done\.name\.c_str\(\)",                  # as the directory itself calls it
)

# (file, a part of the call, why it may be): nothing more, and nothing that is not there.
BARE_ALLOWED = (
    ("broker/open.cpp", "::readlink(link.c_str()", "/sys/dev/char/<numbers of a device>"),
    ("broker/open.cpp", "::open(name.c_str(), O_PATH", "a terminal in /dev; its device number is compared before it is used"),
    ("broker/path_change.cpp", "::truncate(own_descriptor_path(", "/proc/self/fd/<number>: what is pinned"),
    ("broker/path_change.cpp", "::removexattr(own.c_str()", "/proc/self/fd/<number>: what is pinned"),
    ("broker/path_change.cpp", "::setxattr(own.c_str()", "/proc/self/fd/<number>: what is pinned"),
    ("broker/descriptor_change.cpp", "::inotify_add_watch(copy->get(), own_descriptor_path(", "/proc/self/fd/<number>"),
    ("sys/landlock.cpp", "::open(rule.path.c_str(), O_PATH", "set-up; and /proc/self/fd/<number> for bind(2)"),
    ("sys/path_resolver.cpp", '::open("/", O_PATH', "set-up: the root that is pinned"),
    ("sys/probe.cpp", "", "asks what the host can do; no plugin runs"),
    ("session/host_names.cpp", 'std::ifstream file("/etc/resolv.conf")', "set-up"),
    ("session/session.cpp", '::open("/dev/null"', "set-up"),
    ("session/session.cpp", '::chdir("/")', "set-up"),
    ("session/session.cpp", 'std::fopen("/proc/sys/kernel/yama/ptrace_scope"', "set-up"),
    ("session/supervisor.cpp", "::open(plan.status_file.c_str()", "set-up: --status-file, of the operator"),
    ("session/session.cpp", "::rmdir(plan.tmp_dir.c_str())", "a start that was refused: no plugin ever ran"),
    ("session/supervisor.cpp", '::open("/dev/tty"', "set-up: whether there is a terminal"),
    ("session/supervisor.cpp", "::open(plan.tmp_dir.substr(", "set-up: the parent of the private TMPDIR"),
)
AT_ALLOWED = (
    ("session/written_files.cpp", "SYS_openat2, AT_FDCWD", "an absolute name without links; only its size is looked at"),
    ("broker/open.cpp", "::fstatat(from, request.path.c_str()", "a hint only: openat2 without links opens and decides"),
    ("broker/open.cpp", "SYS_openat2, dir, path", "open_how_at: its limits come from its caller"),
    ("broker/descriptor_change.cpp", "own_descriptors(), name.data()", "/proc/self/fd, <number>"),
    ("broker/path_change.cpp", "own_descriptors(), name.data()", "/proc/self/fd, <number>"),
    ("sys/target.cpp", "::openat(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY", "/proc, <pid>/task and <pid>/fd"),
    ("sys/path_resolver.cpp", "SYS_openat2, dir, name", "open_beneath: links are followed by hand"),
    ("sys/path_resolver.cpp", '::openat(proc.root(), "sys/fs/protected_symlinks"', "/proc"),
    ("sys/remove_tree.cpp", "SYS_openat2, dir, name", "open_below: no links, no mount points"),
    ("sys/remove_tree.cpp", "::fchmodat(AT_FDCWD", "/proc/self/fd/<number>: what is pinned"),
    ("sys/target.cpp", "::readlinkat(dir, name", "link_text: in /proc"),
    ("sys/target.cpp", "::openat(dir, name, flags", "open_at: in /proc, and /proc itself"),
    ("sys/target.cpp", "SYS_openat2, dir, name", "open_without_links: the kernel's own name of an object"),
    ("sys/target.cpp", "proc_name(", "/proc, <pid>/<entry>"),
    ("sys/target.cpp", '(std::string("self/") + name)', "/proc"),
    ("sys/target.cpp", "::openat(own_fds_.get(), name.data()", "/proc/self/fd, <number>"),
    ("sys/probe.cpp", "", "asks what the host can do; no plugin runs"),
    ("session/supervisor.cpp", "::openat(self->tmp_parent_.get(), self->tmp_leaf_.c_str()", "set-up: the private TMPDIR"),
)


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*")):
            if path.suffix in (".h", ".cpp"):
                text = re.sub(r"//[^\n]*", "", path.read_text())
                yield str(path.relative_to(ROOT / "supervisor")), text


def call_at(text, start):
    """The text of the call whose parenthesis opens at or after `start`, and its arguments."""
    begin = text.index("(", start)
    depth = 0
    arguments = [""]
    quoted = False
    for at in range(begin, len(text)):
        char = text[at]
        if char == '"' and text[at - 1] != "\\":
            quoted = not quoted
        if not quoted:
            depth += char in "([{"
            depth -= char in ")]}"
            if depth == 0:
                return text[start:at + 1], [argument.strip() for argument in arguments]
            if char == "," and depth == 1:
                arguments.append("")
                continue
        if at > begin:
            arguments[-1] += char
    raise ValueError("no end of the call")


class Paths(unittest.TestCase):
    def check(self, found, allowed):
        """`found` is a list of (file, call); each must be allowed, and each permission used."""
        used = set()
        for file, call in found:
            call = re.sub(r"\s+", " ", call)
            reasons = [entry for entry in allowed if entry[0] == file and entry[1] in call]
            self.assertTrue(reasons, f"supervisor/{file}: {call}")
            used.update(reasons)
        self.assertEqual(set(allowed) - used, set(), "allowed, but not there (any more)")

    def test_no_call_takes_a_whole_path(self):
        found = []
        for file, text in sources():
            for match in BARE.finditer(text):
                found.append((file, text[match.start():match.start() + 120]))
        self.check(found, BARE_ALLOWED)

    def test_calls_at_a_directory_name_one_entry(self):
        found = []
        for file, text in sources():
            for match in AT.finditer(text):
                raw = match.group(2) is not None
                start = text.rindex("(", 0, match.start()) if raw else match.start()
                call, arguments = call_at(text, start)
                if raw:
                    arguments = arguments[1:]
                for position in NAMES_AT.get(match.group(1) or match.group(2), (1,)):
                    name = arguments[position]
                    directory = arguments[position - 1]
                    if directory != "AT_FDCWD" and any(re.fullmatch(form, name) for form in ONE_ENTRY):
                        continue
                    found.append((file, call))
        self.check(found, AT_ALLOWED)

    def test_the_working_directory_is_no_ones_base(self):
        """AT_FDCWD is the plugin's word for its own directory: only decoded here, never looked up from."""
        for file, text in sources():
            for match in re.finditer(r"::\w+at2?\(AT_FDCWD|SYS_\w+, AT_FDCWD|open_\w+\(AT_FDCWD", text):
                call = text[match.start():match.start() + 60]
                self.assertIn((file, match.group(0)), {
                    ("sys/remove_tree.cpp", "::fchmodat(AT_FDCWD"),  # /proc/self/fd/<number>
                    ("sys/target.cpp", "open_at(AT_FDCWD"),          # /proc, at set-up
                    ("sys/probe.cpp", "SYS_openat2, AT_FDCWD"),
                    ("session/written_files.cpp", "SYS_openat2, AT_FDCWD"),  # an absolute name
                }, call)


if __name__ == "__main__":
    unittest.main(verbosity=2)
