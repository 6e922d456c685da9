#include "supervisor/sys/initial_stack.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/sys/target_memory.h"

namespace secbox::sys {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Strings = std::vector<std::string>;
using Auxv = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

constexpr ThreadId kThread{1};
constexpr std::string_view kShim = "/opt/lib/shim.so";
constexpr std::uint64_t kTop = 0x7ffc'0000'0000;
constexpr std::size_t kSize = 4U << 20;

// A stack of 4 MiB: nothing is mapped below it or above.
class StackMemory final : public TargetMemory {
 public:
  std::int64_t read(ThreadId, TargetAddress address, std::span<std::byte> out) override {
    ++readings;
    if (address.value < start() || address.value >= kTop) return -EFAULT;
    const std::size_t count = std::min<std::uint64_t>(out.size(), kTop - address.value);
    std::copy_n(bytes_.begin() + at(address.value), count, out.begin());
    return static_cast<std::int64_t>(count);
  }
  int write(ThreadId, TargetAddress address, std::span<const std::byte> data) override {
    if (address.value < start() || address.value + data.size() > kTop) return -EFAULT;
    std::ranges::copy(data, bytes_.begin() + at(address.value));
    return 0;
  }

  std::uint64_t word(std::uint64_t address) {
    std::uint64_t value = 0;
    EXPECT_EQ(read_object(*this, kThread, TargetAddress{address}, value), 0);
    return value;
  }
  std::string text(std::uint64_t address) {
    std::string value;
    EXPECT_EQ(read_string(*this, kThread, TargetAddress{address}, 1U << 20, value), 0);
    return value;
  }
  [[nodiscard]] std::vector<std::byte> above(std::uint64_t address) const {
    return {bytes_.begin() + at(address), bytes_.end()};
  }

  int readings = 0;

 private:
  static constexpr std::uint64_t start() { return kTop - kSize; }
  static std::ptrdiff_t at(std::uint64_t address) { return static_cast<std::ptrdiff_t>(address - start()); }
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kSize);
};

// As fs/binfmt_elf.c lays it out.
class Stack {
 public:
  void put(const Strings& arguments, const Strings& environment, const Auxv& auxv) {
    Strings strings = arguments;
    strings.insert(strings.end(), environment.begin(), environment.end());
    std::size_t size = 0;
    for (const std::string& text : strings) size += text.size() + 1;
    std::uint64_t at = kTop - 32 - size;
    const std::uint64_t first_string = at;
    std::vector<std::uint64_t> pointers;
    for (const std::string& text : strings) {
      pointers.push_back(at);
      put_text(at, text);
      at += text.size() + 1;
    }
    std::vector<std::uint64_t> words{arguments.size()};
    const auto split = pointers.begin() + static_cast<std::ptrdiff_t>(arguments.size());
    words.insert(words.end(), pointers.begin(), split);
    words.push_back(0);
    words.insert(words.end(), split, pointers.end());
    words.push_back(0);
    for (const auto& [type, value] : auxv) words.insert(words.end(), {type, value});
    put_words(words, first_string);
  }
  void put_words(const std::vector<std::uint64_t>& words, std::uint64_t below = kTop - 4096) {
    pointer = (below - words.size() * 8 - 64) & ~std::uint64_t{15};
    end = pointer + words.size() * 8;
    EXPECT_EQ(memory.write(kThread, TargetAddress{pointer}, std::as_bytes(std::span(words))), 0);
  }
  void put_text(std::uint64_t at, const std::string& text) {
    EXPECT_EQ(
        memory.write(kThread, TargetAddress{at}, std::as_bytes(std::span(text.c_str(), text.size() + 1))), 0);
  }
  [[nodiscard]] auto read() { return InitialStack::read(memory, kThread, pointer); }

  StackMemory memory;
  std::uint64_t pointer = 0, end = 0;
};

// What a program finds at its stack pointer.
struct Found {
  Strings arguments, environment;
  std::vector<std::uint64_t> variables;  // their addresses
  Auxv auxv;
};

