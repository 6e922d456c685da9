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
constexpr std::size_t kMaxValue = 32U << 10;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kAlignment = 16;  // of the stack pointer, by both ABIs

// Words from an address upwards, read as far as they are asked for.
class WordReader {
 public:
  WordReader(TargetMemory& memory, ThreadId tid, std::uint64_t address)
      : memory_(memory), tid_(tid), address_(address) {}

  // Word `index`; nothing where the memory ends before it.
  std::optional<std::uint64_t> at(std::size_t index) {
    if (index >= words_.size() && !read_past(index)) return std::nullopt;
    return words_[index];
  }
  std::vector<std::uint64_t> take(std::size_t count) {
    words_.resize(count);
    return std::move(words_);
  }

 private:
  bool read_past(std::size_t index) {
    constexpr std::size_t kFirst = 1024;  // enough for most programs
    const std::size_t have = words_.size();
    const std::size_t want = std::max({kFirst, have * 2, index + 1});
    words_.resize(want);
    const std::int64_t got = memory_.read(tid_, TargetAddress{address_ + have * kWord},
                                          std::as_writable_bytes(std::span(words_).subspan(have)));
    words_.resize(have + (got < 0 ? 0 : static_cast<std::size_t>(got) / kWord));
    return index < words_.size();
  }

  TargetMemory& memory_;
  const ThreadId tid_;
  const std::uint64_t address_;
  std::vector<std::uint64_t> words_;
};

// Short pieces of strings that lie one behind the other, as the kernel puts them: many in one reading.
class PrefixReader {
 public:
  PrefixReader(TargetMemory& memory, ThreadId tid) : memory_(memory), tid_(tid) {}

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
  WordReader words(memory, tid, stack_pointer);
  const auto argc = words.at(0);
  if (!argc) return std::unexpected(StackError::Unreadable);
  if (*argc >= kMaxWords) return std::unexpected(StackError::TooLong);
  std::size_t at = static_cast<std::size_t>(*argc) + 1;
  if (words.at(at) != std::uint64_t{0}) return std::unexpected(StackError::Unreadable);
  stack.environment_ = ++at;
  for (;; ++at) {
    if (at >= kMaxWords) return std::unexpected(StackError::TooLong);
    const auto variable = words.at(at);
    if (!variable) return std::unexpected(StackError::Unreadable);
    if (*variable == 0) break;
  }
  stack.environment_end_ = at++;
  for (;; at += 2) {
    if (at >= kMaxWords) return std::unexpected(StackError::TooLong);
    const auto type = words.at(at);
    const auto value = words.at(at + 1);
    if (!type || !value) return std::unexpected(StackError::Unreadable);
    if (*type == AT_SECURE) stack.secure_ = *value != 0;
    if (*type == AT_NULL) break;
  }
  stack.words_ = words.take(at + 2);
  return stack;
}

std::expected<InitialStack::Change, StackError> InitialStack::with_preload(TargetMemory& memory, ThreadId tid,
                                                                           std::string_view library) const {
  std::optional<std::size_t> own;
  PrefixReader prefixes(memory, tid);
  for (std::size_t i = environment_; i < environment_end_; ++i) {
    bool is_preload = false;
    if (!prefixes.starts_with(words_[i], kVariable, is_preload)) return std::unexpected(StackError::TooLong);
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
