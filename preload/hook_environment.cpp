// Which environment variables are asked for: their names, never what is in them.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>

#include "preload/board.h"
#include "preload/hook.h"

namespace {

using secbox::preload::board;

constexpr std::size_t kSeen = 1024;  // a power of two
constexpr std::size_t kProbes = 16;
constexpr char kBeingWritten = 1;

// Hashes of the names that are on the board or had no room there. Of this process, and of its children as
// they begin.
std::uint64_t seen[kSeen];

std::uint64_t hash_of(const char* name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (; *name != '\0'; ++name) hash = (hash ^ static_cast<unsigned char>(*name)) * 0x100000001b3;
  // Names that differ in their last letter differ in few bits so far.
  hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15;
  return hash | 1;  // 0 is a free place
}

// True for one caller alone.
bool is_new(std::uint64_t hash) {
  for (std::size_t probe = 0; probe < kProbes; ++probe) {
    std::uint64_t* place = &seen[((hash >> 40) + probe) % kSeen];
    std::uint64_t found = __atomic_load_n(place, __ATOMIC_RELAXED);
    if (found == hash) return false;
    if (found != 0) continue;
    if (__atomic_compare_exchange_n(place, &found, hash, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
      return true;
    if (found == hash) return false;
  }
  return false;  // a program that makes up names
}

bool is_entry(const secbox_variable& entry, const char* name) {
  for (std::size_t at = 0; at < sizeof(entry.name) - 1; ++at) {
    if (entry.name[at] != name[at]) return false;
    if (name[at] == '\0') return true;
  }
  return true;  // cut
}

// `variables` goes over whatever is complete: by whoever completes the one that others wait behind.
void count_complete() {
  secbox_board& shared = *board.shared;
  std::uint32_t count = __atomic_load_n(&shared.variables, __ATOMIC_ACQUIRE);
  while (count < SECBOX_VARIABLES &&
         __atomic_load_n(&shared.variable[count].name[0], __ATOMIC_ACQUIRE) > kBeingWritten) {
    if (__atomic_compare_exchange_n(&shared.variables, &count, count + 1, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
      ++count;
    }
  }
}

// The board may be shared with a parent and other children of it.
[[gnu::noinline]] void put_on_board(const char* name) {
  for (secbox_variable& entry : board.shared->variable) {
    char first = __atomic_load_n(&entry.name[0], __ATOMIC_ACQUIRE);
    if (first == '\0' && __atomic_compare_exchange_n(&entry.name[0], &first, kBeingWritten, false,
                                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      for (std::size_t at = 1; at < sizeof(entry.name) - 1 && name[at] != '\0'; ++at)
        entry.name[at] = name[at];
      __atomic_store_n(&entry.name[0], name[0], __ATOMIC_RELEASE);
      count_complete();
      return;
    }
    if (first != kBeingWritten && is_entry(entry, name)) return;
  }
  __atomic_add_fetch(&board.shared->variables_lost, 1, __ATOMIC_RELAXED);
}

[[gnu::always_inline]] inline void tell(const char* name) {
  if (board.shared == nullptr || name == nullptr || static_cast<unsigned char>(*name) < ' ') return;
  if (__builtin_expect(is_new(hash_of(name)), 0)) put_on_board(name);
}

}  // namespace

SECBOX_AS_DECLARED(char*, getenv, (const char*));
SECBOX_EXPORT(char*, getenv, (const char* name)) {
  tell(name);
  return secbox::preload::real<char*(const char*)>(secbox::preload::kGetenv)(name);
}

SECBOX_AS_DECLARED(char*, secure_getenv, (const char*));
SECBOX_EXPORT(char*, secure_getenv, (const char* name)) {
  tell(name);
  return secbox::preload::real<char*(const char*)>(secbox::preload::kSecureGetenv)(name);
}
