#include "supervisor/sys/module_mapping.h"

#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "supervisor/sys/procmap_query.h"

namespace secbox::sys {

namespace {

constexpr std::string_view kDeleted = " (deleted)";

void set_path(std::string_view text, std::string& out) {
  if (text.ends_with(kDeleted)) text.remove_suffix(kDeleted.size());
  out = text;
}

// Asks for the one mapping. ENOTTY: this kernel does not know the question.
int query(int maps, std::uint64_t address, ModuleMapping& out) {
  std::array<char, 4096> name{};
  ProcmapQuery query{};
  query.size = sizeof query;
  query.query_flags = kQueryExecutable | kQueryFileBacked;
  query.query_addr = address;
  query.vma_name_addr = reinterpret_cast<std::uintptr_t>(name.data());
  query.vma_name_size = static_cast<std::uint32_t>(name.size());
  if (::ioctl(maps, kProcmapQuery, &query) != 0) return errno;
  out = {.start = query.vma_start,
         .end = query.vma_end,
         .file_offset = query.vma_offset,
         .dev = ::makedev(query.dev_major, query.dev_minor),
         .ino = static_cast<ino_t>(query.inode),
         .path = {}};
  set_path({name.data(), ::strnlen(name.data(), name.size())}, out.path);
  return 0;
}

int search(std::string_view text, std::uint64_t address, ModuleMapping& out) {
  while (!text.empty()) {
    const std::string line(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint64_t offset = 0;
    std::uint64_t ino = 0;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    std::array<char, 5> rights{};
    int path_at = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %lx %x:%x %lu %n", &start, &end, rights.data(), &offset,
                    &major_number, &minor_number, &ino, &path_at) != 7)
      continue;
    if (address < start || address >= end) continue;
    if (rights[2] != 'x' || ino == 0) return ENOENT;
    out = {.start = start,
           .end = end,
           .file_offset = offset,
           .dev = ::makedev(major_number, minor_number),
           .ino = static_cast<ino_t>(ino),
           .path = {}};
    set_path(std::string_view(line).substr(static_cast<std::size_t>(path_at)), out.path);
    return 0;
  }
  return ENOENT;
}

}  // namespace

int find_module(const Procfs& proc, pid_t pid, std::uint64_t address, ModuleMapping& out) {
  static std::atomic<bool> knows_query{true};
  if (knows_query.load(std::memory_order_relaxed)) {
    const auto maps = proc.open_file(pid, "maps");
    if (!maps) return maps.error().code;
    const int error = query(maps->get(), address, out);
    if (error != ENOTTY) return error;
    knows_query.store(false, std::memory_order_relaxed);
  }
  std::string text;
  constexpr std::size_t kMost = 4U << 20;
  if (const int error = proc.read_file(pid, "maps", text, kMost); error != 0) return error;
  return search(text, address, out);
}

}  // namespace secbox::sys
