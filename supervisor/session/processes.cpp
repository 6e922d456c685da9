#include "supervisor/session/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string_view>

namespace secbox::session {

namespace {

constexpr std::int64_t kPatience = 10'000'000'000;

std::int64_t now_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

// Zombies are as good as gone.
bool is_alive(const sys::Procfs& proc, pid_t pid) {
  char text[1024];
  std::size_t size = sizeof text;
  if (const int error = proc.read_file(pid, "stat", text, size); error != 0)
    return error != ENOENT && error != ESRCH;
  const std::string_view stat(text, size);
  const std::size_t after = stat.rfind(')');
  if (after == std::string_view::npos || after + 2 >= stat.size()) return true;
  return stat[after + 2] != 'Z' && stat[after + 2] != 'X';
}

}  // namespace

Result<Processes> Processes::open(const sys::Procfs& proc, const sys::SessionMark& mark) {
  Processes processes(proc, mark);
  processes.dir_ = proc.open_directory(".");
  if (!processes.dir_) return errno_failure("open /proc");
  return processes;
}

pid_t Processes::newest() const {
  const UniqueFd file(::openat(proc_.root(), "loadavg", O_RDONLY | O_CLOEXEC));
  char text[128];
  const ssize_t got = file.valid() ? ::read(file.get(), text, sizeof text) : 0;
  if (got <= 0) return 0;
  std::string_view line(text, static_cast<std::size_t>(got));
  line = line.substr(line.rfind(' ') + 1);
  pid_t newest = 0;
  (void)std::from_chars(line.data(), line.data() + line.size(), newest);
  return newest;
}

bool Processes::kill_if_own(pid_t pid) const {
  if (!mark_.on(proc_, pid)) return false;
  const auto process = sys::open_process(ProcessId{pid});
  const bool killed = process ? mark_.on(proc_, pid) && sys::signal_process(process->get(), SIGKILL) == 0
                              : ::kill(pid, SIGKILL) == 0;
  return killed && is_alive(proc_, pid);
}

bool Processes::kill_all(pid_t except) const {
  bool found = false;
  ::rewinddir(dir_.get());
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(dir_.get());
    if (entry == nullptr) return found || errno != 0;
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{} || pid == except)
      continue;
    found |= kill_if_own(pid);
  }
}

// A process that forks and ends at once, again and again, is gone before a look comes to its number. It
// always has one of the newest.
void Processes::chase_newest(const std::function<bool()>& gone) const {
  constexpr int kRounds = 400;
  constexpr pid_t kWindow = 4;
  for (int round = 0; round < kRounds && !(gone && gone()); ++round) {
    const pid_t last = newest();
    for (pid_t pid = last; pid > 0 && pid > last - kWindow; --pid) (void)kill_if_own(pid);
  }
}

void Processes::kill(pid_t except) const {
  for (int look = 0; look < 3 && kill_all(except); ++look) {
  }
}

void Processes::end(pid_t except, const std::function<bool()>& gone) const {
  const std::int64_t started = now_ns();
  const int enough_empty_looks = except == 0 ? 20 : 1;
  int empty_looks = 0;
  while (now_ns() - started < kPatience) {
    if (gone && gone()) return;
    empty_looks = kill_all(except) ? 0 : empty_looks + 1;
    if (empty_looks == enough_empty_looks) return;
    if (except == 0) chase_newest(gone);
    const timespec pause{.tv_sec = 0, .tv_nsec = 500'000};
    (void)::nanosleep(&pause, nullptr);
  }
}

void remove_group(const limits::Cgroup& group) {
  for (int turn = 0; turn < 1000 && !group.remove(); ++turn) {
    const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
    (void)::nanosleep(&pause, nullptr);
  }
}

}  // namespace secbox::session
