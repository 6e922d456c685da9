// What the seccomp programs of this folder are assembled from: instructions, clauses over arguments, and a
// search over ranges of call numbers. All constexpr, so that a program without options costs nothing at
// start.
#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "supervisor/broker/argument_rules.h"

namespace secbox::launch::bpf {

#if defined(__x86_64__)
inline constexpr std::uint32_t kArch = AUDIT_ARCH_X86_64;
#else
inline constexpr std::uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif

// Every block ends in a RET on all its ways, so blocks are laid side by side and only ever jumped over.
using Block = std::vector<sock_filter>;

constexpr sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
constexpr sock_filter jump(unsigned code, std::uint32_t k, std::size_t if_true, std::size_t if_false) {
  return BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | code | BPF_K), k, static_cast<std::uint8_t>(if_true),
                  static_cast<std::uint8_t>(if_false));
}
constexpr sock_filter answer(std::uint32_t action) { return BPF_STMT(BPF_RET | BPF_K, action); }
constexpr std::uint32_t errno_action(int error) {
  return SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error) & SECCOMP_RET_DATA);
}

// BPF sees 32 bits at a time: a 64-bit argument is two words, and a word without mask bits is not looked at.
struct WordTest {
  std::size_t offset = 0;
  std::uint32_t mask = 0;
  std::uint32_t value = 0;
};

constexpr std::size_t words_of(const broker::ArgumentTest& test, std::array<WordTest, 2>& out) {
  std::size_t count = 0;
  const std::size_t low = offsetof(seccomp_data, args) + 8 * std::size_t{test.argument};  // little endian
  for (const std::size_t half : {std::size_t{0}, std::size_t{1}}) {
    const auto mask = static_cast<std::uint32_t>(test.mask >> (32 * half));
    if (mask == 0) continue;
    out[count++] = {low + 4 * half, mask, static_cast<std::uint32_t>(test.value >> (32 * half))};
  }
  return count;
}

// The first clause that holds decides; where none does, `otherwise`. `action_of` gives a clause's action, or
// nothing where the clause does not apply.
template <typename Clauses, typename ActionOf>
constexpr void append_clauses(const Clauses& clauses, const ActionOf& action_of, std::uint32_t otherwise,
                              Block& block) {
  // What the accumulator is known to hold when a clause begins: a list of values loads its argument once.
  std::pair<std::size_t, std::uint32_t> loaded{};
  for (const auto& clause : clauses) {
    const std::optional<std::uint32_t> action = action_of(clause);
    if (!action) continue;
    std::array<std::size_t, 2 * std::tuple_size_v<decltype(clause.tests)>> compares{};
    std::size_t count = 0;
    for (const broker::ArgumentTest& test : clause.tests) {
      std::array<WordTest, 2> words{};
      const std::size_t used = words_of(test, words);
      for (const WordTest& word : std::span(words).first(used)) {
        if (loaded != std::pair{word.offset, word.mask}) {
          block.push_back(load(word.offset));
          if (word.mask != 0xffffffff) block.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, word.mask));
          loaded = {word.offset, word.mask};
        }
        compares[count++] = block.size();
        block.push_back(jump(BPF_JEQ, word.value, 0, 0));
      }
    }
    block.push_back(answer(*action));
    if (count == 0) return;
    for (const std::size_t at : std::span(compares).first(count)) {
      block[at].jf = static_cast<std::uint8_t>(block.size() - at - 1);
    }
    // The next clause is reached from any of the compares.
    if (count > 1) loaded = {};
  }
  block.push_back(answer(otherwise));
}

// A binary search over the numbers, as code: about nine compares for any of them. A range reaches from its
// `first` to the next one's; `append` gives its block. Written from the back, since a jump must know the
// length of what it jumps over.
template <typename Range, typename Append>
constexpr void search_backwards(std::span<const Range> ranges, const Append& append, Block& reversed) {
  if (ranges.size() == 1) {
    const auto start = static_cast<std::ptrdiff_t>(reversed.size());
    append(ranges.front(), reversed);
    std::reverse(reversed.begin() + start, reversed.end());
    return;
  }
  const std::size_t middle = ranges.size() / 2;
  search_backwards(ranges.subspan(middle), append, reversed);
  const std::size_t before = reversed.size();
  search_backwards(ranges.first(middle), append, reversed);
  const std::size_t below = reversed.size() - before;
  if (below <= 255) {
    reversed.push_back(jump(BPF_JGE, ranges[middle].first, below, 0));
  } else {  // conditional jumps have 8 bits
    reversed.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(below)));
    reversed.push_back(jump(BPF_JGE, ranges[middle].first, 0, 1));
  }
}

// A whole program: any architecture but `arch` is killed, then the search. The first range begins at 0.
template <typename Range, typename Append>
constexpr Block assemble(std::uint32_t arch, std::span<const Range> ranges, const Append& append) {
  Block program;
  program.reserve(1024);
  search_backwards(ranges, append, program);
  program.push_back(load(offsetof(seccomp_data, nr)));
  program.push_back(answer(SECCOMP_RET_KILL_PROCESS));
  program.push_back(jump(BPF_JEQ, arch, 1, 0));
  program.push_back(load(offsetof(seccomp_data, arch)));
  std::reverse(program.begin(), program.end());
  return program;
}

}  // namespace secbox::launch::bpf