Found look(StackMemory& memory, std::uint64_t at) {
  Found found;
  const std::uint64_t argc = memory.word(at);
  for (std::uint64_t i = 0; i < argc; ++i) found.arguments.push_back(memory.text(memory.word(at += 8)));
  EXPECT_EQ(memory.word(at += 8), 0U);
  while (memory.word(at += 8) != 0) {
    found.variables.push_back(memory.word(at));
    found.environment.push_back(memory.text(memory.word(at)));
  }
  do {
    found.auxv.emplace_back(memory.word(at + 8), memory.word(at + 16));
    at += 16;
  } while (found.auxv.back().first != AT_NULL);
  return found;
}

// What the shim will find behind the text.
std::string old_text(StackMemory& memory, std::uint64_t address) {
  const std::uint64_t mark = address + memory.text(address).size() + 1;
  EXPECT_EQ(memory.text(mark) + '\0', kEnvironmentMark);
  return memory.text(mark + kEnvironmentMark.size());
}

const Auxv kAuxv{{AT_PAGESZ, 4096}, {AT_SECURE, 0}, {AT_RANDOM, kTop - 40}, {AT_NULL, 0}};

struct Shape {
  std::string name;
  Strings arguments, environment;
  // What comes of it: the index of the variable that is another one now.
  std::size_t changed;
  std::string preload, old;
};

class InitialStackShape : public testing::TestWithParam<Shape> {};

TEST_P(InitialStackShape, KeepsEverythingButOneVariable) {
  const Shape& shape = GetParam();
  Stack stack;
  stack.put(shape.arguments, shape.environment, kAuxv);
  const auto above = stack.memory.above(stack.end);
  const auto initial = stack.read();
  ASSERT_TRUE(initial.has_value());
  EXPECT_FALSE(initial->is_secure());
  const auto change = initial->with_preload(stack.memory, kThread, kShim);
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(change->stack_pointer % 16, 0U);
  EXPECT_LT(change->stack_pointer, stack.pointer);
  EXPECT_EQ(change->stack_pointer + change->bytes.size(), stack.end);
  // No more room than it takes.
  EXPECT_LT(stack.pointer - change->stack_pointer, shape.preload.size() + shape.old.size() + 10 + 8 + 16);

  ASSERT_EQ(stack.memory.write(kThread, TargetAddress{change->stack_pointer}, change->bytes), 0);
  EXPECT_EQ(stack.memory.above(stack.end), above);
  const Found found = look(stack.memory, change->stack_pointer);
  EXPECT_EQ(found.arguments, shape.arguments);
  EXPECT_EQ(found.auxv, kAuxv);
  Strings expected = shape.environment;
  expected.resize(std::max(expected.size(), shape.changed + 1));
  expected[shape.changed] = shape.preload;
  EXPECT_EQ(found.environment, expected);
  EXPECT_EQ(old_text(stack.memory, found.variables[shape.changed]), shape.old);
}

const std::string kNew = "LD_PRELOAD=/opt/lib/shim.so";

