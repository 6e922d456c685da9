#include "supervisor/limits/process_meter.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace secbox::limits {

namespace {

constexpr unsigned kMemoryFilesEvery = 8;  // looks: a descriptor table is longer than a line of stat

std::uint64_t ticks_to_ns(std::uint64_t ticks) {
  static const auto per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return ticks * (1'000'000'000 / per_second);
}

std::uint64_t page_size() {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

// The number behind `name` at the beginning of a line, or 0.
std::uint64_t field(std::string_view text, std::string_view name) {
  std::size_t at = text.starts_with(name) ? 0 : text.find("\n" + std::string(name));
  if (at == std::string_view::npos) return 0;
  at = text.find_first_of("0123456789", at + name.size());
  std::uint64_t value = 0;
  if (at != std::string_view::npos) (void)std::from_chars(text.data() + at, text.data() + text.size(), value);
  return value;
}

}  // namespace

Result<ProcessMeter> ProcessMeter::open(const sys::Procfs& proc, const sys::SessionMark& mark,
                                        std::uint64_t careful_above) {
  ProcessMeter meter(proc, mark);
  meter.careful_above_ = careful_above;
  meter.dir_ = proc.open_directory(".");
  if (!meter.dir_) return errno_failure("open /proc");
  return meter;
}

// See proc_pid_stat(5).
bool ProcessMeter::read(pid_t pid, Process& process) const {
  char text[1024];
  std::size_t size = sizeof text;
  if (proc_.read_file(pid, "stat", text, size) != 0) return false;
  const std::string_view stat(text, size);
  std::size_t at = stat.rfind(')');
  if (at == std::string_view::npos) return false;
  std::uint64_t fields[25] = {};  // numbered as in the manual; 3 is the state
  at += 2;
  if (at >= stat.size()) return false;
  process.zombie = stat[at] == 'Z' || stat[at] == 'X';
  for (std::size_t number = 3; number < std::size(fields) && at < stat.size(); ++number) {
    const std::size_t end = std::min(stat.find(' ', at), stat.size());
    (void)std::from_chars(stat.data() + at, stat.data() + end, fields[number]);
    at = end + 1;
  }
  process.parent = static_cast<pid_t>(fields[4]);
  process.started = fields[22];
  process.own_ticks = fields[14] + fields[15];
  process.with_children_ticks = process.own_ticks + fields[16] + fields[17];
  process.tasks = fields[20];
  size = sizeof text;
  if (proc_.read_file(pid, "statm", text, size) != 0) return false;
  std::uint64_t pages[3] = {};  // size, resident, shared
  const char* next = text;
  for (std::uint64_t& value : pages) {
    while (next < text + size && *next == ' ') ++next;
    next = std::from_chars(next, text + size, value).ptr;
  }
  process.resident_bytes = pages[1] * page_size();
  process.anonymous_bytes = (pages[1] - std::min(pages[1], pages[2])) * page_size();
  return true;
}

void ProcessMeter::read_io(pid_t pid, Process& process) const {
  char text[512];
  std::size_t size = sizeof text;
  if (proc_.read_file(pid, "io", text, size) != 0) return;
  process.read_bytes = field({text, size}, "rchar:");
  process.written_bytes = field({text, size}, "wchar:");
}

// Pages that forked processes still share count once: each has its part of them.
ProcessMeter::Memory ProcessMeter::own_part(pid_t pid) const {
  char text[4096];
  std::size_t size = sizeof text;
  // One process shares with none: the kernel need not look at each of its pages.
  if (processes_.size() > 1 && proc_.read_file(pid, "smaps_rollup", text, size) == 0 && size > 0) {
    const std::string_view rollup(text, size);
    return {.anonymous_bytes = (field(rollup, "Pss_Anon:") + field(rollup, "SwapPss:")) * 1024,
            .shared_bytes = field(rollup, "Pss_Shmem:") * 1024};
  }
  size = sizeof text;
  if (proc_.read_file(pid, "status", text, size) != 0) return {};
  const std::string_view status(text, size);
  return {.anonymous_bytes = (field(status, "RssAnon:") + field(status, "VmSwap:")) * 1024,
          .shared_bytes = field(status, "RssShmem:") * 1024};
}

// Between vfork(2) and exec a child is in its parent's memory, and tells it as its own.
bool ProcessMeter::has_memory_of(pid_t parent, pid_t pid) const {
  return processes_.contains(parent) && ::syscall(SYS_kcmp, parent, pid, KCMP_VM, 0, 0) == 0;
}

std::uint64_t ProcessMeter::look_closer() const {
  Memory all;
  for (const auto& [pid, process] : processes_) {
    if (has_memory_of(process.parent, pid)) continue;
    const Memory part = own_part(pid);
    all.anonymous_bytes += part.anonymous_bytes;
    all.shared_bytes += part.shared_bytes;
  }
  // What is mapped of a memory file is in both.
  return all.anonymous_bytes + std::max(all.shared_bytes, memory_files_);
}

// Of memfd_create(2): held by a descriptor, mapped by nobody.
std::uint64_t ProcessMeter::memory_file_bytes() const {
  std::set<std::pair<dev_t, ino_t>> counted;
  std::uint64_t bytes = 0;
  for (const auto& [pid, process] : processes_) {
    const sys::Directory dir = proc_.open_directory(std::to_string(pid) + "/fd");
    if (!dir) continue;
    while (const dirent* entry = ::readdir(dir.get())) {
      char target[64];
      const ssize_t size = ::readlinkat(::dirfd(dir.get()), entry->d_name, target, sizeof target);
      if (size <= 0 || !std::string_view(target, static_cast<std::size_t>(size)).starts_with("/memfd:"))
        continue;
      struct stat st{};
      if (::fstatat(::dirfd(dir.get()), entry->d_name, &st, 0) == 0 &&
          counted.emplace(st.st_dev, st.st_ino).second)
        bytes += static_cast<std::uint64_t>(st.st_blocks) * 512;
    }
  }
  return bytes;
}

void ProcessMeter::account(Usage& usage) {
  std::uint64_t own = gone_ticks_;
  std::uint64_t with_children = 0;
  std::uint64_t memory = memory_files_;
  std::uint64_t resident = 0;
  std::uint64_t tasks = 0;
  std::uint64_t read_bytes = 0;  // the kernel adds those of waited-for children to their parent's
  std::uint64_t written_bytes = 0;
  for (const auto& [pid, process] : processes_) {
    own += process.own_ticks;
    with_children += process.with_children_ticks;
    memory += process.anonymous_bytes;
    resident += process.resident_bytes;
    tasks += process.tasks;
    read_bytes += process.read_bytes;
    written_bytes += process.written_bytes;
  }
  // Both miss something: the one what came and went between two looks, the other whose parent did not wait.
  usage.cpu_ns = std::max(usage.cpu_ns, ticks_to_ns(std::max(own, with_children)));
  // Shared memory without a file is in "resident" only, together with programs and their libraries.
  if (std::max(memory, resident) > careful_above_) memory = look_closer();
  usage.memory_bytes = memory;
  usage.peak_memory_bytes = std::max(usage.peak_memory_bytes, usage.memory_bytes);
  usage.tasks = tasks;
  usage.peak_tasks = std::max(usage.peak_tasks, tasks);
  usage.read_bytes = std::max(usage.read_bytes, read_bytes);
  usage.written_bytes = std::max(usage.written_bytes, written_bytes);
}

void ProcessMeter::sample(Usage& usage) {
  for (auto& [pid, process] : processes_) process.seen = false;
  ::rewinddir(dir_.get());
  while (const dirent* entry = ::readdir(dir_.get())) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{} ||
        !mark_.on(proc_, pid))
      continue;
    Process now{};
    if (!read(pid, now) || now.zombie) continue;
    const auto [found, is_new] = processes_.try_emplace(pid);
    // Another process under its number: what the first one used stays counted.
    if (!is_new && found->second.started != now.started) gone_ticks_ += found->second.own_ticks;
    read_io(pid, now);
    now.seen = true;
    found->second = now;
  }
  std::erase_if(processes_, [&](const auto& entry) {
    if (entry.second.seen) return false;
    gone_ticks_ += entry.second.own_ticks;
    return true;
  });
  if (looks_++ % kMemoryFilesEvery == 0) memory_files_ = memory_file_bytes();
  account(usage);
}

void ProcessMeter::sample_last(pid_t pid, Usage& usage) {
  Process& process = processes_[pid];
  Process now{};
  if (!read(pid, now)) return;
  read_io(pid, now);
  process = now;
  account(usage);
  char text[4096];
  std::size_t size = sizeof text;
  if (proc_.read_file(pid, "status", text, size) == 0)
    usage.peak_memory_bytes = std::max(usage.peak_memory_bytes, field({text, size}, "VmHWM:") * 1024);
}

}  // namespace secbox::limits
