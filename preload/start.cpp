// The shim's start, before any other constructor: puts the environment right, finds the real functions, and
// asks the supervisor for the process's board.
//
// The shim decides nothing and hides nothing: static programs and direct system calls go without it, and
// enforcement is the same. It must never allocate, wait for a lock of its own, change errno, or need more
// than libc: it runs in every program, among other people's preloads. Without a board each hook only passes
// on.
#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>

#include "preload/board.h"
#include "preload/real.h"
#include "preload/wire.h"

namespace secbox::preload {

namespace {

constexpr char kPreload[] = "LD_PRELOAD=";
constexpr char kMark[] = SECBOX_ENVIRONMENT_MARK;
constexpr char kExplain[] = "SECBOX_EXPLAIN=1";
constexpr std::size_t kGenerationBytes = 4096;

// What follows `prefix` in `text`, null where that does not begin with it.
char* after(char* text, const char* prefix) {
  while (*prefix != '\0') {
    if (*text++ != *prefix++) return nullptr;
  }
  return text;
}

// The program's own entry (or "") behind one that the supervisor made; null for any other.
char* own_entry(char* entry) {
  char* value = after(entry, kPreload);
  if (value == nullptr) return nullptr;
  while (*value != '\0') ++value;
  char* mark = after(value + 1, kMark);
  return mark != nullptr && *mark == '\0' ? mark + 1 : nullptr;
}

// On the initial stack itself, which libc's environ is. What gets free at its end becomes null: whoever looks
// for the auxiliary vector behind the environment finds an empty one, as behind any environment that has
// shrunk.
bool restore_environment(char** environment) {
  bool explains = false;
  char** kept = environment;
  char** entry = environment;
  const char* restored = nullptr;
  for (; *entry != nullptr; ++entry) {
    char* text = *entry;
    if (char* own = own_entry(text); own != nullptr) {
      if (*own == '\0' || own == restored) continue;  // there may be two, to keep the stack aligned
      restored = own;
      text = own;
    }
    const char* rest = after(text, kExplain);
    explains = explains || (rest != nullptr && *rest == '\0');
    *kept++ = text;
  }
  while (kept != entry) *kept++ = nullptr;
  return explains;
}

secbox_board* map_board() {
  const long fd = kernel_call(SYS_prctl, SECBOX_HELLO_PRCTL, SECBOX_WIRE_VERSION, kernel_call(SYS_getpid));
  if (is_error(fd)) return nullptr;
  // An answer of another kind would be taken for a descriptor of the program's.
  const long seals = kernel_call(SYS_fcntl, fd, F_GET_SEALS);
  if (is_error(seals) || (seals & F_SEAL_SHRINK) == 0) return nullptr;
  const long mapped =
      kernel_call(SYS_mmap, 0, sizeof(secbox_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  kernel_call(SYS_close, fd);
  if (is_error(mapped)) return nullptr;
  auto* shared = reinterpret_cast<secbox_board*>(mapped);
  if (shared->version == SECBOX_WIRE_VERSION) return shared;
  kernel_call(SYS_munmap, mapped, sizeof(secbox_board));
  return nullptr;
}

std::uint32_t* map_generation() {
  const long mapped =
      kernel_call(SYS_mmap, 0, kGenerationBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (is_error(mapped)) return nullptr;
  if (!is_error(kernel_call(SYS_madvise, mapped, kGenerationBytes, MADV_WIPEONFORK))) {
    return reinterpret_cast<std::uint32_t*>(mapped);
  }
  kernel_call(SYS_munmap, mapped, kGenerationBytes);
  return nullptr;
}

[[gnu::constructor]] void start(int, char**, char** environment) {
  const int saved = errno;
  const bool explains = restore_environment(environment);
  find_all_real();
  if (secbox_board* shared = map_board(); shared != nullptr) {
    board.generation = map_generation();
    board.flags = explains ? SECBOX_SLOT_WANTS_EXPLANATION : 0;
    if (board.generation != nullptr) board.shared = shared;
  }
  errno = saved;
}

}  // namespace

}  // namespace secbox::preload
