// The stack as the kernel hands it to a new program: argc, argv, environment, auxiliary vector. One variable
// is put into it, LD_PRELOAD, as the shim takes it out again: preload/wire.h.
//
// Lengths and pointers are taken as hostile: the strings are the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
#include <vector>

#include "supervisor/base/ids.h"
#include "supervisor/sys/target_memory.h"

namespace secbox::sys {

// Between the variable's new text and its old one: SECBOX_ENVIRONMENT_MARK, with its NUL.
inline constexpr std::string_view kEnvironmentMark("SBXENV1\0", 8);

enum class StackError : std::uint8_t {
  Unreadable,  // or not what the kernel writes
  TooLong,     // more arguments and variables than are worth being moved
  OnlyLists,   // LD_TRACE_LOADED_OBJECTS, ldd(1): the loader prints its libraries and runs nothing
};

// From the stack pointer upwards, to the end of the auxiliary vector.
class InitialStack {
 public:
  static constexpr std::size_t kMaxWords = (1U << 20) / sizeof(std::uint64_t);

  [[nodiscard]] static std::expected<InitialStack, StackError> read(TargetMemory& memory, ThreadId tid,
                                                                    std::uint64_t stack_pointer);

  [[nodiscard]] std::uint64_t stack_pointer() const { return stack_pointer_; }
  [[nodiscard]] const std::vector<std::uint64_t>& words() const { return words_; }
  // AT_SECURE: the loader takes nothing from the environment.
  [[nodiscard]] bool is_secure() const { return secure_; }

  // What is to stand at the new, lower stack pointer instead: up to where the auxiliary vector ended, and
  // nothing above is touched.
  struct Change {
    std::uint64_t stack_pointer = 0;
    std::vector<std::byte> bytes;
  };
  // With `library` before what the program is given as LD_PRELOAD. Of several the loader takes the last one;
  // where there is none it becomes the last variable.
  [[nodiscard]] std::expected<Change, StackError> with_preload(TargetMemory& memory, ThreadId tid,
                                                               std::string_view library) const;

 private:
  std::uint64_t stack_pointer_ = 0;
  std::vector<std::uint64_t> words_;
  std::size_t environment_ = 0;      // index of the first variable's pointer
  std::size_t environment_end_ = 0;  // of the NULL behind the last one
  bool secure_ = false;
};

}  // namespace secbox::sys
