// What an ELF file says of itself, for attribution: build id, and which function an address belongs to. The
// file is the plugin's: everything in it may be a lie, and every number is checked before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace secbox::sys {

class ModuleImage {
 public:
  // Reads `fd`, a regular file, with pread(2): it may shrink meanwhile. What cannot be read, is no ELF file
  // of 64 bits or is too large (65,536 symbols, 4 MiB of names) is left out.
  enum class Symbols : std::uint8_t { None, Functions };
  [[nodiscard]] static ModuleImage read(int fd, Symbols symbols = Symbols::Functions);

  // In lower-case hexadecimal digits; "" where the file names none.
  [[nodiscard]] const std::string& build_id() const { return build_id_; }
  // The address of the file's byte at `file_offset` in the module's own numbering, as nm(1) and addr2line(1)
  // use it; the offset itself where no segment holds it.
  [[nodiscard]] std::uint64_t address_of(std::uint64_t file_offset) const;
  // The function that holds `address` (of the module's own numbering), as the symbol table spells it; "" for
  // none.
  [[nodiscard]] std::string_view function_at(std::uint64_t address) const;

  // What it takes of memory, about.
  [[nodiscard]] std::size_t bytes() const {
    return names_.capacity() + symbols_.capacity() * sizeof(Symbol) + segments_.capacity() * sizeof(Segment);
  }
  void drop_symbols() {
    names_ = {};
    symbols_ = {};
  }

 private:
  struct Segment {
    std::uint64_t offset, size, address;
  };
  struct Symbol {
    std::uint64_t address;
    std::uint32_t size, name;
  };
  friend class ImageReader;

  std::vector<Segment> segments_;
  std::vector<Symbol> symbols_;  // by address
  std::string names_;
  std::string build_id_;
};

}  // namespace secbox::sys
