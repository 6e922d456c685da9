// The shim's way into a new program: while the exec verifier holds it before its first instruction,
// LD_PRELOAD is put on its stack. What the program was given stays what the kernel tells of it
// (/proc/<pid>/environ), and an empty environment keeps nobody from it. Nothing that is decided depends on
// it, and a program that cannot take the shim runs without.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "supervisor/sys/elf_file.h"

namespace secbox::broker {

class Services;

// Whether a program was given the shim. `why`: a word of the log (docs/audit.md) for why not, or for what the
// shim will not see of a program that has it; "" = nothing is to be said.
struct ShimGiven {
  bool injected = false;
  std::string_view why;
};

inline constexpr std::string_view kNotVerified = "not-verified";

// `process` is stopped by the calling thread at PTRACE_EVENT_EXEC. `file` is what it executes, `name` its
// canonical name.
[[nodiscard]] ShimGiven inject_shim(Services& services, pid_t process, const sys::ElfFile& file,
                                    std::string_view name);

// Of a file that the loader would be told to load: LD_PRELOAD cannot name every path.
[[nodiscard]] bool can_be_preloaded(std::string_view path);

}  // namespace secbox::broker
