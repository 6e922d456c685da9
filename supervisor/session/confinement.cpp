#include "supervisor/session/confinement.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "supervisor/launch/capabilities.h"

namespace secbox::session {

namespace {

// Where the kernel says that the strings of the start lie: arg_start, arg_end, env_start, env_end; see
// proc(5), fields 48 to 51 of stat.
bool find_start(const sys::Procfs& proc, std::array<std::uintptr_t, 4>& out) {
  std::string stat;
  if (proc.read_file(::getpid(), "stat", stat) != 0) return false;
  const char* at = stat.data() + std::min(stat.rfind(')'), stat.size());
  const char* const end = stat.data() + stat.size();
  int field = 2;
  for (; at != end && field < 48; ++at) field += *at == ' ' ? 1 : 0;
  for (std::uintptr_t& address : out) {
    const auto [next, error] = std::from_chars(at, end, address);
    if (error != std::errc{} || address == 0) return false;
    at = next == end ? end : next + 1;
  }
  return true;
}

void overwrite(std::uintptr_t begin, std::uintptr_t end, std::string_view text) {
  if (begin >= end) return;
  char* const strings = reinterpret_cast<char*>(begin);
  const std::size_t size = end - begin;
  ::explicit_bzero(strings, size);
  std::copy_n(text.data(), std::min(text.size(), size - 1), strings);
}

}  // namespace

Result<void> give_up_rights() {
  ::umask(077);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno_failure("PR_SET_DUMPABLE");
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) return errno_failure("setrlimit(RLIMIT_CORE)");
  if (const int error = launch::keep_only(launch::kSupervisorCaps); error != 0)
    return failure("give up capabilities", error);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_failure("PR_SET_NO_NEW_PRIVS");
  return {};
}

void forget_start(const sys::Procfs& proc, std::string_view title) {
  (void)::clearenv();
  std::array<std::uintptr_t, 4> start{};
  if (!find_start(proc, start)) return;
  overwrite(start[0], start[1], title);
  overwrite(start[2], start[3], {});
}

Result<void> close_inherited(const sys::Procfs& proc) {
  const int fd = ::openat(proc.own_descriptors(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const dir = fd < 0 ? nullptr : ::fdopendir(fd);
  if (dir == nullptr) return errno_failure("list the descriptors");
  std::vector<int> inherited;
  while (const dirent* entry = ::readdir(dir)) {
    int number = -1;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), number).ec != std::errc{}) continue;
    if (number > STDERR_FILENO && (::fcntl(number, F_GETFD) & FD_CLOEXEC) == 0) inherited.push_back(number);
  }
  (void)::closedir(dir);
  for (const int number : inherited) (void)::close(number);
  return {};
}

}  // namespace secbox::session
