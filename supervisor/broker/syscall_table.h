// The list: one row for every syscall that the kernel headers know, and the newer ones up to Linux 7.0.
// The BPF program, the dispatch and docs/syscall-coverage.md all come from it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace secbox::broker {

enum class Architecture : std::uint8_t { X86_64, Aarch64 };
#if defined(__x86_64__)
inline constexpr Architecture kNative = Architecture::X86_64;
#elif defined(__aarch64__)
inline constexpr Architecture kNative = Architecture::Aarch64;
#else
#error "secbox is for x86_64 and aarch64"
#endif

enum class CallClass : std::uint8_t {
  Allow,  // the kernel does it; nothing outside the plugin's own processes and descriptors can be reached by
          // it
  Mediate,  // notified; `handler` decides
  Refuse,   // notified, recorded and answered with `deny_errno`; in audit mode recorded and let through
  Absent,   // answered with `deny_errno` by BPF alone, silently: the caller is expected to fall back (clone3)
  Argument,  // BPF looks at register arguments first, see argument_rules.h: what they do not settle goes the
             // way of `handler`
};

enum class Handler : std::uint8_t {
  None,
  Open,
  Openat,
  Openat2,
  Creat,
  Exec,
  Execveat,
  Unlink,
  Rmdir,
  Rename,
  Link,
  Symlink,
  Mkdir,
  Mknod,
  Chmod,
  Chown,
  Truncate,
  Utimes,
  Xattr,
  Fchmod,
  Fchown,
  Fxattr,  // by descriptor
  InotifyAddWatch,
  Connect,
  Bind,
  Listen,
  Sendto,
  Sendmsg,
  Sendmmsg,
  ProcessTarget,  // signals, priorities, limits, affinity of a process named by number
  ProcessGroup,   // setpgid
  MapExec,        // mmap with PROT_EXEC of a file
  Prctl,          // the shim announces itself (a private option)
  CredChange,     // setuid family, capset, setgroups: noted, so that later calls act with the thread's own
                  // identity
  ExitGroup,      // the session ends before the host sees the first process go
  Refused,        // a Refuse row, or the refused arguments of an Argument row
};

struct SyscallRow {
  std::string_view name;
  int number_x86_64;  // -1 = not on this architecture
  int number_aarch64;
  CallClass call_class;
  Handler handler;
  std::string_view operation;  // what the record calls it: "open", "unlink", "connect", "mount", ...
  int deny_errno;              // for Refuse and Absent; refused arguments have their own
  std::string_view note;       // reason, and the honest limitation
};

[[nodiscard]] std::span<const SyscallRow> syscall_table();
// The row of a number on the architecture this was built for; null where the table does not know it.
[[nodiscard]] const SyscallRow* find_syscall(int number);
// The number of the row, -1 where the architecture has none.
[[nodiscard]] constexpr int number_on(Architecture architecture, const SyscallRow& row) {
  return architecture == Architecture::X86_64 ? row.number_x86_64 : row.number_aarch64;
}
[[nodiscard]] constexpr int native_number(const SyscallRow& row) { return number_on(kNative, row); }

// The private prctl(2) option by which the shim says that it was loaded; the kernel itself answers EINVAL to
// it.
inline constexpr std::uint32_t kHelloPrctl = 0x53424f58;  // "SBOX"

}  // namespace secbox::broker
