// Whatever a plugin writes into the board: the supervisor reads bounded values from it, and writes an
// explanation to where it belongs.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "supervisor/broker/board.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace secbox;
  using namespace secbox::broker;
  using fuzz::require;
  static const auto memory = std::make_unique<secbox_board>();
  std::memset(memory.get(), 0, sizeof(secbox_board));
  // Pieces of the input at the head, in three slots, among the names and among the variables.
  constexpr pid_t kThreads[] = {1, 77, SECBOX_SLOTS + 1};
  std::size_t at = 0;
  const auto fill = [&](void* to, std::size_t most) {
    const std::size_t take = std::min(most, size - at);
    std::memcpy(to, data + at, take);
    at += take;
  };
  fill(memory.get(), 16);
  for (const pid_t thread : kThreads) {
    secbox_slot& slot = memory->slots[static_cast<std::uint32_t>(thread) % SECBOX_SLOTS];
    fill(&slot, sizeof slot);
    if (size % 2 == 0) slot.tid = static_cast<std::uint32_t>(thread);
  }
  fill(memory->names, sizeof memory->names);
  fill(memory->variable, sizeof memory->variable);

  Board board(memory.get());
  for (const pid_t thread : kThreads) {
    Context context;
    const Board::Slot slot = board.read(ThreadId{thread}, context);
    if (slot == Board::Slot::Valid) {
      require(context.function > 0 && context.function < SECBOX_FUNCTION_COUNT && !context.name.empty(),
              "a function that there is");
    }
    require(board.text(ThreadId{thread}).size() <= sizeof(secbox_slot::text), "no more than its own text");
    const secbox_slot& next = memory->slots[(static_cast<std::uint32_t>(thread) + 1) % SECBOX_SLOTS];
    const secbox_slot before = next;
    board.explain(ThreadId{thread}, std::string(1000, 'x'));
    require(std::memcmp(&before, &next, sizeof before) == 0, "nobody else's slot is written");
    (void)board.wants_explanation(ThreadId{thread});
  }
  std::array<std::uint8_t, 16> address{};
  if (size >= address.size()) std::memcpy(address.data(), data + size - address.size(), address.size());
  require(board.name_of(address).size() <= sizeof(secbox_name::name), "no more than its own name");
  std::uint32_t seen = 0;
  require(board.variables(seen).size() <= SECBOX_VARIABLES && seen <= SECBOX_VARIABLES,
          "no more than there can be");
  require(board.variables(seen).empty(), "each once");
  return 0;
}
