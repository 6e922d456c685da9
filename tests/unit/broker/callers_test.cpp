// Who called: the shim's word against what is really mapped. The plugin is the test's own process.
#include "supervisor/broker/callers.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

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
    instruction_pointer = in_libc;
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
  const std::uint64_t in_libc = reinterpret_cast<std::uint64_t>(&::getppid) + 1;
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
  const std::uint64_t address = secbox_test_module_function();
  claim(SECBOX_FUNCTION_open, address, 0x1234);
  EXPECT_FALSE(open_line().from_shim) << "another argument";
  claim(SECBOX_FUNCTION_connect, address);
  EXPECT_FALSE(open_line().from_shim) << "another family";
  claim(SECBOX_FUNCTION_open, address);
  instruction_pointer = address;
  EXPECT_FALSE(open_line().from_shim) << "a system call of the module's own";
  instruction_pointer = in_libc;
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

// A module that has one function, whose code fills the page at 4096; the rest of the file is its names.
class CraftedModule {
 public:
  static constexpr std::size_t kPage = 4096;

  CraftedModule(std::string path, std::string_view function, std::size_t names_size = 64)
      : path_(std::move(path)) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shoff = 1024;
    header.e_shnum = 2;
    std::array<Elf64_Shdr, 2> sections{};
    sections[0].sh_type = SHT_SYMTAB;
    sections[0].sh_offset = 2048;
    sections[0].sh_size = sizeof(Elf64_Sym);
    sections[0].sh_link = 1;
    sections[1].sh_type = SHT_STRTAB;
    sections[1].sh_offset = 2 * kPage;
    sections[1].sh_size = names_size;
    Elf64_Sym symbol{};
    symbol.st_name = 1;
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 1;
    symbol.st_value = kPage;
    symbol.st_size = kPage;
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0755));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(2 * kPage + names_size)), 0);
    EXPECT_EQ(::pwrite(fd.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
    EXPECT_EQ(::pwrite(fd.get(), sections.data(), sizeof sections, 1024),
              static_cast<ssize_t>(sizeof sections));
    EXPECT_EQ(::pwrite(fd.get(), &symbol, sizeof symbol, 2048), static_cast<ssize_t>(sizeof symbol));
    rename_function(function);
    code_ = ::mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd.get(), kPage);
    EXPECT_NE(code_, MAP_FAILED);
  }
  ~CraftedModule() { ::munmap(code_, kPage); }
  CraftedModule(const CraftedModule&) = delete;
  CraftedModule& operator=(const CraftedModule&) = delete;

  void rename_function(std::string_view function) const {
    const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    const std::string name(function);
    EXPECT_EQ(::pwrite(fd.get(), name.c_str(), name.size() + 1, 2 * kPage + 1),
              static_cast<ssize_t>(name.size() + 1));
  }
  [[nodiscard]] void* code() const { return code_; }
  [[nodiscard]] std::uint64_t caller() const { return reinterpret_cast<std::uint64_t>(code_) + 16; }

 private:
  std::string path_;
  void* code_ = nullptr;
};

// Taken away without our being asked: for a second at most it is still taken to be there.
TEST_F(CallersTest, AModuleThatIsGoneIsNotNamedForLong) {
  const CraftedModule module(dir.string() + "/gone.so", "was_here");
  claim(SECBOX_FUNCTION_open, module.caller());
  EXPECT_EQ(open_line().function, "was_here");
  ASSERT_EQ(::mmap(module.code(), CraftedModule::kPage, PROT_READ | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            module.code());
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  const auto line = open_line();
  EXPECT_FALSE(line.checked);
  EXPECT_EQ(line.module, "");
}

TEST_F(CallersTest, AModuleThatIsRewrittenIsReadAgain) {
  const CraftedModule module(dir.string() + "/new.so", "first");
  claim(SECBOX_FUNCTION_open, module.caller());
  EXPECT_EQ(open_line().function, "first");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // what was seen of it holds for a second
  module.rename_function("second");
  callers.note_mapping(::getpid(), 1, 1);
  EXPECT_EQ(open_line().function, "second");
  callers.note_mapping(::getpid(), module.caller() - 1, 1);
  EXPECT_EQ(open_line().function, "second");
}

// Files that are nothing but symbols: what all of them take is bounded, and what nobody uses makes room.
TEST_F(CallersTest, SymbolsOfManyModulesTakeLittleMemory) {
  constexpr std::size_t kNames = 4U << 20;
  constexpr std::size_t kMost = 32U << 20;
  for (int number = 0; number < 12; ++number) {
    const std::string file = dir.string() + "/" + std::to_string(number) + ".so";
    const CraftedModule module(file, "large", kNames);
    callers.note_mapping(::getpid());
    claim(SECBOX_FUNCTION_open, module.caller());
    const auto line = open_line();
    EXPECT_TRUE(line.checked);
    EXPECT_EQ(line.module, file);
    EXPECT_EQ(line.function, "large") << "nobody uses the others";
    EXPECT_LE(callers.image_bytes(), kMost);
  }
  const CraftedModule module(dir.string() + "/larger.so", "larger", kNames + 1);
  callers.note_mapping(::getpid());
  claim(SECBOX_FUNCTION_open, module.caller());
  EXPECT_EQ(open_line().function, "open") << "as it called: too large by itself";
}

// Only root may choose a number.
pid_t child_with_number(pid_t number) {
  clone_args arguments{};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<std::uintptr_t>(&number);
  arguments.set_tid_size = 1;
  const auto child = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (child != 0) return child;
  while (true) ::pause();
}

TEST_F(CallersTest, AnotherProcessOfTheSameNumberIsNotTakenForTheOne) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may choose the number of a process";
  const auto end = [](pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  };
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) ::pause();
  }
  callers.note_image(child, exe);
  const auto fd = callers.make_board(child);
  ASSERT_TRUE(fd.has_value());
  void* mapped = ::mmap(nullptr, sizeof(secbox_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  secbox_board* mine = std::exchange(board, static_cast<secbox_board*>(mapped));
  caller = ThreadId{child};
  claim(SECBOX_FUNCTION_open, secbox_test_module_function());
  EXPECT_TRUE(open_line().from_shim);
  end(child);
  std::this_thread::sleep_for(
      std::chrono::milliseconds(1100));  // what is known of a thread is looked at again
  EXPECT_EQ(child_with_number(child), child);
  EXPECT_FALSE(open_line().from_shim) << "what the first one was doing when it ended";
  end(child);
  ::munmap(std::exchange(board, mine), sizeof(secbox_board));
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
