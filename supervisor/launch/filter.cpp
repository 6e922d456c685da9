#include "supervisor/launch/filter.h"

#include <linux/seccomp.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "supervisor/broker/argument_rules.h"
#include "supervisor/broker/syscall_table.h"
#include "supervisor/launch/bpf.h"

namespace secbox::launch {

namespace {

using broker::Architecture;
using broker::ArgumentClause;
using broker::CallClass;
using broker::SyscallRow;
using broker::Verdict;

std::uint32_t action_of(const ArgumentClause& clause) {
  switch (clause.verdict) {
    case Verdict::Allow:
      return SECCOMP_RET_ALLOW;
    case Verdict::Answer:
      return bpf::errno_action(clause.deny_errno);
    case Verdict::Hold:
    case Verdict::Refuse:
      return SECCOMP_RET_USER_NOTIF;
  }
  return SECCOMP_RET_USER_NOTIF;
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
      return {number, bpf::errno_action(row->deny_errno), nullptr};
    case CallClass::Argument:
      return {number, SECCOMP_RET_USER_NOTIF, row};
    case CallClass::Mediate:
    case CallClass::Refuse:
      break;
  }
  return {number, SECCOMP_RET_USER_NOTIF, nullptr};
}

void append_range(const Range& range, const FilterOptions& options, bpf::Block& block) {
  if (range.by_argument == nullptr) {
    block.push_back(bpf::answer(range.action));
    return;
  }
  // A call that no clause names is held: the safe answer to a gap in the rules.
  bpf::append_clauses(
      broker::clauses_of(*range.by_argument),
      [&](const ArgumentClause& clause) -> std::optional<std::uint32_t> {
        if (clause.applies == broker::Applies::WhenBlindable && options.can_read_undumpable)
          return std::nullopt;
        return action_of(clause);
      },
      SECCOMP_RET_USER_NOTIF, block);
}

bpf::Block assemble(const FilterOptions& options) {
  std::vector<const SyscallRow*> by_number;
  for (const SyscallRow& row : broker::syscall_table()) {
    const int number = broker::number_on(options.architecture, row);
    if (number < 0) continue;
    const auto index = static_cast<std::size_t>(number);
    by_number.resize(std::max(by_number.size(), index + 1));
    by_number[index] = &row;
  }
  std::vector<Range> ranges;
  ranges.reserve(by_number.size());
  const auto add = [&](const Range& range) {
    if (!ranges.empty() && ranges.back().action == range.action && ranges.back().by_argument == nullptr &&
        range.by_argument == nullptr) {
      return;
    }
    ranges.push_back(range);
  };
  for (std::size_t number = 0; number < by_number.size(); ++number)
    add(range_of(static_cast<std::uint32_t>(number), by_number[number]));
  add(range_of(static_cast<std::uint32_t>(by_number.size()), nullptr));
  const bool is_x86_64 = options.architecture == Architecture::X86_64;
  if (is_x86_64) {
    // x32: bit 30 in a positive number. Negative ones are unknown to every ABI: held, and answered ENOSYS as
    // natively.
    add({0x40000000, SECCOMP_RET_KILL_PROCESS, nullptr});
    add({0x80000000, SECCOMP_RET_USER_NOTIF, nullptr});
  }

  return bpf::assemble(is_x86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64, std::span<const Range>(ranges),
                       [&](const Range& range, bpf::Block& block) { append_range(range, options, block); });
}

// Each is made when it is first asked for.
template <bool can_read_undumpable, Architecture architecture>
std::span<const sock_filter> program_for() {
  static const bpf::Block program =
      assemble({.can_read_undumpable = can_read_undumpable, .architecture = architecture});
  return program;
}
template <Architecture architecture>
std::span<const sock_filter> program_for(const FilterOptions& options) {
  return options.can_read_undumpable ? program_for<true, architecture>() : program_for<false, architecture>();
}

}  // namespace

std::span<const sock_filter> filter_program(const FilterOptions& options) {
  return options.architecture == Architecture::X86_64 ? program_for<Architecture::X86_64>(options)
                                                      : program_for<Architecture::Aarch64>(options);
}

}  // namespace secbox::launch
