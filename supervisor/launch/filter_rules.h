// Which register arguments settle a call of class Argument: the one place that BPF and its tests read.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace secbox::launch {

// (argument & mask) == value, or != 0 for NotZero. Masks of 32 bits for arguments of type int: the kernel
// does not look at the upper half, so garbage there must not dodge a rule.
struct Condition {
  enum class Kind : std::uint8_t { MaskedEqual, NotZero };
  unsigned argument;
  Kind kind;
  std::uint64_t mask;
  std::uint64_t value;
};

enum class Verdict : std::uint8_t { Notify, Success };  // Success: answered 0 without doing it

// All conditions hold -> verdict. What no rule of a call matches is allowed.
struct ArgumentRule {
  std::string_view syscall;
  std::vector<Condition> conditions;
  Verdict verdict;
};

[[nodiscard]] std::vector<ArgumentRule> argument_rules(bool can_read_undumpable);

}  // namespace secbox::launch
