#include <cstdint>

#include "tests/fuzz/manifest_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  secbox::fuzz::check_manifest(secbox::manifest::Format::Toml, {reinterpret_cast<const char*>(data), size});
  return 0;
}
