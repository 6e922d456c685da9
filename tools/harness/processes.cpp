#include "tools/harness/processes.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "tools/harness/files.h"

namespace secbox::harness {

namespace {
struct Stat {
  char state = 'X';
  pid_t parent = 0;
};
// proc(5): the name in parentheses may hold anything, parentheses too.
Stat read_stat(const std::string& pid) {
  const std::string text = read_file("/proc/" + pid + "/stat", 4096).value_or("");
  const std::size_t end = text.rfind(") ");
  Stat stat;
  if (end == std::string::npos || text.size() < end + 5) return stat;
  stat.state = text[end + 2];
  std::from_chars(text.data() + end + 4, text.data() + text.size(), stat.parent);
  return stat;
}
}  // namespace

void adopt_orphans() { (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

std::set<pid_t> living_children() {
  std::set<pid_t> found;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return found;
  const pid_t self = ::getpid();
  while (const dirent* entry = ::readdir(proc)) {
    pid_t pid = 0;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, pid).ptr != end || pid <= 0) continue;
    const Stat stat = read_stat(entry->d_name);
    if (stat.parent == self && stat.state != 'Z' && stat.state != 'X') found.insert(pid);
  }
  ::closedir(proc);
  return found;
}

std::string process_text(pid_t pid) {
  std::string line = read_file("/proc/" + std::to_string(pid) + "/cmdline", 200).value_or("");
  while (!line.empty() && line.back() == '\0') line.pop_back();
  std::ranges::replace(line, '\0', ' ');
  return std::to_string(pid) + " (" + line + ")";
}

void end_children(const std::set<pid_t>& kept) {
  // One that forks faster than it is killed is met again; one in the kernel's hands (state D) is not waited
  // for for ever.
  for (int round = 0; round < 500; ++round) {
    std::set<pid_t> left = living_children();
    for (const pid_t pid : kept) left.erase(pid);
    if (left.empty()) break;
    for (const pid_t pid : left) (void)::kill(pid, SIGKILL);
    for (const pid_t pid : left) {
      for (int i = 0; i < 20 && ::waitpid(pid, nullptr, WNOHANG) == 0; ++i) ::usleep(500);
    }
  }
}

}  // namespace secbox::harness
