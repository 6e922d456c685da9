"""Files that would be a privilege are not made: device nodes, set-user-ID and set-group-ID bits, file capabilities.

Every route is taken by a plugin that may do everything else; what counts is what lies in the directory afterwards.
"""

import os
import stat

import sbx

PLUGIN = r"""
import ctypes, os, socket, stat, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
os.umask(0)
os.chdir(sys.argv[1])
here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
numbers = {"creat": 85, "mknod": 133, "fchmodat": 268, "setxattr": 188, "lsetxattr": 189, "chmod": 90}
if os.uname().machine != "x86_64":
    numbers = {"fchmodat": 53, "setxattr": 5, "lsetxattr": 6}
OPENAT2, FCHMODAT2, SETXATTRAT, EMPTY_PATH = 437, 452, 463, 0x1000

def syscall(number, *arguments):
    done = libc.syscall(ctypes.c_long(number), *[argument if isinstance(argument, (bytes, ctypes.Structure)) else
                                                 ctypes.c_long(argument) for argument in arguments])
    if done < 0:
        raise OSError(ctypes.get_errno(), "")
    return done

def file(name):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o755))
    return name

capability = struct.pack("<IIIII", 0x02000001, 1 << 21, 0, 0, 0)

def socket_file(name):
    with socket.socket(socket.AF_UNIX) as end:
        os.fchmod(end.fileno(), 0o4755)
        end.bind(name)

def unnamed(name, mode):
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY, mode)
    os.fchmod(fd, 0o4755)
    libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, name.encode(), 0x400)  # AT_FDCWD, AT_SYMLINK_FOLLOW

def by_open_how(name, mode):
    how = struct.pack("<QQQ", os.O_CREAT | os.O_WRONLY, mode, 0)
    os.close(syscall(OPENAT2, here, name, how, len(how)))

def by_struct(name):
    value = ctypes.create_string_buffer(capability)
    args = struct.pack("<QII", ctypes.addressof(value), len(capability), 0)
    syscall(SETXATTRAT, here, name, 0, b"security.capability", args, len(args))

acts = {
    "chr": lambda n: os.mknod(n, stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    "blk": lambda n: os.mknod(n, stat.S_IFBLK | 0o666, os.makedev(7, 0)),
    "chr-at": lambda n: os.mknod(n, stat.S_IFCHR | 0o666, os.makedev(0, 0), dir_fd=here),
    "whiteout": lambda n: libc.renameat2(here, file(n).encode(), here, b"moved-" + n.encode(), 4),
    "mknod-file": lambda n: os.mknod(n, stat.S_IFREG | 0o4755),
    "mknod-none": lambda n: os.mknod(n, 0o6755),
    "mknod-fifo": lambda n: os.mknod(n, stat.S_IFIFO | 0o4755),
    "open": lambda n: os.open(n, os.O_CREAT | os.O_WRONLY, 0o4755),
    "open-group": lambda n: os.open(n, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o2755),
    "openat": lambda n: os.open(n, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o4755, dir_fd=here),
    "openat2": lambda n: by_open_how(n.encode(), 0o4755),
    "tmpfile": lambda n: unnamed(n, 0o4755),
    "tmpfile-fchmod": lambda n: unnamed(n, 0o755),
    "chmod": lambda n: os.chmod(file(n), 0o4755),
    "chmod-group": lambda n: os.chmod(file(n), 0o2755),
    "chmod-link": lambda n: os.chmod(f"/proc/self/fd/{os.open(file(n), os.O_RDONLY)}", 0o4755),
    "fchmod": lambda n: os.fchmod(os.open(file(n), os.O_RDONLY), 0o6755),
    "fchmodat": lambda n: syscall(numbers["fchmodat"], here, file(n).encode(), 0o4755),
    "fchmodat2": lambda n: syscall(FCHMODAT2, here, file(n).encode(), 0o4755, 0),
    "fchmodat2-handle": lambda n: syscall(FCHMODAT2, os.open(file(n), os.O_PATH), b"", 0o4755, EMPTY_PATH),
    "socket": socket_file,
    "setxattr": lambda n: os.setxattr(file(n), "security.capability", capability),
    "lsetxattr": lambda n: os.setxattr(file(n), "security.capability", capability, follow_symlinks=False),
    "fsetxattr": lambda n: os.setxattr(os.open(file(n), os.O_RDWR), "security.capability", capability),
    "setxattrat": lambda n: by_struct(file(n).encode()),
}
if "creat" in numbers:
    acts["creat"] = lambda n: syscall(numbers["creat"], n.encode(), 0o4755)
    acts["mknod-raw"] = lambda n: syscall(numbers["mknod"], n.encode(), stat.S_IFREG | 0o4755, 0)
for name, act in acts.items():
    try:
        act(name)
    except OSError:
        pass
print("done", len(acts))
"""


def privileges(directory):
    found = {}
    for entry in os.scandir(directory):
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            found[entry.name] = "device"
        elif info.st_mode & 0o6000 and not stat.S_ISDIR(info.st_mode):
            found[entry.name] = oct(info.st_mode)
        elif stat.S_ISREG(info.st_mode) and "security.capability" in os.listxattr(entry.path):
            found[entry.name] = "capability"
    return found


class PrivilegedFiles(sbx.BoxTest):
    def fresh(self, name, uid):
        path = self.dir / name
        path.mkdir()
        if uid is not None:
            os.chown(path, uid, uid)
        return str(path)

    def test_none_is_made(self):
        for uid in self.each_user():
            command = ["/usr/bin/python3", "-c", PLUGIN]
            native = self.fresh(f"native-{uid}", uid)
            done = self.run_native([*command, native], uid)
            self.assertTrue(done.stdout.startswith(b"done"), done.stderr)
            made = privileges(native)
            # Natively nearly every route leads there: all of them for root.
            least = {"mknod-file", "open", "openat", "openat2", "tmpfile", "chmod", "chmod-group", "fchmod", "fchmodat"}
            if uid is None and os.geteuid() == 0:
                least |= {"chr", "blk", "chr-at", "setxattr", "lsetxattr", "fsetxattr"}
            self.assertLessEqual(least, set(made))
            boxed = self.fresh(f"boxed-{uid}", uid)
            done = self.run_box(sbx.EVERYTHING, [*command, boxed], ["--quiet"], uid)
            self.assertTrue(done.stdout.startswith(b"done"), done.stderr)
            self.assertEqual(privileges(boxed), {})
            self.assertIn("chmod", os.listdir(boxed))
            self.assertLessEqual({"protected:setid-bit", "protected:device-node", "protected:file-capability"},
                                 {record["rule"]["id"] for record in done.denials() if record.get("rule")})


if __name__ == "__main__":
    sbx.main()
