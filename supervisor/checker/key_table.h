// A hash table from (scope, kind, bytes) to a dense number, built once and then only read: no allocation in
// find(). The caller gives the hash, so that hashes of nested prefixes can be had in one pass over a path.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace secbox::checker {

[[nodiscard]] inline std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (std::rotl(hash, 23) ^ value) * 0x9e3779b97f4a7c15U;
  return hash ^ (hash >> 32);
}

[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = bytes.size() + 1;
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    hash = mix(hash, word);
  }
  std::uint64_t word = 0;
  if (left != 0) std::memcpy(&word, at, left);
  return mix(hash, word);
}

class KeyTable {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  [[nodiscard]] std::uint32_t find(std::uint64_t hash, std::uint32_t scope, std::uint8_t kind,
                                   std::string_view bytes) const {
    if (slots_.empty()) return kNone;
    const std::size_t mask = slots_.size() - 1;
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      const Slot& slot = slots_[at];
      if (slot.id == kNone) return kNone;
      if (slot.tag != tag) continue;
      const Key& key = keys_[slot.id];
      if (key.scope == scope && key.kind == kind && key.bytes == bytes) return slot.id;
    }
  }

  // The number of the key; the next free one where it is new.
  std::uint32_t insert(std::uint64_t hash, std::uint32_t scope, std::uint8_t kind, std::string_view bytes) {
    if (const std::uint32_t found = find(hash, scope, kind, bytes); found != kNone) return found;
    const auto id = static_cast<std::uint32_t>(keys_.size());
    keys_.push_back({std::string(bytes), hash, scope, kind});
    if (slots_.size() < keys_.size() * 2) {
      slots_.assign(slots_.empty() ? 16 : slots_.size() * 2, Slot{});
      for (std::uint32_t i = 0; i < id; ++i) place(keys_[i].hash, i);
    }
    place(hash, id);
    return id;
  }

  [[nodiscard]] std::size_t size() const { return keys_.size(); }

 private:
  struct Key {
    std::string bytes;
    std::uint64_t hash;
    std::uint32_t scope;
    std::uint8_t kind;
  };
  struct Slot {
    std::uint32_t tag = 0;
    std::uint32_t id = kNone;
  };

  void place(std::uint64_t hash, std::uint32_t id) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].id != kNone) at = (at + 1) & mask;
    slots_[at] = Slot{static_cast<std::uint32_t>(hash >> 32), id};
  }

  std::vector<Key> keys_;
  std::vector<Slot> slots_;
};

}  // namespace secbox::checker
