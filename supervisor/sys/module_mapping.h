// Which file's code stands at an address of the plugin.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "supervisor/sys/target.h"

namespace secbox::sys {

// An executable mapping of a file, as the kernel lists it. Where a file system numbers its devices
// differently in /proc/<pid>/maps and in stat(2) (btrfs, overlayfs) `dev` is the former.
struct ModuleMapping {
  std::uint64_t start = 0, end = 0;  // of the plugin's addresses
  std::uint64_t file_offset = 0;     // of `start`
  dev_t dev = 0;
  ino_t ino = 0;
  std::string path;  // the kernel's name of the file, without its " (deleted)"
};

// The mapping of `pid` that holds `address`. 0; ENOENT where no executable file mapping does; or the errno of
// looking (ESRCH, EACCES). By PROCMAP_QUERY (Linux 6.11), before that by reading the whole list.
[[nodiscard]] int find_module(const Procfs& proc, pid_t pid, std::uint64_t address, ModuleMapping& out);

}  // namespace secbox::sys
