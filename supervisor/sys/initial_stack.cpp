#include "supervisor/sys/initial_stack.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <string>

namespace secbox::sys {

namespace {

constexpr std::string_view kVariable = "LD_PRELOAD=";
constexpr std::string_view kLists = "LD_TRACE_LOADED_OBJECTS=";
constexpr std::size_t kMaxValue = 32U << 10;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kAlignment = 16;  // of the stack pointer, by both ABIs

// Words from an address upwards, one after the other. Of the strings behind them, which may be secrets,
// nothing is left in this process.
class WordReader {
 public:
  WordReader(TargetMemory& memory, ThreadId tid, std::uint64_t address)
      : memory_(memory), tid_(tid), address_(address) {}
  ~WordReader() { ::explicit_bzero(chunk_.data(), sizeof chunk_); }
  WordReader(const WordReader&) = delete;
  WordReader& operator=(const WordReader&) = delete;

  // Appends the next word. An error where the memory ends before it, or `words` are as many as may be.
  std::optional<StackError> next(std::vector<std::uint64_t>& words) {
    if (words.size() >= InitialStack::kMaxWords) return StackError::TooLong;
    if (at_ == count_ && !read_chunk()) return StackError::Unreadable;
    words.push_back(chunk_[at_++]);
    return std::nullopt;
  }

 private:
  bool read_chunk() {
    const std::int64_t got =
        memory_.read(tid_, TargetAddress{address_}, std::as_writable_bytes(std::span(chunk_)));
    at_ = 0;
    count_ = got < 0 ? 0 : static_cast<std::size_t>(got) / kWord;
    address_ += count_ * kWord;
    return count_ != 0;
  }

  TargetMemory& memory_;
  const ThreadId tid_;
  std::uint64_t address_;
  std::array<std::uint64_t, 1024> chunk_;  // enough for most programs
  std::size_t at_ = 0, count_ = 0;
};

// Short pieces of strings that lie one behind the other, as the kernel puts them: many in one reading.
class PrefixReader {
 public:
  PrefixReader(TargetMemory& memory, ThreadId tid) : memory_(memory), tid_(tid) {}
  ~PrefixReader() { ::explicit_bzero(buffer_.data(), buffer_.size()); }
  PrefixReader(const PrefixReader&) = delete;
  PrefixReader& operator=(const PrefixReader&) = delete;

  // False after too many readings: the strings lie anywhere but behind each other, or are very long.
  bool starts_with(std::uint64_t address, std::string_view prefix, bool& out) {
    if (address < start_ || address - start_ > size_ || size_ - (address - start_) < prefix.size()) {
      constexpr int kMostReadings = 1024;
      if (++readings_ > kMostReadings) return false;
      const std::int64_t got =
          memory_.read(tid_, TargetAddress{address}, std::as_writable_bytes(std::span(buffer_)));
      start_ = address;
      size_ = got < 0 ? 0 : static_cast<std::size_t>(got);
    }
    out = std::string_view(buffer_.data(), size_).substr(address - start_).starts_with(prefix);
    return true;
  }

 private:
  TargetMemory& memory_;
  const ThreadId tid_;
  std::array<char, 8192> buffer_;
  std::uint64_t start_ = 0;
  std::size_t size_ = 0;
  int readings_ = 0;
};

}  // namespace

std::expected<InitialStack, StackError> InitialStack::read(TargetMemory& memory, ThreadId tid,
                                                           std::uint64_t stack_pointer) {
  if (stack_pointer % kWord != 0) return std::unexpected(StackError::Unreadable);
  InitialStack stack;
  stack.stack_pointer_ = stack_pointer;
  std::vector<std::uint64_t>& words = stack.words_;
  WordReader reader(memory, tid, stack_pointer);
  if (const auto error = reader.next(words)) return std::unexpected(*error);
  const std::uint64_t argc = words[0];
  if (argc >= kMaxWords) return std::unexpected(StackError::TooLong);
  for (std::uint64_t i = 0; i <= argc; ++i) {
    if (const auto error = reader.next(words)) return std::unexpected(*error);
  }
  if (words.back() != 0) return std::unexpected(StackError::Unreadable);
  stack.environment_ = words.size();
  do {
    if (const auto error = reader.next(words)) return std::unexpected(*error);
  } while (words.back() != 0);
  stack.environment_end_ = words.size() - 1;
  std::uint64_t type = AT_NULL;
  do {
    for (int i = 0; i < 2; ++i) {
      if (const auto error = reader.next(words)) return std::unexpected(*error);
    }
    type = words.end()[-2];
    if (type == AT_SECURE) stack.secure_ = words.back() != 0;
  } while (type != AT_NULL);
  return stack;
}

std::expected<InitialStack::Change, StackError> InitialStack::with_preload(TargetMemory& memory, ThreadId tid,
                                                                           std::string_view library) const {
  std::optional<std::size_t> own;
  PrefixReader prefixes(memory, tid);
  for (std::size_t i = environment_; i < environment_end_; ++i) {
    bool is_preload = false;
    bool lists = false;
    if (!prefixes.starts_with(words_[i], kVariable, is_preload) ||
        !prefixes.starts_with(words_[i], kLists, lists))
      return std::unexpected(StackError::TooLong);
    if (lists) return std::unexpected(StackError::OnlyLists);
    if (is_preload) own = i;
  }
  std::string old_text;
  if (own) {
    const int error = read_string(memory, tid, TargetAddress{words_[*own]}, kMaxValue, old_text);
    if (error != 0)
      return std::unexpected(error == ENAMETOOLONG ? StackError::TooLong : StackError::Unreadable);
  }
  std::string text(kVariable);
  text += library;
  if (old_text.size() > kVariable.size()) text += ':' + old_text.substr(kVariable.size());
  text += '\0';
  text += kEnvironmentMark;
  text += old_text;
  text += '\0';

  const std::uint64_t end = stack_pointer_ + words_.size() * kWord;
  const std::size_t count = words_.size() + (own ? 0 : 1);
  const std::uint64_t needed = count * kWord + text.size();
  if (end < needed + kAlignment) return std::unexpected(StackError::Unreadable);
  Change change;
  change.stack_pointer = (end - needed) & ~(kAlignment - 1);
  const std::uint64_t text_address = change.stack_pointer + count * kWord;
  std::vector<std::uint64_t> words = words_;
  if (own) {
    words[*own] = text_address;
  } else {
    words.insert(words.begin() + static_cast<std::ptrdiff_t>(environment_end_), text_address);
  }
  change.bytes.resize(end - change.stack_pointer);
  std::memcpy(change.bytes.data(), words.data(), count * kWord);
  std::memcpy(change.bytes.data() + count * kWord, text.data(), text.size());
  return change;
}

}  // namespace secbox::sys
