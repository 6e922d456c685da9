// Whatever a file of the plugin's says of itself as an ELF file: what is read of it is bounded, and within
// it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "supervisor/base/unique_fd.h"
#include "supervisor/sys/module_image.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using secbox::fuzz::require;
  const secbox::UniqueFd file(::memfd_create("module", MFD_CLOEXEC));
  require(::write(file.get(), data, size) == static_cast<ssize_t>(size), "the file is there");
  const auto image = secbox::sys::ModuleImage::read(file.get());
  require(image.build_id().size() <= 128, "as many digits as a build id has");
  for (std::uint64_t offset = 0; offset < size; offset += 1 + size / 16) {
    const std::string_view name = image.function_at(image.address_of(offset));
    require(name.size() <= size && name.find('\0') == std::string_view::npos, "a name of the file's");
  }
  (void)image.function_at(UINT64_MAX);
  return 0;
}