INSTANTIATE_TEST_SUITE_P(
    , InitialStackShape,
    testing::Values(
        Shape{"NoEnvironment", {"prog"}, {}, 0, kNew, ""},
        Shape{"NoEnvironmentOddWords", {"prog", "a"}, {}, 0, kNew, ""},
        Shape{"NoArguments", {}, {"A=1"}, 1, kNew, ""}, Shape{"NothingAtAll", {}, {}, 0, kNew, ""},
        Shape{"EmptyArgument", {""}, {"A=1", "B=2"}, 2, kNew, ""},
        Shape{"Many", {"prog", "a", "b"}, {"A=1", "B=2", "C=3"}, 3, kNew, ""},
        Shape{"ManyMore", Strings(3000, "argument"), Strings(5000, "NAME=value"), 5000, kNew, ""},
        Shape{"LongStrings",
              {"prog", std::string(100'000, 'x')},
              {"A=" + std::string(100'000, 'y')},
              1,
              kNew,
              ""},
        Shape{"OwnFirst", {"prog"}, {"LD_PRELOAD=a.so", "B=2"}, 0, kNew + ":a.so", "LD_PRELOAD=a.so"},
        Shape{"OwnInTheMiddle",
              {"prog"},
              {"A=1", "LD_PRELOAD=a.so b.so", "B=2"},
              1,
              kNew + ":a.so b.so",
              "LD_PRELOAD=a.so b.so"},
        Shape{"OwnLast", {"prog", "a"}, {"A=1", "LD_PRELOAD=a.so"}, 1, kNew + ":a.so", "LD_PRELOAD=a.so"},
        // getenv(3) takes the first of several, the loader the last.
        Shape{"OwnTwice",
              {"prog"},
              {"LD_PRELOAD=a.so", "A=1", "LD_PRELOAD=b.so", "B=2"},
              2,
              kNew + ":b.so",
              "LD_PRELOAD=b.so"},
        Shape{"OwnEmpty", {"prog"}, {"LD_PRELOAD="}, 0, kNew, "LD_PRELOAD="},
        Shape{"OthersWithItsBeginning",
              {"prog"},
              {"LD_PRELOAD", "LD_PRELOADS=x", "XLD_PRELOAD=y", "", "LD_PREL"},
              5,
              kNew,
              ""},
        Shape{"LongOwn",
              {"prog"},
              {"LD_PRELOAD=" + std::string(30'000, ':'), "A=1"},
              0,
              kNew + ":" + std::string(30'000, ':'),
              "LD_PRELOAD=" + std::string(30'000, ':')}),
    [](const auto& row) { return row.param.name; });

TEST(InitialStack, TheLoadersSecureModeIsSeen) {
  Stack stack;
  stack.put({"prog"}, {}, {{AT_SECURE, 1}, {AT_NULL, 0}});
  ASSERT_TRUE(stack.read().has_value());
  EXPECT_TRUE(stack.read()->is_secure());
}

TEST(InitialStack, OneReadingIsEnoughForAUsualProgram) {
  Stack stack;
  stack.put({"prog", "a"}, Strings(50, "NAME=value"), kAuxv);
  const auto initial = stack.read();
  ASSERT_TRUE(initial.has_value());
  EXPECT_EQ(stack.memory.readings, 1);
  ASSERT_TRUE(initial->with_preload(stack.memory, kThread, kShim).has_value());
  EXPECT_EQ(stack.memory.readings, 2);
}

struct BadBlock {
  const char* name;
  std::vector<std::uint64_t> words;
  StackError error;
};
constexpr std::uint64_t kText = kTop - 100;

class BadInitialStack : public testing::TestWithParam<BadBlock> {};

TEST_P(BadInitialStack, IsRefused) {
  Stack stack;
  // To the very end of the stack: nothing can be read behind it.
  stack.put_words(GetParam().words, kTop + 64);
  const auto initial = stack.read();
  ASSERT_FALSE(initial.has_value());
  EXPECT_EQ(initial.error(), GetParam().error);
}

std::vector<std::uint64_t> filled(std::vector<std::uint64_t> words, std::size_t count, std::uint64_t with) {
  words.resize(words.size() + count, with);
  return words;
}

INSTANTIATE_TEST_SUITE_P(
    , BadInitialStack,
    testing::Values(BadBlock{"AbsurdArgc", {~std::uint64_t{0}, 0, 0, AT_NULL, 0}, StackError::TooLong},
                    BadBlock{"ArgcPastTheStack", {100'000, 0, 0, AT_NULL, 0}, StackError::Unreadable},
                    BadBlock{"WrongArgc", {1, kText, kText, 0, 0, AT_NULL, 0}, StackError::Unreadable},
                    BadBlock{"NoEndOfArguments", {1, kText}, StackError::Unreadable},
                    BadBlock{"NoEndOfEnvironment", {0, 0, kText, kText}, StackError::Unreadable},
                    BadBlock{"NoAuxiliaryVector", {0, 0, 0}, StackError::Unreadable},
                    BadBlock{"HalfAnAuxiliaryVector", {0, 0, 0, AT_PAGESZ}, StackError::Unreadable},
                    BadBlock{"NoEndOfTheAuxiliaryVector", {0, 0, 0, AT_PAGESZ, 4096}, StackError::Unreadable},
                    BadBlock{"TooManyArguments", filled({150'000}, 200'000, kText), StackError::TooLong},
                    BadBlock{"TooManyVariables", filled({0, 0}, 200'000, kText), StackError::TooLong},
                    BadBlock{"TooLongAnAuxiliaryVector", filled({0, 0, 0}, 200'000, AT_PAGESZ),
                             StackError::TooLong}),
    [](const auto& row) { return row.param.name; });

TEST(InitialStack, AnOddStackPointerIsRefused) {
  Stack stack;
  stack.put({"prog"}, {}, kAuxv);
  EXPECT_FALSE(InitialStack::read(stack.memory, kThread, stack.pointer + 4).has_value());
  EXPECT_FALSE(InitialStack::read(stack.memory, kThread, 0).has_value());
  EXPECT_FALSE(InitialStack::read(stack.memory, kThread, ~std::uint64_t{7}).has_value());
}

TEST(InitialStack, APreloadThatIsTooLongStaysAsItIs) {
  Stack stack;
  stack.put({"prog"}, {"LD_PRELOAD=" + std::string(40'000, ':')}, kAuxv);
  const auto change = stack.read()->with_preload(stack.memory, kThread, kShim);
  ASSERT_FALSE(change.has_value());
  EXPECT_EQ(change.error(), StackError::TooLong);
}

TEST(InitialStack, AListOfLibrariesStaysAsItIs) {
  for (const char* variable : {"LD_TRACE_LOADED_OBJECTS=1", "LD_TRACE_LOADED_OBJECTS="}) {
    Stack stack;
    stack.put({"prog"}, {"A=1", variable, "B=2"}, kAuxv);
    const auto change = stack.read()->with_preload(stack.memory, kThread, kShim);
    ASSERT_FALSE(change.has_value());
    EXPECT_EQ(change.error(), StackError::OnlyLists);
  }
  Stack stack;
  stack.put({"prog"}, {"LD_TRACE_LOADED_OBJECTS_OF=1"}, kAuxv);
  EXPECT_TRUE(stack.read()->with_preload(stack.memory, kThread, kShim).has_value());
}

TEST(InitialStack, VariablesThatPointNowhereAreOthers) {
  Stack stack;
  stack.put_words({0, 0, 1, kTop, ~std::uint64_t{0}, 0, AT_NULL, 0});
  const auto change = stack.read()->with_preload(stack.memory, kThread, kShim);
  ASSERT_TRUE(change.has_value());
  ASSERT_EQ(stack.memory.write(kThread, TargetAddress{change->stack_pointer}, change->bytes), 0);
  EXPECT_EQ(stack.memory.word(change->stack_pointer + 32), ~std::uint64_t{0});
  EXPECT_EQ(stack.memory.text(stack.memory.word(change->stack_pointer + 40)), kNew);
}

TEST(InitialStack, VariablesAllOverThePlaceAreNotLookedForLong) {
  std::vector<std::uint64_t> words{0, 0};
  for (std::uint64_t i = 0; i < 100'000; ++i) words.push_back(kTop - 64 - (i % 2) * 100'000);
  words.insert(words.end(), {0, AT_NULL, 0});
  Stack stack;
  stack.put_words(words);
  const auto change = stack.read()->with_preload(stack.memory, kThread, kShim);
  ASSERT_FALSE(change.has_value());
  EXPECT_EQ(change.error(), StackError::TooLong);
  EXPECT_LT(stack.memory.readings, 1200);
}

}  // namespace
}  // namespace secbox::sys
