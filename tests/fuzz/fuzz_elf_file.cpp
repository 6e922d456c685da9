// Whatever a file holds that a program is to be started from: reading it ends, and the loader that it names
// is in it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "supervisor/base/unique_fd.h"
#include "supervisor/sys/elf_file.h"
#include "supervisor/sys/target_memory.h"
#include "tests/fuzz/require.h"

using namespace secbox;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const UniqueFd file(::memfd_create("elf", MFD_CLOEXEC));
  require(
      ::ftruncate(file.get(), 0) == 0 && ::pwrite(file.get(), data, size, 0) == static_cast<ssize_t>(size),
      "the file can be made");
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  constexpr std::size_t kHeadSize = 256;
  const sys::ElfFile elf = sys::read_elf(file.get(), content.substr(0, kHeadSize));
  require(elf.is_native || (elf.loader.empty() && !elf.has_go_note), "what is no ELF file says nothing");
  require(elf.loader.size() <= sys::kMaxPath, "no longer than a path");
  require(content.find(elf.loader) != std::string_view::npos, "from the file");
  require(elf.loader.find('\0') == std::string_view::npos, "a name");
  require(!elf.has_go_note || content.find(std::string_view("Go\0\0", 4)) != std::string_view::npos,
          "from the file");
  return 0;
}
