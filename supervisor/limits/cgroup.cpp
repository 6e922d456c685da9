#include "supervisor/limits/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>

namespace secbox::limits {

namespace {

// The kernel's own limit lies a little above: what passes the plugin's is ended, with its reason, by the
// supervisor; what is faster than that, by the kernel.
std::uint64_t kernel_limit(std::uint64_t bytes) {
  return bytes + std::max<std::uint64_t>(bytes / 8, 16U << 20);
}

bool write_text(int dir, const char* name, const std::string& text) {
  const UniqueFd file(::openat(dir, name, O_WRONLY | O_CLOEXEC));
  return file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string_view read_at_start(int fd, std::array<char, 8192>& buffer) {
  const ssize_t got = fd < 0 ? -1 : ::pread(fd, buffer.data(), buffer.size(), 0);
  return {buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Of "name value" lines.
std::uint64_t field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ' ')
      return number(line.substr(name.size() + 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return 0;
}

UniqueFd open_directory(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

UniqueFd open_read(int dir, const char* name) { return UniqueFd(::openat(dir, name, O_RDONLY | O_CLOEXEC)); }

// A new directory `name` in `parent`, open; invalid where it cannot be made.
UniqueFd make_group(int parent, const std::string& name) {
  if (::mkdirat(parent, name.c_str(), 0755) != 0) return {};
  UniqueFd group(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group.valid()) (void)::unlinkat(parent, name.c_str(), AT_REMOVEDIR);
  return group;
}

// The path behind `controller` in /proc/self/cgroup; version 2 has none ("0::/path").
std::optional<std::string> path_of(std::string_view own, std::string_view controller) {
  while (!own.empty()) {
    const std::size_t end = std::min(own.find('\n'), own.size());
    const std::string_view line = own.substr(0, end);
    own.remove_prefix(std::min(end + 1, own.size()));
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    std::string_view names = line.substr(first + 1, second - first - 1);
    while (true) {
      const std::string_view one = names.substr(0, names.find(','));
      if (one == controller) return std::string(line.substr(second + 1));
      if (one.size() == names.size()) break;
      names.remove_prefix(one.size() + 1);
    }
  }
  return std::nullopt;
}

std::string read_own() {
  const UniqueFd file(::open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC));
  std::array<char, 8192> buffer{};
  return std::string(read_at_start(file.get(), buffer));
}

bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool begins = at == 0 || text[at - 1] == ' ';
    const std::size_t end = at + word.size();
    if (begins && (end == text.size() || text[end] == ' ' || text[end] == '\n')) return true;
  }
  return false;
}

std::string quota_of(const Limits& limits) { return std::to_string(*limits.cpu_percent * 1000UL); }

}  // namespace

Cgroup Cgroup::make(const Limits& limits, const std::string& name, const std::string& mount,
                    std::string own) {
  Cgroup group;
  group.name_ = name;
  group.memory_limit_ = limits.memory_bytes.value_or(0);
  if (own.empty()) own = read_own();
  if (!group.make_v2(limits, mount, own)) group.make_v1(limits, mount, own);
  return group;
}

// A group with processes in it may hand no controller on to its children: beside ours, if not below.
bool Cgroup::make_v2(const Limits& limits, const std::string& mount, const std::string& own) {
  const auto path = path_of(own, "");
  if (!path) return false;
  for (std::string place = mount + *path; place.size() >= mount.size(); place.resize(place.rfind('/'))) {
    const UniqueFd parent = open_directory(place);
    if (!parent.valid() || ::faccessat(parent.get(), ".", W_OK, AT_EACCESS) != 0 ||
        ::faccessat(parent.get(), "cgroup.procs", W_OK, AT_EACCESS) != 0) {
      if (place.size() <= mount.size()) break;
      continue;
    }
    std::array<char, 8192> buffer{};
    const UniqueFd handed_on = open_read(parent.get(), "cgroup.subtree_control");
    bool memory = has_word(read_at_start(handed_on.get(), buffer), "memory");
    if (!memory) {
      (void)write_text(parent.get(), "cgroup.subtree_control", "+cpu +memory +pids");
      memory = has_word(read_at_start(handed_on.get(), buffer), "memory");
    }
    if (memory) {
      const UniqueFd group = make_group(parent.get(), name_);
      if (group.valid()) {
        if (limits.memory_bytes && limits.on_memory == OnLimit::Terminate) {
          (void)write_text(group.get(), "memory.high", std::to_string(*limits.memory_bytes));
          (void)write_text(group.get(), "memory.max", std::to_string(kernel_limit(*limits.memory_bytes)));
          (void)write_text(group.get(), "memory.swap.max", "0");  // else it only grows there
        }
        keeps_tasks_ = limits.pids && write_text(group.get(), "pids.max", std::to_string(*limits.pids));
        keeps_cpu_ = limits.cpu_percent && limits.on_cpu == OnLimit::Throttle &&
                     write_text(group.get(), "cpu.max", quota_of(limits) + " 100000");
        memory_usage_ = open_read(group.get(), "memory.current");
        memory_stat_ = open_read(group.get(), "memory.stat");
        memory_events_ = open_read(group.get(), "memory.events");
        cpu_usage_ = open_read(group.get(), "cpu.stat");
        tasks_now_ = open_read(group.get(), "pids.current");
        tasks_events_ = open_read(group.get(), "pids.events");
        UniqueFd entry(::openat(group.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
        UniqueFd kept(::fcntl(parent.get(), F_DUPFD_CLOEXEC, 3));
        if (entry.valid() && kept.valid()) {
          groups_.push_back({.parent = std::move(kept), .entry = std::move(entry)});
          v2_ = true;
          return true;
        }
        (void)::unlinkat(parent.get(), name_.c_str(), AT_REMOVEDIR);
      }
    }
    if (place.size() <= mount.size()) break;
  }
  keeps_tasks_ = keeps_cpu_ = false;
  return false;
}

void Cgroup::make_v1(const Limits& limits, const std::string& mount, const std::string& own) {
  const auto make_in = [&](const char* controller) -> UniqueFd {
    const auto path = path_of(own, controller);
    if (!path) return {};
    UniqueFd parent = open_directory(mount + "/" + controller + *path);
    // In a container without a namespace of its own the path is the host's, the mount the container's.
    if (!parent.valid()) parent = open_directory(mount + "/" + controller);
    if (!parent.valid()) return {};
    UniqueFd group = make_group(parent.get(), name_);
    if (!group.valid()) return {};
    UniqueFd entry(::openat(group.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (!entry.valid()) {
      (void)::unlinkat(parent.get(), name_.c_str(), AT_REMOVEDIR);
      return {};
    }
    groups_.push_back({.parent = std::move(parent), .entry = std::move(entry)});
    return group;
  };
  if (limits.memory_bytes) {
    if (const UniqueFd group = make_in("memory"); group.valid()) {
      if (limits.on_memory == OnLimit::Terminate) {
        (void)write_text(group.get(), "memory.limit_in_bytes",
                         std::to_string(kernel_limit(*limits.memory_bytes)));
      }
      memory_usage_ = open_read(group.get(), "memory.usage_in_bytes");
      memory_stat_ = open_read(group.get(), "memory.stat");
      memory_events_ = open_read(group.get(), "memory.oom_control");
    }
  }
  if (limits.pids) {
    if (const UniqueFd group = make_in("pids"); group.valid()) {
      keeps_tasks_ = write_text(group.get(), "pids.max", std::to_string(*limits.pids));
      tasks_now_ = open_read(group.get(), "pids.current");
      tasks_events_ = open_read(group.get(), "pids.events");
    }
  }
  if (limits.cpu_percent || limits.cpu_time_ms) {
    if (const UniqueFd group = make_in("cpuacct"); group.valid())
      cpu_usage_ = open_read(group.get(), "cpuacct.usage");
  }
  if (limits.cpu_percent && limits.on_cpu == OnLimit::Throttle) {
    if (const UniqueFd group = make_in("cpu"); group.valid()) {
      keeps_cpu_ = write_text(group.get(), "cpu.cfs_quota_us", quota_of(limits));  // in 100 ms
    }
  }
}

int Cgroup::enter_self() const {
  for (const Group& group : groups_) {
    if (::write(group.entry.get(), "0", 1) != 1) return errno;
  }
  return 0;
}

void Cgroup::forget_entry() {
  for (Group& group : groups_) group.entry.reset();
}

Cgroup::Told Cgroup::sample(Usage& usage) const {
  Told told;
  std::array<char, 8192> buffer{};
  if (const std::string_view text = read_at_start(memory_usage_.get(), buffer); !text.empty()) {
    told.memory = true;
    usage.memory_bytes = number(text);
    // That holds page cache, which the kernel gives back when it is short: look closer only where it matters.
    if (usage.memory_bytes >= memory_limit_ / 2) {
      const std::string_view stat = read_at_start(memory_stat_.get(), buffer);
      usage.memory_bytes =
          v2_ ? field(stat, "anon") + field(stat, "shmem") + field(stat, "kernel_stack") +
                    field(stat, "slab_unreclaimable") + field(stat, "sock")
              : field(stat, "total_rss") + field(stat, "total_shmem") + field(stat, "total_swap");
    }
    usage.peak_memory_bytes = std::max(usage.peak_memory_bytes, usage.memory_bytes);
    usage.oom_kills = field(read_at_start(memory_events_.get(), buffer), "oom_kill");
  }
  if (const std::string_view text = read_at_start(cpu_usage_.get(), buffer); !text.empty()) {
    told.cpu = true;
    usage.cpu_ns = std::max(usage.cpu_ns, v2_ ? field(text, "usage_usec") * 1000 : number(text));
  }
  if (const std::string_view text = read_at_start(tasks_now_.get(), buffer); !text.empty()) {
    told.tasks = true;
    usage.tasks = number(text);
    usage.peak_tasks = std::max(usage.peak_tasks, usage.tasks);
    usage.refused_tasks = field(read_at_start(tasks_events_.get(), buffer), "max");
  }
  return told;
}

const char* Cgroup::what() const { return groups_.empty() ? "" : v2_ ? "cgroup2" : "cgroup1"; }

bool Cgroup::remove() const {
  bool gone = true;
  for (const Group& group : groups_) {
    if (::unlinkat(group.parent.get(), name_.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) gone = false;
  }
  return gone;
}

std::vector<int> Cgroup::descriptors_to_remove() const {
  std::vector<int> fds;
  for (const Group& group : groups_) fds.push_back(group.parent.get());
  return fds;
}

}  // namespace secbox::limits
