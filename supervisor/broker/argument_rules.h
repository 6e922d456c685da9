// What the registers of a call of class Argument settle. The BPF program, the dispatch and the coverage
// document read this one list, so that they cannot disagree. Registers only: what a pointer leads to is never
// looked at here.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "supervisor/broker/syscall_table.h"

namespace secbox::broker {

using CallArguments = std::array<std::uint64_t, 6>;

// (arguments[argument] & mask) == value. An argument that the kernel takes as int has a mask within 32 bits:
// it does not look at the upper half, so garbage there must not dodge a rule. The default is true of every
// call.
struct ArgumentTest {
  unsigned argument = 0;
  std::uint64_t mask = 0;
  std::uint64_t value = 0;
};

enum class Verdict : std::uint8_t {
  Allow,   // the kernel does it
  Hold,    // notified: the row's handler decides
  Refuse,  // notified, recorded and answered with `deny_errno`, like a row of class Refuse
  Answer,  // answered with `deny_errno` by BPF alone; 0 is success that did nothing
};

enum class Applies : std::uint8_t {
  Always,
  WhenBlindable,  // only where the supervisor cannot look into a process that is not dumpable
};

// All tests hold -> verdict.
struct ArgumentClause {
  std::array<ArgumentTest, 3> tests;
  Verdict verdict;
  int deny_errno;
  std::string_view note;
  Applies applies = Applies::Always;
};

// In order, the first clause that holds decides; the last one holds for every call.
struct ArgumentRules {
  std::string_view syscall;
  std::span<const ArgumentClause> clauses;
};

[[nodiscard]] std::span<const ArgumentRules> argument_rules();
// Empty where the row is not of class Argument.
[[nodiscard]] std::span<const ArgumentClause> clauses_of(const SyscallRow& row);
[[nodiscard]] bool holds(const ArgumentClause& clause, const CallArguments& arguments);

// The row that a held call is handled by: for refused arguments a row of class Refuse that names the reason,
// otherwise the call's own. Null where the table does not know the number.
[[nodiscard]] const SyscallRow* row_of_call(int number, const CallArguments& arguments);

}  // namespace secbox::broker
