#include "supervisor/broker/shim_injection.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include <cstdint>
#include <optional>
#include <span>

#include "supervisor/base/unique_fd.h"
#include "supervisor/broker/services.h"
#include "supervisor/checker/decide.h"
#include "supervisor/sys/initial_stack.h"

namespace secbox::broker {

namespace {

using sys::InitialStack;
using sys::StackError;

// The registers of a thread that this one holds.
class Registers {
 public:
  // False for those of another ABI (32 bits), too.
  [[nodiscard]] bool read(pid_t thread) {
    iovec io{.iov_base = &regs_, .iov_len = sizeof regs_};
    return ::ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &io) == 0 && io.iov_len == sizeof regs_;
  }
  [[nodiscard]] std::uint64_t stack_pointer() const {
#if defined(__x86_64__)
    return regs_.rsp;
#elif defined(__aarch64__)
    return regs_.sp;
#endif
  }
  [[nodiscard]] bool write(pid_t thread, std::uint64_t stack_pointer) {
#if defined(__x86_64__)
    regs_.rsp = stack_pointer;
#elif defined(__aarch64__)
    regs_.sp = stack_pointer;
#endif
    iovec io{.iov_base = &regs_, .iov_len = sizeof regs_};
    return ::ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &io) == 0;
  }

 private:
  user_regs_struct regs_{};
};

// "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1".
bool is_glibc_loader(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return name.starts_with("ld-linux") && name.contains(".so");
}

// Where the loader could not load it, it would say so on the program's stderr.
bool may_load(Services& services, pid_t process) {
  const std::string& shim = services.shim;
  const checker::AccessView access{.verbs = checker::Verb::FileRead | checker::Verb::FileLoad,
                                   .as_written = shim,
                                   .resolved = shim,
                                   .endpoint = {}};
  if (services.mode == Mode::Enforce && !checker::decide(services.rules(), access).allowed()) return false;
  const ThreadId thread{process};
  if (services.views_differ && !services.proc.shares_view(thread)) return false;
  if (!services.identities_differ) return true;
  sys::ThreadFacts facts;
  if (services.proc.read_facts(thread, facts) != 0) return false;
  const auto identity = sys::AssumedIdentity::assume(facts);
  sys::PinnedPath file;
  return identity && services.resolver.resolve({.tid = thread, .path = shim}, file) == 0 && file.exists() &&
         UniqueFd(services.proc.reopen(file.object.get(), O_RDONLY)).valid();
}

// What stood there stays until the new words below it are written. False: the program is as it was.
bool write_stack(Services& services, pid_t process, const InitialStack& stack,
                 const InitialStack::Change& change, Registers& registers) {
  constexpr std::uint64_t kPage = 4096;
  const ThreadId thread{process};
  const std::uint64_t below = stack.stack_pointer() - change.stack_pointer;
  // Only this way of writing makes a stack grow (Linux 6.5).
  if (change.stack_pointer / kPage != stack.stack_pointer() / kPage &&
      ::ptrace(PTRACE_POKETEXT, process, change.stack_pointer, 0L) != 0)
    return false;
  const std::span bytes(change.bytes);
  if (services.memory.write(thread, TargetAddress{change.stack_pointer}, bytes.first(below)) != 0)
    return false;
  const TargetAddress old{stack.stack_pointer()};
  if (services.memory.write(thread, old, bytes.subspan(below)) == 0 &&
      registers.write(process, change.stack_pointer))
    return true;
  (void)services.memory.write(thread, old, std::as_bytes(std::span(stack.words())));
  return false;
}

// A filter that the plugin made: it may end a program for the calls that the shim begins with. None is there
// yet when the plugin's first program starts.
bool has_own_filter(Services& services, pid_t process) {
  sys::ThreadFacts facts;
  if (services.proc.read_facts(ThreadId{process}, facts) != 0) return true;
  int expected = -1;
  if (services.plugin_filters.compare_exchange_strong(expected, facts.filters)) return false;
  return facts.filters > expected;
}

std::string_view why_not(StackError error) {
  switch (error) {
    case StackError::TooLong:
      return "arguments-too-long";
    case StackError::OnlyLists:
      return "only-lists";
    case StackError::Unreadable:
      break;
  }
  return "stack";
}

}  // namespace

bool can_be_preloaded(std::string_view path) {
  return !path.empty() && path.find_first_of(" :$") == std::string_view::npos;
}

ShimGiven inject_shim(Services& services, pid_t process, const sys::ElfFile& file, std::string_view name) {
  const bool filtered = has_own_filter(services, process);
  if (services.shim.empty()) return {.why = "no-shim"};
  if (!file.is_native) return {.why = "other-format"};
  // The loader itself may be the program: `ld-linux-x86-64.so.2 /bin/true`.
  const std::string_view loader = file.loader.empty() ? name : std::string_view(file.loader);
  if (!is_glibc_loader(loader))
    return {.why = !file.loader.empty() ? "other-libc" : file.has_go_note ? "go" : "static"};
  Registers registers;
  if (!registers.read(process)) return {.why = "other-format"};
  const ThreadId thread{process};
  const auto stack = InitialStack::read(services.memory, thread, registers.stack_pointer());
  if (!stack) return {.why = why_not(stack.error())};
  if (stack->is_secure()) return {.why = "setuid"};
  if (filtered) return {.why = "own-filter"};
  if (!may_load(services, process)) return {.why = "unreadable"};
  const auto change = stack->with_preload(services.memory, thread, services.shim);
  if (!change) return {.why = why_not(change.error())};
  if (!write_stack(services, process, *stack, *change, registers)) return {.why = "stack"};
  return {.injected = true, .why = file.has_go_note ? "go" : ""};
}

}  // namespace secbox::broker
