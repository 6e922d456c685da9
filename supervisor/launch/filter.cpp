#include "supervisor/launch/filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "supervisor/broker/argument_rules.h"
#include "supervisor/broker/syscall_table.h"

namespace secbox::launch {

namespace {

using broker::ArgumentClause;
using broker::ArgumentTest;
using broker::CallClass;
using broker::SyscallRow;
using broker::Verdict;

#if defined(__x86_64__)
constexpr std::uint32_t kArch = AUDIT_ARCH_X86_64;
#else
constexpr std::uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif

// Every block ends in a RET on all its ways, so blocks are laid side by side and only ever jumped over.
using Block = std::vector<sock_filter>;

sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
sock_filter jump(unsigned code, std::uint32_t k, std::size_t if_true, std::size_t if_false) {
  return BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | code | BPF_K), k, static_cast<std::uint8_t>(if_true),
                  static_cast<std::uint8_t>(if_false));
}
sock_filter answer(std::uint32_t action) { return BPF_STMT(BPF_RET | BPF_K, action); }
std::uint32_t errno_action(int error) {
  return SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error) & SECCOMP_RET_DATA);
}

std::uint32_t action_of(const ArgumentClause& clause) {
  switch (clause.verdict) {
    case Verdict::Allow:
      return SECCOMP_RET_ALLOW;
    case Verdict::Answer:
      return errno_action(clause.deny_errno);
    case Verdict::Hold:
    case Verdict::Refuse:
      return SECCOMP_RET_USER_NOTIF;
  }
  return SECCOMP_RET_USER_NOTIF;
}

// BPF sees 32 bits at a time: a 64-bit argument is two words, and a word without mask bits is not looked at.
struct WordTest {
  std::size_t offset;
  std::uint32_t mask;
  std::uint32_t value;
};

std::size_t words_of(const ArgumentTest& test, std::array<WordTest, 2>& out) {
  std::size_t count = 0;
  const std::size_t low = offsetof(seccomp_data, args) + 8 * std::size_t{test.argument};  // little endian
  for (const std::size_t half : {0U, 1U}) {
    const auto mask = static_cast<std::uint32_t>(test.mask >> (32 * half));
    if (mask == 0) continue;
    out[count++] = {low + 4 * half, mask, static_cast<std::uint32_t>(test.value >> (32 * half))};
  }
  return count;
}

// The first clause that holds decides. A call that no clause names is held: the safe answer to a gap in the
// rules.
void append_clauses(const SyscallRow& row, const FilterOptions& options, Block& block) {
  // What the accumulator is known to hold when a clause begins: a list of values loads its argument once.
  std::pair<std::size_t, std::uint32_t> loaded{};
  for (const ArgumentClause& clause : broker::clauses_of(row)) {
    if (clause.applies == broker::Applies::WhenBlindable && options.can_read_undumpable) continue;
    std::array<std::size_t, 2 * std::tuple_size_v<decltype(clause.tests)>> compares{};
    std::size_t count = 0;
    for (const ArgumentTest& test : clause.tests) {
      std::array<WordTest, 2> words;
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
    block.push_back(answer(action_of(clause)));
    if (count == 0) return;
    for (const std::size_t at : std::span(compares).first(count)) {
      block[at].jf = static_cast<std::uint8_t>(block.size() - at - 1);
    }
    // The next clause is reached from any of the compares.
    if (count > 1) loaded = {};
  }
  block.push_back(answer(SECCOMP_RET_USER_NOTIF));
}

// The numbers from `first` to the next range's first have one answer, or the clauses of one row.
struct Range {
  std::uint32_t first;
  std::uint32_t action;
  const SyscallRow* by_argument;
};

Range range_of(std::uint32_t number, const SyscallRow* row) {
  if (row == nullptr) return {number, SECCOMP_RET_USER_NOTIF, nullptr};
  switch (row->call_class) {
    case CallClass::Allow:
      return {number, SECCOMP_RET_ALLOW, nullptr};
    case CallClass::Absent:
      return {number, errno_action(row->deny_errno), nullptr};
    case CallClass::Argument:
      return {number, SECCOMP_RET_USER_NOTIF, row};
    case CallClass::Mediate:
    case CallClass::Refuse:
      break;
  }
  return {number, SECCOMP_RET_USER_NOTIF, nullptr};
}

// A binary search over the numbers, as code: about nine compares for any of them. Written from the back,
// since a jump must know the length of what it jumps over.
void search_backwards(std::span<const Range> ranges, const FilterOptions& options, Block& reversed) {
  if (ranges.size() == 1) {
    const Range& range = ranges.front();
    if (range.by_argument == nullptr) {
      reversed.push_back(answer(range.action));
    } else {
      const auto start = static_cast<std::ptrdiff_t>(reversed.size());
      append_clauses(*range.by_argument, options, reversed);
      std::reverse(reversed.begin() + start, reversed.end());
    }
    return;
  }
  const std::size_t middle = ranges.size() / 2;
  search_backwards(ranges.subspan(middle), options, reversed);
  const std::size_t before = reversed.size();
  search_backwards(ranges.first(middle), options, reversed);
  const std::size_t below = reversed.size() - before;
  if (below <= 255) {
    reversed.push_back(jump(BPF_JGE, ranges[middle].first, below, 0));
  } else {  // conditional jumps have 8 bits
    reversed.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(below)));
    reversed.push_back(jump(BPF_JGE, ranges[middle].first, 0, 1));
  }
}

Block assemble(const FilterOptions& options) {
  int newest = 0;
  for (const SyscallRow& row : broker::syscall_table()) newest = std::max(newest, broker::native_number(row));
  std::vector<Range> ranges;
  ranges.reserve(static_cast<std::size_t>(newest));
  const auto add = [&](const Range& range) {
    if (!ranges.empty() && ranges.back().action == range.action && ranges.back().by_argument == nullptr &&
        range.by_argument == nullptr) {
      return;
    }
    ranges.push_back(range);
  };
  for (int number = 0; number <= newest; ++number) {
    add(range_of(static_cast<std::uint32_t>(number), broker::find_syscall(number)));
  }
  add(range_of(static_cast<std::uint32_t>(newest) + 1, nullptr));
#if defined(__x86_64__)
  // x32: bit 30 in a positive number. Negative ones are unknown to every ABI: held, and answered ENOSYS as
  // natively.
  add({0x40000000, SECCOMP_RET_KILL_PROCESS, nullptr});
  add({0x80000000, SECCOMP_RET_USER_NOTIF, nullptr});
#endif

  Block program;
  program.reserve(1024);
  search_backwards(ranges, options, program);
  program.push_back(load(offsetof(seccomp_data, nr)));
  program.push_back(answer(SECCOMP_RET_KILL_PROCESS));
  program.push_back(jump(BPF_JEQ, kArch, 1, 0));
  program.push_back(load(offsetof(seccomp_data, arch)));
  std::reverse(program.begin(), program.end());
  return program;
}

}  // namespace

std::span<const sock_filter> filter_program(const FilterOptions& options) {
  if (options.can_read_undumpable) {
    static const Block program = assemble({.can_read_undumpable = true});
    return program;
  }
  static const Block program = assemble({.can_read_undumpable = false});
  return program;
}

}  // namespace secbox::launch
