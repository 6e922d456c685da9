#include "supervisor/sys/module_image.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "supervisor/base/unique_fd.h"
#include "supervisor/sys/module_mapping.h"

namespace secbox::sys {
namespace {

UniqueFd opened(const std::string& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }

// The C library is there, has a build id, and its dynamic symbols name what it offers.
struct Libc {
  std::string path;
  std::uint64_t base = 0;
  Libc() {
    Dl_info info{};
    EXPECT_NE(::dladdr(reinterpret_cast<void*>(&::getppid), &info), 0);
    path = std::filesystem::canonical(info.dli_fname);
    base = reinterpret_cast<std::uint64_t>(info.dli_fbase);
  }
};

TEST(ModuleImage, NamesTheFunctionThatAnAddressIsIn) {
  const Libc libc;
  const ModuleImage image = ModuleImage::read(opened(libc.path).get());
  EXPECT_GE(image.build_id().size(), 32U);
  EXPECT_EQ(image.build_id().find_first_not_of("0123456789abcdef"), std::string::npos);
  const std::uint64_t address = reinterpret_cast<std::uint64_t>(&::getppid) - libc.base;
  EXPECT_EQ(image.function_at(address), "getppid");
  EXPECT_EQ(image.function_at(address + 1), "getppid");
  EXPECT_EQ(image.function_at(UINT64_MAX), "");
  EXPECT_EQ(image.function_at(0), "");
}

TEST(ModuleImage, AMappingLeadsToTheFilesOwnNumbering) {
  const Libc libc;
  const auto proc = Procfs::open();
  ASSERT_TRUE(proc);
  ModuleMapping mapping;
  const auto address = reinterpret_cast<std::uint64_t>(&::getppid);
  ASSERT_EQ(find_module(*proc, ::getpid(), address, mapping), 0);
  EXPECT_EQ(mapping.path, libc.path);
  const ModuleImage image = ModuleImage::read(opened(libc.path).get());
  EXPECT_EQ(image.address_of(address - mapping.start + mapping.file_offset), address - libc.base);
  struct stat st{};
  ASSERT_EQ(::stat(libc.path.c_str(), &st), 0);
  EXPECT_EQ(mapping.ino, st.st_ino);
}

TEST(ModuleMapping, WhatIsNoFilesCodeIsNothing) {
  const auto proc = Procfs::open();
  ASSERT_TRUE(proc);
  ModuleMapping mapping;
  int on_stack = 0;
  EXPECT_EQ(find_module(*proc, ::getpid(), reinterpret_cast<std::uint64_t>(&on_stack), mapping), ENOENT);
  EXPECT_EQ(find_module(*proc, ::getpid(), 0, mapping), ENOENT);
  EXPECT_EQ(find_module(*proc, ::getpid(), UINT64_MAX, mapping), ENOENT);
  void* code = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(code, MAP_FAILED);
  EXPECT_EQ(find_module(*proc, ::getpid(), reinterpret_cast<std::uint64_t>(code), mapping), ENOENT);
  ::munmap(code, 4096);
}

TEST(ModuleMapping, ADeletedFileKeepsItsName) {
  const auto proc = Procfs::open();
  ASSERT_TRUE(proc);
  std::string name = (std::filesystem::temp_directory_path() / "secbox-module-XXXXXX").string();
  const UniqueFd file(::mkstemp(name.data()));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  void* code = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file.get(), 0);
  ASSERT_NE(code, MAP_FAILED);
  ASSERT_EQ(::unlink(name.c_str()), 0);
  ModuleMapping mapping;
  EXPECT_EQ(find_module(*proc, ::getpid(), reinterpret_cast<std::uint64_t>(code), mapping), 0);
  EXPECT_EQ(mapping.path, name);
  ::munmap(code, 4096);
}

TEST(ModuleImage, WhatIsNoElfFileSaysNothing) {
  for (const char* path : {"/etc/passwd", "/dev/null", "/proc/self/maps"}) {
    const ModuleImage image = ModuleImage::read(opened(path).get());
    EXPECT_EQ(image.build_id(), "") << path;
    EXPECT_EQ(image.address_of(5), 5U) << path;
    EXPECT_EQ(image.function_at(5), "") << path;
  }
  EXPECT_EQ(ModuleImage::read(-1).function_at(0), "");
}

TEST(ModuleImage, ADamagedFileDoesNoHarm) {
  std::ifstream own("/proc/self/exe", std::ios::binary);
  std::string bytes(1U << 20, '\0');
  own.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::string damaged = bytes.substr(0, round % 2 == 0 ? bytes.size() : random() % bytes.size());
    for (int i = 0; i < 8 && damaged.size() > 2048; ++i)
      damaged[16 + random() % 2000] = static_cast<char>(random());  // the headers, behind the magic number
    const UniqueFd file(::memfd_create("damaged", MFD_CLOEXEC));
    ASSERT_EQ(::write(file.get(), damaged.data(), damaged.size()), static_cast<ssize_t>(damaged.size()));
    const ModuleImage image = ModuleImage::read(file.get());
    for (std::uint64_t address = 0; address < bytes.size(); address += 4097)
      EXPECT_LE(image.function_at(image.address_of(address)).size(), 1024U);
  }
}

}  // namespace
}  // namespace secbox::sys
