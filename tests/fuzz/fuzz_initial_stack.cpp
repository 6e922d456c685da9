// Whatever stands at the stack pointer of a new program: it is refused, or what comes of it is the same but
// for one variable, aligned, and written nowhere but below where the block ended.
#include <elf.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "supervisor/sys/initial_stack.h"
#include "tests/fuzz/require.h"

namespace {

using namespace secbox;
using fuzz::require;
using sys::InitialStack;

constexpr ThreadId kThread{1};
constexpr std::uint64_t kBase = 0x7fff'0000'0000;
constexpr std::string_view kShim = "/opt/lib/shim.so";

// The input from kBase on; nothing is mapped on either side.
class InputMemory final : public sys::TargetMemory {
 public:
  explicit InputMemory(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::int64_t read(ThreadId, TargetAddress address, std::span<std::byte> out) override {
    if (address.value < kBase || address.value - kBase >= bytes_.size()) return -EFAULT;
    const auto rest = bytes_.subspan(address.value - kBase);
    const std::size_t count = std::min(rest.size(), out.size());
    if (count != 0) std::memcpy(out.data(), rest.data(), count);
    return static_cast<std::int64_t>(count);
  }
  int write(ThreadId, TargetAddress, std::span<const std::byte>) override {
    require(false, "planning writes nothing");
    return 0;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

void check(const InitialStack& stack, const InitialStack::Change& change) {
  const std::vector<std::uint64_t>& words = stack.words();
  const std::uint64_t end = stack.stack_pointer() + words.size() * 8;
  require(change.stack_pointer % 16 == 0 && change.stack_pointer < stack.stack_pointer(),
          "lower, and aligned");
  require(change.stack_pointer + change.bytes.size() == end, "it ends where the block ended");
  std::size_t differ = 0;
  std::uint64_t text = 0;
  std::size_t added = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, change.bytes.data() + (i + added) * 8, 8);
    if (word == words[i]) continue;
    require(++differ == 1, "one word is another one");
    text = word;
    if (words[i] == 0) {  // before the end of the environment
      added = 1;
      std::memcpy(&word, change.bytes.data() + (i + added) * 8, 8);
      require(word == 0, "the environment ends behind it");
    }
  }
  require(differ == 1 && text == change.stack_pointer + (words.size() + added) * 8,
          "its text is behind the block");
  const std::string_view put(
      reinterpret_cast<const char*>(change.bytes.data()) + (text - change.stack_pointer), end - text);
  require(put.starts_with("LD_PRELOAD=" + std::string(kShim)), "the shim comes first");
  const std::string_view old = put.substr(put.find('\0') + 1);
  require(old.starts_with(sys::kEnvironmentMark), "the mark");
  const std::string_view own = old.substr(sys::kEnvironmentMark.size());
  require(own.find('\0') != std::string_view::npos, "an end");
  require((added == 0) == own.starts_with("LD_PRELOAD="), "the program's own, where it has one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  InputMemory memory({data, size});
  const auto stack = InitialStack::read(memory, kThread, kBase);
  if (!stack) return 0;
  require(stack->words().size() * 8 <= size, "no more than is there");
  const auto change = stack->with_preload(memory, kThread, kShim);
  if (change) check(*stack, *change);
  return 0;
}
