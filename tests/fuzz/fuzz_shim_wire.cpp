// Whatever a process puts into its registers: the shim's word (preload/wire.h) is taken from prctl(2) with
// that one option and from nothing else, it costs one answer, which is the board, and it says no more than
// "here", of the process that the kernel names. The call goes the whole way: the BPF program, the table, the
// pipeline, the handler.
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "preload/wire.h"
#include "supervisor/broker/argument_rules.h"
#include "supervisor/broker/callers.h"
#include "supervisor/broker/pipeline.h"
#include "supervisor/broker/services.h"
#include "supervisor/launch/filter.h"
#include "tests/fuzz/require.h"
#include "tests/support/bpf_evaluator.h"

namespace {

using namespace secbox;
using namespace secbox::broker;
using fuzz::require;

// One call, and what became of it.
class OneCall final : public sys::NotifyChannel {
 public:
  explicit OneCall(const CallArguments& arguments) {
    call_ = sys::Notification{.id = 7, .tid = ThreadId{::gettid()}, .number = SYS_prctl, .args = arguments};
  }
  sys::ReceiveStatus receive(sys::Notification& out) override {
    if (!call_) return sys::ReceiveStatus::Ended;
    out = *call_;
    call_.reset();
    return sys::ReceiveStatus::Received;
  }
  sys::ReplyStatus reply_errno(std::uint64_t id, int err) override { return answered(id, -err); }
  sys::ReplyStatus reply_value(std::uint64_t id, std::int64_t value) override { return answered(id, value); }
  sys::ReplyStatus reply_continue(std::uint64_t id) override {
    continued = true;
    return answered(id, 0);
  }
  sys::InstallResult install_fd(std::uint64_t id, int fd, bool close_on_exec) override {
    require(fd >= 0 && close_on_exec, "the board, and of this program alone");
    ++boards;
    return {.status = answered(id, 0), .error = 0, .number = 3};
  }
  sys::InstallResult add_fd(std::uint64_t, int, bool) override {
    require(false, "in one step");
    return {};
  }
  bool alive(std::uint64_t) override { return true; }

  int answers = 0;
  std::int64_t replied = -1;
  bool continued = false;
  int boards = 0;

 private:
  sys::ReplyStatus answered(std::uint64_t id, std::int64_t what) {
    require(id == 7, "the call that was made");
    ++answers;
    replied = what;
    return sys::ReplyStatus::Sent;
  }
  std::optional<sys::Notification> call_;
};

class NoMemory final : public sys::TargetMemory {
 public:
  std::int64_t read(ThreadId, TargetAddress, std::span<std::byte>) override { return refused(); }
  int write(ThreadId, TargetAddress, std::span<const std::byte>) override { return refused(); }

 private:
  static int refused() {
    require(false, "registers alone: no memory is looked at");
    return -EFAULT;
  }
};

std::uint32_t filter_says(const CallArguments& arguments, bool can_read_undumpable) {
  seccomp_data data{};
  data.nr = SYS_prctl;
#if defined(__x86_64__)
  data.arch = AUDIT_ARCH_X86_64;
#else
  data.arch = AUDIT_ARCH_AARCH64;
#endif
  std::copy(arguments.begin(), arguments.end(), data.args);
  const auto answer =
      test::evaluate(launch::filter_program({.can_read_undumpable = can_read_undumpable}), data);
  require(answer.has_value(), "the program ends");
  return *answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  CallArguments arguments{};
  std::memcpy(arguments.data(), data, std::min(size, sizeof arguments));
  const auto option = static_cast<std::uint32_t>(arguments[0]);
  const bool is_hello = option == SECBOX_HELLO_PRCTL;

  const std::uint32_t held = filter_says(arguments, false);
  if (is_hello) {
    require(held == SECCOMP_RET_USER_NOTIF && filter_says(arguments, true) == held, "always held");
  }
  CallArguments noisy = arguments;
  noisy[0] ^= 0xa5a5a5a500000000;
  require(filter_says(noisy, false) == held, "the option is an int");
  if (held != SECCOMP_RET_USER_NOTIF) return 0;

  static const sys::Procfs proc = *sys::Procfs::open();
  static audit::NullSink sink;
  static const checker::Ruleset nothing_granted = *checker::Ruleset::make({});
  OneCall channel(arguments);
  NoMemory memory;
  Services services(channel, memory, proc, sink);
  services.set_rules(&nothing_granted);
  Callers callers(services);
  services.callers = &callers;
  callers.note_image(::getpid(), "/bin/x");
  std::vector<pid_t> hellos;
  services.on_hello = [&](pid_t pid) { hellos.push_back(pid); };
  Pipeline(services).receive_loop();

  require(channel.answers == 1, "one answer");
  const bool is_known = is_hello && arguments[1] == SECBOX_WIRE_VERSION;
  require(hellos.size() == (is_known ? 1U : 0U) && channel.boards == (is_known ? 1 : 0),
          "heard where it was said, and only there");
  if (is_known) {
    require(hellos.front() == ::getpid(), "of whom the kernel names, whatever the registers say");
    require(!channel.continued, "answered, and not performed");
  } else if (is_hello) {
    require(channel.replied == -EINVAL && !channel.continued, "of another version");
  } else if (option == PR_CAPBSET_DROP) {
    require(channel.continued, "noted, and performed");
  } else {
    require(channel.replied == -EPERM && !channel.continued, "refused");
  }
  return 0;
}
