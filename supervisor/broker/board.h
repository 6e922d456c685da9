// The memory that the shim in a process and the supervisor share (preload/wire.h), seen from here. Everything
// in it may be written by the plugin at any moment: it is read once, into values of our own, and checked
// after that.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "preload/wire.h"
#include "supervisor/base/ids.h"
#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"

namespace secbox::broker {

// Which calls a hooked function can stand behind.
enum class Family : std::uint8_t { open, path, exec, net, lookup, load, any, signal };

// What a thread says of the call that it makes. A claim.
struct Context {
  std::uint16_t function = 0;  // enum secbox_function, never 0 and always a known one
  Family family = Family::any;
  std::uint64_t caller = 0;    // the address that the function returns to
  std::uint64_t argument = 0;  // a pointer that is among the call's arguments, or 0
  std::string_view name;       // of the function
};

class Board {
 public:
  enum class Slot : std::uint8_t { None, Valid, Invalid };

  // A new one, and the descriptor for the plugin: its size is sealed, so that nothing the plugin does to the
  // file can make reading it here fail.
  [[nodiscard]] static Result<std::shared_ptr<Board>> make(UniqueFd& for_plugin);
  // Over memory that somebody else keeps.
  explicit Board(secbox_board* memory) : board_(memory) {}
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  // None: nothing is under way in `tid`, or another thread has its slot. Invalid: what stands there is no
  // context.
  [[nodiscard]] Slot read(ThreadId tid, Context& out) const;
  // The text beside a context that was just read: host name, command, library.
  [[nodiscard]] std::string text(ThreadId tid) const;
  [[nodiscard]] bool wants_explanation(ThreadId tid) const;
  // Cut to what fits.
  void explain(ThreadId tid, std::string_view text);
  // The name that the resolver gave this address for (IPv4 as IPv4-mapped), the newest; "" for none.
  [[nodiscard]] std::string name_of(const std::array<std::uint8_t, 16>& address) const;
  // The names of environment variables that were added since `seen`, which moves on.
  [[nodiscard]] std::vector<std::string> variables(std::uint32_t& seen) const;

 private:
  [[nodiscard]] secbox_slot& slot_of(ThreadId tid) const {
    return board_->slots[static_cast<std::uint32_t>(tid.value) % SECBOX_SLOTS];
  }

  secbox_board* board_;
  bool mapped_ = false;
};

}  // namespace secbox::broker
