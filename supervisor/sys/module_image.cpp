#include "supervisor/sys/module_image.h"

#include <elf.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <tuple>

namespace secbox::sys {

namespace {

constexpr std::size_t kMostSegments = 256;
constexpr std::size_t kMostSections = 4096;
constexpr std::uint64_t kMostSymbols = 65536;
constexpr std::uint64_t kMostNames = 4U << 20;
constexpr std::uint64_t kMostNotes = 64U << 10;
constexpr std::size_t kMostBuildId = 64;
constexpr std::size_t kLongestName = 1024;

constexpr std::size_t padded(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

}  // namespace

class ImageReader {
 public:
  ImageReader(int fd, ModuleImage& image) : fd_(fd), image_(image) {}

  void read(ModuleImage::Symbols symbols) {
    if (!read_at(0, std::as_writable_bytes(std::span(&header_, 1))) ||
        std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0 || header_.e_ident[EI_CLASS] != ELFCLASS64 ||
        header_.e_ident[EI_DATA] != ELFDATA2LSB)
      return;
    read_segments();
    if (symbols == ModuleImage::Symbols::Functions) read_symbols();
  }

 private:
  [[nodiscard]] bool read_at(std::uint64_t offset, std::span<std::byte> out) const {
    if (offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()) - out.size()) return false;
    return ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(out.size());
  }

  template <typename Entry>
  [[nodiscard]] std::vector<Entry> read_table(std::uint64_t offset, std::size_t count) const {
    std::vector<Entry> table(count);
    if (!read_at(offset, std::as_writable_bytes(std::span(table)))) table.clear();
    return table;
  }

  void read_segments() {
    if (header_.e_phentsize != sizeof(Elf64_Phdr) || header_.e_phnum > kMostSegments) return;
    for (const Elf64_Phdr& segment : read_table<Elf64_Phdr>(header_.e_phoff, header_.e_phnum)) {
      if (segment.p_type == PT_LOAD)
        image_.segments_.push_back({segment.p_offset, segment.p_filesz, segment.p_vaddr});
      if (segment.p_type == PT_NOTE && image_.build_id_.empty() && segment.p_filesz <= kMostNotes)
        read_notes(segment.p_offset, segment.p_filesz);
    }
  }

  void read_notes(std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> notes(size);
    if (!read_at(offset, notes)) return;
    for (std::size_t at = 0; at + sizeof(Elf64_Nhdr) <= size;) {
      Elf64_Nhdr note;
      std::memcpy(&note, notes.data() + at, sizeof note);
      at += sizeof note;
      if (note.n_namesz > size || note.n_descsz > size) return;
      const std::size_t description = at + padded(note.n_namesz);
      if (description + note.n_descsz > size) return;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz <= kMostBuildId &&
          std::memcmp(notes.data() + at, ELF_NOTE_GNU, 4) == 0) {
        constexpr char kHex[] = "0123456789abcdef";
        for (const std::byte byte : std::span(notes).subspan(description, note.n_descsz)) {
          image_.build_id_ += kHex[std::to_integer<unsigned>(byte) >> 4U];
          image_.build_id_ += kHex[std::to_integer<unsigned>(byte) & 15U];
        }
        return;
      }
      at = description + padded(note.n_descsz);
    }
  }

  // The full table where it is there and not too large, else the dynamic one.
  void read_symbols() {
    if (header_.e_shentsize != sizeof(Elf64_Shdr) || header_.e_shnum > kMostSections) return;
    const auto sections = read_table<Elf64_Shdr>(header_.e_shoff, header_.e_shnum);
    for (const Elf64_Word type : {Elf64_Word{SHT_SYMTAB}, Elf64_Word{SHT_DYNSYM}}) {
      const auto table = std::ranges::find(sections, type, &Elf64_Shdr::sh_type);
      if (table == sections.end() || table->sh_link >= sections.size()) continue;
      const Elf64_Shdr& names = sections[table->sh_link];
      const std::uint64_t count = table->sh_size / sizeof(Elf64_Sym);
      if (count == 0 || count > kMostSymbols || names.sh_size == 0 || names.sh_size > kMostNames) continue;
      const auto symbols = read_table<Elf64_Sym>(table->sh_offset, count);
      image_.names_.resize(names.sh_size);
      if (symbols.empty() || !read_at(names.sh_offset, std::as_writable_bytes(std::span(image_.names_)))) {
        image_.names_.clear();
        continue;
      }
      keep_functions(symbols);
      return;
    }
  }

  void keep_functions(const std::vector<Elf64_Sym>& symbols) {
    for (const Elf64_Sym& symbol : symbols) {
      const unsigned type = ELF64_ST_TYPE(symbol.st_info);
      if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF ||
          symbol.st_name == 0 || symbol.st_name >= image_.names_.size())
        continue;
      const auto size = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(symbol.st_size, std::numeric_limits<std::uint32_t>::max()));
      image_.symbols_.push_back({symbol.st_value, size, symbol.st_name});
    }
    // Of several names of one function the largest, then the first by name, comes last: see function_at().
    std::ranges::sort(image_.symbols_, [](const auto& a, const auto& b) {
      return std::tie(a.address, a.size, b.name) < std::tie(b.address, b.size, a.name);
    });
    image_.symbols_.shrink_to_fit();
  }

  int fd_;
  ModuleImage& image_;
  Elf64_Ehdr header_{};
};

ModuleImage ModuleImage::read(int fd, Symbols symbols) {
  ModuleImage image;
  ImageReader(fd, image).read(symbols);
  return image;
}

std::uint64_t ModuleImage::address_of(std::uint64_t file_offset) const {
  for (const Segment& segment : segments_) {
    if (file_offset >= segment.offset && file_offset - segment.offset < segment.size)
      return segment.address + (file_offset - segment.offset);
  }
  return file_offset;
}

std::string_view ModuleImage::function_at(std::uint64_t address) const {
  auto found = std::ranges::upper_bound(symbols_, address, {}, &Symbol::address);
  if (found == symbols_.begin()) return {};
  --found;
  // A size of 0 is what assembler code says: up to the next one.
  if (found->size != 0 && address - found->address >= found->size) return {};
  const std::string_view rest = std::string_view(names_).substr(found->name, kLongestName);
  return rest.substr(0, rest.find('\0'));
}

}  // namespace secbox::sys
