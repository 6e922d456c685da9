#include "supervisor/sys/elf_file.h"

#include <elf.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "supervisor/sys/target_memory.h"

namespace secbox::sys {

namespace {

constexpr std::size_t kMaxHeaders = 65536 / sizeof(Elf64_Phdr);
constexpr int kMaxNotes = 8;  // segments; more than a compiler makes
constexpr std::size_t kMaxNoteSize = 4096;

bool read_exactly(int fd, void* out, std::size_t size, std::uint64_t at) {
  return ::pread(fd, out, size, static_cast<off_t>(at)) == static_cast<ssize_t>(size);
}

constexpr std::size_t padded(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

// The Go linker's note with the build's id, which is in every program that it made: name "Go".
bool holds_go_note(std::string_view notes) {
  constexpr std::string_view kName("Go\0\0", 4);
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note;
    std::memcpy(&note, notes.data(), sizeof note);
    notes.remove_prefix(sizeof note);
    const std::size_t name = padded(note.n_namesz);
    if (notes.substr(0, note.n_namesz) == kName) return true;
    const std::size_t rest = name + padded(note.n_descsz);
    if (rest > notes.size()) return false;
    notes.remove_prefix(rest);
  }
  return false;
}

bool segment_holds_go_note(int fd, const Elf64_Phdr& segment) {
  std::array<char, kMaxNoteSize> notes;
  const std::size_t size = std::min<std::uint64_t>(segment.p_filesz, notes.size());
  return read_exactly(fd, notes.data(), size, segment.p_offset) &&
         holds_go_note(std::string_view(notes.data(), size));
}

}  // namespace

ElfFile read_elf(int fd, std::string_view head) {
  ElfFile file;
  Elf64_Ehdr header;
  if (head.size() < sizeof header || std::memcmp(head.data(), ELFMAG, SELFMAG) != 0) return file;
  std::memcpy(&header, head.data(), sizeof header);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMaxHeaders) return file;
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  if (!read_exactly(fd, segments.data(), segments.size() * sizeof(Elf64_Phdr), header.e_phoff)) return file;
  file.is_native = true;
  int notes = 0;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_NOTE && notes++ < kMaxNotes)
      file.has_go_note = file.has_go_note || segment_holds_go_note(fd, segment);
    if (segment.p_type != PT_INTERP || !file.loader.empty() || segment.p_filesz < 2 ||
        segment.p_filesz > kMaxPath)
      continue;
    std::string name(segment.p_filesz, '\0');
    if (!read_exactly(fd, name.data(), name.size(), segment.p_offset)) return {};
    name.resize(std::min(name.find('\0'), name.size()));
    file.loader = std::move(name);
  }
  return file;
}

}  // namespace secbox::sys
