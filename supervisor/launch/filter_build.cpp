#include "supervisor/launch/filter_build.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "supervisor/base/unique_fd.h"
#include "supervisor/broker/syscall_table.h"
#include "supervisor/launch/filter_rules.h"

namespace secbox::launch {

namespace {

using broker::CallClass;

int add(scmp_filter_ctx context, std::uint32_t action, int number, const std::vector<Condition>& conditions) {
  std::vector<scmp_arg_cmp> compares;
  for (const Condition& condition : conditions) {
    scmp_arg_cmp compare{};
    compare.arg = condition.argument;
    if (condition.kind == Condition::Kind::NotZero) {
      compare.op = SCMP_CMP_NE;
      compare.datum_a = 0;
    } else {
      compare.op = SCMP_CMP_MASKED_EQ;
      compare.datum_a = condition.mask;
      compare.datum_b = condition.value;
    }
    compares.push_back(compare);
  }
  return ::seccomp_rule_add_array(context, action, number, static_cast<unsigned>(compares.size()),
                                  compares.data());
}

}  // namespace

Result<std::vector<sock_filter>> build_filter(const FilterOptions& options) {
  const std::unique_ptr<void, void (*)(void*)> context(::seccomp_init(SCMP_ACT_ALLOW), ::seccomp_release);
  if (!context) return failure("seccomp_init");
  if (::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) != 0 ||
      ::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2) != 0) {
    return failure("seccomp_attr_set");
  }
  int newest = 0;
  for (const broker::SyscallRow& row : broker::syscall_table())
    newest = std::max(newest, broker::native_number(row));
  // Known numbers one by one; a gap between them is unknown, and unknown is held.
  for (int number = 0; number <= newest; ++number) {
    const broker::SyscallRow* row = broker::find_syscall(number);
    int error = 0;
    if (row == nullptr || row->call_class == CallClass::Mediate || row->call_class == CallClass::Refuse) {
      error = add(context.get(), SCMP_ACT_NOTIFY, number, {});
    } else if (row->call_class == CallClass::Absent) {
      error = add(context.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(row->deny_errno)), number, {});
    }
    if (error != 0) return failure("seccomp_rule_add for number " + std::to_string(number), -error);
  }
  for (const ArgumentRule& rule : argument_rules(options.can_read_undumpable)) {
    const auto table = broker::syscall_table();
    const auto row = std::find_if(table.begin(), table.end(),
                                  [&](const auto& entry) { return entry.name == rule.syscall; });
    if (row == table.end() || row->call_class != CallClass::Argument)
      return failure("no Argument row " + std::string(rule.syscall));
    if (broker::native_number(*row) < 0) continue;
    const std::uint32_t action = rule.verdict == Verdict::Notify ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(0);
    if (const int error = add(context.get(), action, broker::native_number(*row), rule.conditions);
        error != 0) {
      return failure("seccomp_rule_add for " + std::string(rule.syscall), -error);
    }
  }

  const UniqueFd memory(::memfd_create("filter", MFD_CLOEXEC));
  if (!memory.valid()) return errno_failure("memfd_create");
  if (const int error = ::seccomp_export_bpf(context.get(), memory.get()); error != 0)
    return failure("seccomp_export_bpf", -error);
  const off_t size = ::lseek(memory.get(), 0, SEEK_END);
  std::vector<sock_filter> body(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(memory.get(), body.data(), static_cast<std::size_t>(size), 0) != size)
    return errno_failure("read the program");

  // In front of it: the architecture, x32 (its numbers have bit 30 set), and numbers newer than the table.
#if defined(__x86_64__)
  constexpr std::uint32_t kArch = AUDIT_ARCH_X86_64;
#else
  constexpr std::uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif
  std::vector<sock_filter> program{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
#if defined(__x86_64__)
      // -1 is what a tracer leaves for "skip"; every other number with bit 30 is x32.
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffff, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
#endif
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<std::uint32_t>(newest), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
  };
  program.insert(program.end(), body.begin(), body.end());
  if (program.size() > BPF_MAXINSNS) return failure("the program is too long");
  return program;
}

}  // namespace secbox::launch
