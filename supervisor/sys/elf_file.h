// What an ELF file says of how it is to be started: read with pread(2) into bounded copies. The file is the
// plugin's, and anything may stand in it.
#pragma once

#include <string>
#include <string_view>

namespace secbox::sys {

struct ElfFile {
  bool is_native = false;  // program headers as the kernel takes them for this machine's 64-bit programs
  std::string loader{};    // PT_INTERP; "" where it has none: static
  bool has_go_note = false;
};

// `head` is the file's beginning, a whole header's size at least where it is to be an ELF file. No stricter
// than fs/binfmt_elf.c, which looks at no EI_CLASS and takes 64 KiB of program headers: a loader that is
// passed over here would be loaded unjudged.
[[nodiscard]] ElfFile read_elf(int fd, std::string_view head);

}  // namespace secbox::sys
