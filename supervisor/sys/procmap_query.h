// PROCMAP_QUERY of Linux 6.11, include/uapi/linux/fs.h; missing from the 6.1 headers of Debian 12.
#pragma once

#include <linux/ioctl.h>

#include <cstdint>

namespace secbox::sys {

struct ProcmapQuery {
  std::uint64_t size;
  std::uint64_t query_flags;
  std::uint64_t query_addr;
  std::uint64_t vma_start;
  std::uint64_t vma_end;
  std::uint64_t vma_flags;
  std::uint64_t vma_page_size;
  std::uint64_t vma_offset;
  std::uint64_t inode;
  std::uint32_t dev_major;
  std::uint32_t dev_minor;
  std::uint32_t vma_name_size;
  std::uint32_t build_id_size;
  std::uint64_t vma_name_addr;
  std::uint64_t build_id_addr;
};
inline constexpr std::uint64_t kQueryExecutable = 0x04;
inline constexpr std::uint64_t kQueryFileBacked = 0x20;
inline constexpr unsigned long kProcmapQuery = _IOWR('f', 17, ProcmapQuery);

}  // namespace secbox::sys
