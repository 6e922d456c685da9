// Who called: the shim's word against what is really mapped. The plugin is the test's own process.
#include "supervisor/broker/callers.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "tests/unit/broker/fakes.h"

// Not optimised into its callers: its return address and its name are what the tests look for.
extern "C" [[gnu::noinline]] std::uint64_t secbox_test_caller() {
  asm volatile("");
  return reinterpret_cast<std::uint64_t>(__builtin_extract_return_addr(__builtin_return_address(0)));
}
extern "C" [[gnu::noinline]] std::uint64_t secbox_test_module_function() {
  const std::uint64_t address = secbox_test_caller();
  asm volatile("");
  return address;
}

namespace secbox::broker {
namespace {

class CallersTest : public BrokerTest {
 protected:
  CallersTest() {
    services.callers = &callers;
    callers.note_image(::getpid(), exe);
    const auto fd = callers.make_board(::getpid());
    EXPECT_TRUE(fd.has_value());
    void* mapped = ::mmap(nullptr, sizeof(secbox_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
    EXPECT_NE(mapped, MAP_FAILED);
    board = static_cast<secbox_board*>(mapped);
    grant({dir.string() + "/**"});
    path = make_file("x");
  }
  ~CallersTest() override { ::munmap(board, sizeof(secbox_board)); }

  secbox_slot& slot(ThreadId tid) {
    return board->slots[static_cast<std::uint32_t>(tid.value) % SECBOX_SLOTS];
  }
  void claim(secbox_function function, std::uint64_t address, std::uint64_t argument = 0,
             std::string_view text = {}) {
    secbox_slot& mine = slot(caller);
    mine.tid = static_cast<std::uint32_t>(caller.value);
    mine.function = static_cast<std::uint16_t>(function);
    mine.caller = address;
    mine.argument = argument;
    mine.text_length = static_cast<std::uint16_t>(text.size());
    std::memcpy(mine.text, text.data(), text.size());
  }
  // An open whose path stands at the plugin's address `at`.
  FakeSink::Line open_line(std::uint64_t at) {
    EXPECT_EQ(call("openat", {at_cwd, at, O_RDONLY, 0})->kind, Answer::Kind::Installed);
    return sink.lines().back();
  }
  FakeSink::Line open_line() { return open_line(memory.put_text(path)); }

  std::string exe = std::filesystem::read_symlink("/proc/self/exe");
  Callers callers{services};
  secbox_board* board = nullptr;
  std::string path;
};

TEST_F(CallersTest, AClaimNamesModuleAndFunction) {
  const std::uint64_t at = memory.put_text(path);
  claim(SECBOX_FUNCTION_open64, secbox_test_module_function(), at);
  const auto line = open_line(at);
  EXPECT_TRUE(line.from_shim);
  EXPECT_TRUE(line.checked);
  EXPECT_EQ(line.module, exe);
  EXPECT_EQ(line.function, "secbox_test_module_function");
  EXPECT_EQ(line.called, "open64");
}

TEST_F(CallersTest, WithoutAClaimTheInstructionPointerSpeaks) {
  instruction_pointer = secbox_test_module_function();
  const auto line = open_line();
  EXPECT_FALSE(line.from_shim);
  EXPECT_TRUE(line.checked);
  EXPECT_EQ(line.module, exe);
  EXPECT_EQ(line.function, "secbox_test_module_function");
  EXPECT_EQ(line.called, "");
}

TEST_F(CallersTest, AClaimOfAnotherCallIsNotBelieved) {
  instruction_pointer = reinterpret_cast<std::uint64_t>(&::dlopen) + 1;
  const std::uint64_t address = secbox_test_module_function();
  claim(SECBOX_FUNCTION_open, address, 0x1234);
  EXPECT_FALSE(open_line().from_shim) << "another argument";
  claim(SECBOX_FUNCTION_connect, address);
  EXPECT_FALSE(open_line().from_shim) << "another family";
  claim(SECBOX_FUNCTION_dlopen, address);
  EXPECT_FALSE(open_line().from_shim) << "the loader is not who calls";
  claim(SECBOX_FUNCTION_open, address);
  slot(caller).tid += SECBOX_SLOTS;
  EXPECT_FALSE(open_line().from_shim) << "another thread's";
  claim(SECBOX_FUNCTION_open, address);
  EXPECT_TRUE(open_line().from_shim);
}

TEST_F(CallersTest, ALieIsUncheckedAndGarbageIsRecordedOnce) {
  claim(SECBOX_FUNCTION_open, reinterpret_cast<std::uint64_t>(board));
  const auto lie = open_line();
  EXPECT_TRUE(lie.from_shim);
  EXPECT_FALSE(lie.checked) << "no code is there";
  EXPECT_EQ(lie.module, "");

  instruction_pointer = secbox_test_module_function();
  std::memset(&slot(caller), 0xff, sizeof(secbox_slot));
  slot(caller).tid = static_cast<std::uint32_t>(caller.value);
  for (int i = 0; i < 3; ++i) {
    const auto line = open_line();
    EXPECT_TRUE(line.invalid_claim);
    EXPECT_FALSE(line.from_shim);
    EXPECT_EQ(line.module, exe);
    EXPECT_EQ(line.verdict, audit::Verdict::Allow);
  }
  const auto lines = sink.lines();
  EXPECT_EQ(std::ranges::count(lines, "forged_context", &FakeSink::Line::event), 1);
}

TEST_F(CallersTest, ADecisionIsTheSameWhateverIsClaimed) {
  grant({});
  const std::uint64_t at = memory.put_text(path);
  for (unsigned function = 0; function < SECBOX_FUNCTION_COUNT + 3U; ++function) {
    claim(static_cast<secbox_function>(function), secbox_test_module_function(), at, "localhost");
    EXPECT_TRUE(call("openat", {at_cwd, at, O_RDONLY, 0})->is_errno(EACCES)) << function;
  }
}

// The module's rule denies what the plugin's grants: with a claim that was checked, and only for that module.
TEST_F(CallersTest, RulesByModuleNarrow) {
  checker::Rule deny;
  deny.id = "modules[0].deny[0]";
  deny.effect = checker::Effect::Deny;
  deny.verbs = checker::Verb::FileRead;
  deny.paths = {dir.string() + "/**"};
  const auto here = checker::ModuleRules::make({{.text = "here", .match = {exe}, .deny = {deny}}});
  const auto elsewhere =
      checker::ModuleRules::make({{.text = "elsewhere", .match = {"libother.so"}, .deny = {deny}}});
  ASSERT_TRUE(here && elsewhere);
  const std::uint64_t at = memory.put_text(path);
  const auto opened = [&] {
    return call("openat", {at_cwd, at, O_RDONLY, 0})->kind == Answer::Kind::Installed;
  };

  services.module_rules = &*here;
  EXPECT_TRUE(opened()) << "no claim";
  claim(SECBOX_FUNCTION_open, reinterpret_cast<std::uint64_t>(board), at);
  EXPECT_TRUE(opened()) << "a claim that is not so";
  claim(SECBOX_FUNCTION_open, secbox_test_module_function(), at);
  EXPECT_FALSE(opened());
  EXPECT_EQ(sink.lines().back().rule, "modules[0].deny[0]");
  slot(caller).function = SECBOX_FUNCTION_NONE;
  instruction_pointer = secbox_test_module_function();
  EXPECT_FALSE(opened()) << "its own system call";
  services.module_rules = &*elsewhere;
  EXPECT_TRUE(opened());
  grant({});
  EXPECT_FALSE(opened()) << "never more than the plugin may";
}

TEST_F(CallersTest, AProgramThatWasReplacedLeavesNothingBehind) {
  claim(SECBOX_FUNCTION_open, secbox_test_module_function());
  EXPECT_TRUE(open_line().from_shim);
  callers.note_image(::getpid(), exe);
  EXPECT_FALSE(open_line().from_shim);
}

TEST_F(CallersTest, NothingIsSaidBeforeThePluginRuns) {
  Callers fresh(services);
  services.callers = &fresh;
  claim(SECBOX_FUNCTION_open, secbox_test_module_function());
  EXPECT_FALSE(open_line().has_caller);
}

TEST_F(CallersTest, ADenialIsExplainedToWhoAsks) {
  grant({});
  const std::uint64_t at = memory.put_text(path);
  claim(SECBOX_FUNCTION_open, secbox_test_module_function(), at);
  EXPECT_TRUE(call("openat", {at_cwd, at, O_RDONLY, 0})->is_errno(EACCES));
  EXPECT_STREQ(slot(caller).explanation, "") << "nobody asked";
  slot(caller).flags = SECBOX_SLOT_WANTS_EXPLANATION;
  EXPECT_TRUE(call("openat", {at_cwd, at, O_RDONLY, 0})->is_errno(EACCES));
  const std::string_view text = slot(caller).explanation;
  EXPECT_TRUE(text.starts_with("secbox: denied file:read " + path + ": ")) << text;
  EXPECT_TRUE(text.ends_with("\n"));
  EXPECT_NE(text.find("--allow"), std::string_view::npos);
}

TEST_F(CallersTest, VariablesAreRecordedOnceAProgram) {
  checker::Rule rule;
  rule.id = "m0";
  rule.effect = checker::Effect::Allow;
  rule.verbs = checker::Verb::EnvRead;
  rule.paths = {"LC_*"};
  set_rules({rule});
  std::strcpy(board->variable[0].name, "LC_ALL");
  std::strcpy(board->variable[1].name, "API_TOKEN");
  board->variables = 2;
  callers.record_variables();
  callers.record_variables();
  board->variables = 0xffffffff;  // a lie: no more than there can be
  std::memset(board->variable, 'A', sizeof board->variable);
  callers.record_variables();
  const auto lines = sink.lines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].event, "env_read");
  EXPECT_EQ(lines[0].name, "LC_ALL");
  EXPECT_EQ(lines[0].reason, "a rule grants it");
  EXPECT_EQ(lines[0].verdict, audit::Verdict::None);
  EXPECT_EQ(lines[1].name, "API_TOKEN");
  EXPECT_NE(lines[1].reason, lines[0].reason);
  EXPECT_EQ(lines[2].name, std::string(64, 'A')) << "cut where no NUL is, and recorded once";
}

TEST_F(CallersTest, TheNameBehindAnAddressIsTheNewest) {
  Board view(board);
  const std::array<std::uint8_t, 16> address{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  EXPECT_EQ(view.name_of(address), "");
  const auto put = [&](unsigned at, std::string_view name, std::uint32_t sequence) {
    secbox_name& entry = board->names[at];
    std::memcpy(entry.address, address.data(), address.size());
    std::memcpy(entry.name, name.data(), name.size());
    entry.length = static_cast<std::uint8_t>(name.size());
    entry.sequence = sequence;
  };
  put(0, "old.example", 2);
  put(1, "new.example", 2);
  board->names_written = 2;
  EXPECT_EQ(view.name_of(address), "new.example");
  put(1, "half", 3);
  EXPECT_EQ(view.name_of(address), "old.example") << "one that is being written is passed over";
}

}  // namespace
}  // namespace secbox::broker
