// What happens to a held call when something around it fails: it is refused, recorded where it can be, and
// answered once.
#include "supervisor/broker/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <new>
#include <thread>
#include <vector>

#include "tests/unit/broker/fakes.h"

namespace secbox::broker {
namespace {

using audit::Verdict;
using Kind = Answer::Kind;

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class PipelineTest : public BrokerTest {};

// ---- memory ----

struct PathCall {
  const char* name;
  int path_argument;
};
constexpr PathCall kPathCalls[] = {
    {"openat", 1},    {"openat2", 1},     {"unlinkat", 1},  {"renameat2", 1}, {"renameat2", 3},
    {"linkat", 1},    {"linkat", 3},      {"symlinkat", 0}, {"symlinkat", 2}, {"mkdirat", 1},
    {"mknodat", 1},   {"fchmodat", 1},    {"fchownat", 1},  {"truncate", 0},  {"utimensat", 1},
    {"lsetxattr", 0}, {"removexattr", 0}, {"execve", 0},    {"execveat", 1},
#if defined(__x86_64__)
    {"open", 0},      {"creat", 0},       {"unlink", 0},    {"rmdir", 0},     {"rename", 0},
    {"link", 0},      {"symlink", 0},     {"mkdir", 0},     {"mknod", 0},     {"chmod", 0},
    {"chown", 0},     {"utime", 0},       {"utimes", 0},    {"futimesat", 1},
#endif
};

class PathCallTest : public PipelineTest, public testing::WithParamInterface<PathCall> {
 protected:
  // Everything that the call points to is good, but for the path in question.
  std::array<std::uint64_t, 6> arguments(std::uint64_t path) {
    const std::uint64_t good = memory.put_text(make_file("good"));
    std::array<std::uint64_t, 6> result{good, good, good, good, 0, 0};
    if (std::string_view(GetParam().name) == "openat2") {
      result[2] = memory.put_object(open_how{.flags = O_RDONLY, .mode = 0, .resolve = 0});
      result[3] = sizeof(open_how);
    }
    result[static_cast<std::size_t>(GetParam().path_argument)] = path;
    return result;
  }
};

TEST_P(PathCallTest, PathOutsideOfItsMemoryIsEfault) {
  grant({"/**"}, checker::kFileVerbs | checker::Verb::ExecRun);
  const Answer* answer = call(GetParam().name, arguments(0x7fff0000));
  ASSERT_NE(answer, nullptr);
  EXPECT_TRUE(answer->is_errno(EFAULT)) << answer->value;
}

TEST_P(PathCallTest, PathWithoutEndIsEfaultOrTooLong) {
  grant({"/**"}, checker::kFileVerbs | checker::Verb::ExecRun);
  const std::string text(5000, 'a');
  const auto bytes = std::as_bytes(std::span(text));
  const Answer* answer = call(GetParam().name, arguments(memory.put(bytes)));
  ASSERT_NE(answer, nullptr);
  EXPECT_TRUE(answer->is_errno(ENAMETOOLONG)) << answer->value;
  answer = call(GetParam().name, arguments(memory.put(bytes.first(300))));
  ASSERT_NE(answer, nullptr);
  EXPECT_TRUE(answer->is_errno(EFAULT)) << answer->value;
}

TEST_P(PathCallTest, MemoryThatMayNotBeReadIsRefusedAndRecorded) {
  grant({"/**"}, checker::kFileVerbs | checker::Verb::ExecRun);
  const auto prepared = arguments(memory.put_text("/"));
  memory.unreadable = EPERM;
  const Answer* answer = call(GetParam().name, prepared);
  ASSERT_NE(answer, nullptr);
  EXPECT_TRUE(answer->is_errno(EACCES)) << answer->value;
  ASSERT_EQ(sink.lines().size(), 1U);
  EXPECT_EQ(sink.lines()[0].rule, "failed-closed");
  EXPECT_EQ(sink.lines()[0].verdict, Verdict::Deny);
}

std::string path_call_name(const testing::TestParamInfo<PathCall>& info) {
  return std::string(info.param.name) + "_" + std::to_string(info.param.path_argument);
}
INSTANTIATE_TEST_SUITE_P(Calls, PathCallTest, testing::ValuesIn(kPathCalls), path_call_name);

// ---- the caller ----

TEST_F(PipelineTest, CallerThatIsNotVisibleIsRefused) {
  const std::string path = make_file("file");
  grant({path});
  caller = ThreadId{0};
  EXPECT_TRUE(open(path, O_RDONLY)->is_errno(EPERM));
  ASSERT_EQ(sink.lines().size(), 1U);
  EXPECT_EQ(sink.lines()[0].rule, "failed-closed");
}

TEST_F(PipelineTest, CallerThatIsGoneIsNeitherLookedAtNorAnswered) {
  caller = ThreadId{(4 << 20) - 1};  // nobody's: the largest number that pid_max may be set to
  channel.looks_before_death = 0;
  EXPECT_EQ(open("relative", O_RDONLY), nullptr);
  EXPECT_EQ(open("/proc/self/maps", O_RDONLY), nullptr);
  EXPECT_EQ(open((dir / "new").string(), O_WRONLY | O_CREAT), nullptr);
  for (const FakeSink::Line& line : sink.lines()) EXPECT_NE(line.verdict, Verdict::Deny) << line.path;
  EXPECT_FALSE(std::filesystem::exists(dir / "new"));
}

TEST_F(PipelineTest, CallerThatDiesOnTheWayIsNotAnswered) {
  const std::string path = make_file("file");
  grant({dir.string() + "/**"});
  for (int looks = 0; looks < 6; ++looks) {
    SCOPED_TRACE(looks);
    channel.looks_before_death = looks;
    const Answer* answer = open(dir.string() + "/../" + dir.filename().string() + "/file", O_RDWR | O_CREAT);
    if (answer != nullptr) {
      EXPECT_EQ(answer->kind, Kind::Installed);  // more looks than the call takes
    }
  }
  EXPECT_EQ(content_of(path), "content");
}

// ---- putting a descriptor into the caller ----

TEST_F(PipelineTest, FullTableLeavesTheFileAsItWas) {
  grant({dir.string() + "/**"});
  channel.full_table = EMFILE;
  const std::string path = make_file("file");
  EXPECT_TRUE(open(path, O_RDONLY)->is_errno(EMFILE));
  EXPECT_TRUE(open(path, O_WRONLY | O_TRUNC)->is_errno(EMFILE));
  EXPECT_TRUE(open(path, O_RDWR | O_TRUNC | O_CREAT)->is_errno(EMFILE));
  EXPECT_EQ(content_of(path), "content");
  const std::string fresh = (dir / "fresh").string();
  EXPECT_TRUE(open(fresh, O_WRONLY | O_CREAT)->is_errno(EMFILE));
  EXPECT_TRUE(open(fresh, O_RDONLY | O_CREAT | O_EXCL)->is_errno(EMFILE));
  EXPECT_FALSE(std::filesystem::exists(fresh));
  EXPECT_EQ(sink.lines().back().result, "EMFILE");
}

TEST_F(PipelineTest, InstalledDescriptorIsWhatWasOpened) {
  grant({dir.string() + "/**"});
  const std::string path = make_file("file");
  const Answer* answer = open(path, O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(answer->kind, Kind::Installed);
  EXPECT_TRUE(answer->close_on_exec);
  char text[16]{};
  EXPECT_EQ(::read(answer->fd.get(), text, sizeof text), 7);
  EXPECT_STREQ(text, "content");
  answer = open(path, O_WRONLY | O_TRUNC);
  ASSERT_EQ(answer->kind, Kind::Installed);
  EXPECT_FALSE(answer->close_on_exec);
  EXPECT_EQ(content_of(path), "");
  EXPECT_EQ(denials, 0);
}

// ---- the log ----

TEST_F(PipelineTest, WhatCannotBeRecordedIsNotAnsweredWithSuccess) {
  grant({dir.string() + "/**"});
  const std::string path = make_file("file");
  sink.full = true;
  EXPECT_TRUE(open(path, O_RDONLY)->is_errno(EIO));
  EXPECT_EQ(audit_failures, 1);
  EXPECT_TRUE(open(path, O_WRONLY | O_TRUNC)->is_errno(EIO));
  EXPECT_EQ(content_of(path), "content");
  EXPECT_TRUE(call("unlinkat", {at_cwd, memory.put_text("/nowhere"), 0})->is_errno(EIO));
  services.mode = Mode::Audit;
  EXPECT_TRUE(call("mount", {})->is_errno(EIO));
  EXPECT_TRUE(call("setuid", {0})->is_errno(EIO)) << "a Continue, too, is recorded first";
}

// ---- rows ----

TEST_F(PipelineTest, UnknownNumberIsRefusedInEveryMode) {
  for (const int number : {5000, -5}) {
    if (number > 0) {
      EXPECT_TRUE(call(number, {})->is_errno(ENOSYS));
      EXPECT_EQ(sink.lines().back().rule, "refused:syscall");
      EXPECT_EQ(sink.lines().back().verdict, Verdict::Deny);
    } else {  // nothing was received: the next one is waited for
      begin(number, {});
      EXPECT_EQ(channel.answer(last_id), nullptr);
    }
  }
}

TEST_F(PipelineTest, RefusedCallsAreRecordedAndInAuditModeLetThrough) {
  const std::size_t rows = syscall_table().size();
  std::size_t refused = 0;
  for (const SyscallRow& row : syscall_table()) {
    if (row.call_class != CallClass::Refuse || native_number(row) < 0) continue;
    SCOPED_TRACE(row.name);
    ++refused;
    services.mode = Mode::Enforce;
    EXPECT_TRUE(call(native_number(row), {})->is_errno(row.deny_errno));
    EXPECT_EQ(sink.lines().back().verdict, Verdict::Deny);
    services.mode = Mode::Audit;
    EXPECT_EQ(call(native_number(row), {})->kind, Kind::Continue);
    EXPECT_EQ(sink.lines().back().verdict, Verdict::WouldDeny);
  }
  EXPECT_GT(refused, rows / 10);
  EXPECT_TRUE(services.views_differ) << "one of them may have given the caller other mounts";
}

TEST_F(PipelineTest, PathsOfAnotherViewAreLeftToTheKernelAndToldSo) {
  services.mode = Mode::Audit;
  services.views_differ = true;
  EXPECT_EQ(open(make_file("file"), O_RDONLY)->kind, Kind::Installed) << "the view is the supervisor's own";
  caller = ThreadId{(4 << 20) - 1};  // its view cannot be told
  EXPECT_EQ(open("/etc/passwd", O_RDONLY)->kind, Kind::Continue);
  EXPECT_EQ(sink.lines().back().event, "foreign_view");
  EXPECT_EQ(sink.lines().back().enforcement, audit::Enforcement::NoDecision);
}

TEST_F(PipelineTest, ExhaustionWhileJudgingIsARefusal) {
  set_rules({});
  services.host_of = [](const std::array<std::uint8_t, 16>&) -> std::string { throw std::bad_alloc(); };
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(9);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const Answer* answer =
      call("connect", {as_argument(udp.get()), memory.put_object(address), sizeof address});
  EXPECT_TRUE(answer->is_errno(ENOMEM)) << answer->value;
  EXPECT_EQ(sink.lines().back().rule, "failed-closed");
}

// ---- workers ----

TEST_F(PipelineTest, CallsThatBlockAreRefusedOnceTooManyDo) {
  const std::string fifo = (dir / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  grant({fifo});
  const auto release = std::make_shared<std::atomic<bool>>(false);  // the workers outlive the test's body
  std::size_t taken = 0;
  while (taken < 2 * BlockingCalls::kMaxWorkers && blocking.start([release] { release->wait(false); }))
    ++taken;
  EXPECT_LE(taken, BlockingCalls::kMaxWorkers);
  EXPECT_TRUE(open(fifo, O_RDONLY)->is_errno(EAGAIN));
  EXPECT_EQ(sink.lines().back().rule, "failed-closed");
  release->store(true);
  release->notify_all();
}

TEST_F(PipelineTest, BlockedOpenEndsWithItsCaller) {
  const std::string fifo = (dir / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  grant({fifo});
  ASSERT_TRUE(blocking.watch_callers());
  const std::uint64_t reader = begin(number_of("openat"), {at_cwd, memory.put_text(fifo), O_RDONLY, 0});
  EXPECT_EQ(channel.answer(reader), nullptr);
  const UniqueFd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));  // returns once the worker has opened it
  const Answer* answer = channel.wait_for(reader);
  ASSERT_NE(answer, nullptr);
  EXPECT_EQ(answer->kind, Kind::Installed);
}

// ---- the end ----

TEST_F(PipelineTest, SessionIsEndedBeforeItsFirstProcessIsLetGo) {
  services.first_process = ::getpid();
  std::size_t answered_before = 99;
  services.on_first_process_exit = [&] { answered_before = channel.answer(last_id) == nullptr ? 0 : 1; };
  EXPECT_EQ(call("exit_group", {3})->kind, Kind::Continue);
  EXPECT_EQ(answered_before, 0U);
  EXPECT_EQ(sink.lines().back().event, "process_exit");
  grant({"/**"}, checker::Verb::ExecRun | checker::Verb::FileLoad);
  EXPECT_TRUE(call("execve", {memory.put_text("/bin/true"), 0, 0})->is_errno(EAGAIN))
      << "natively the exit would have ended this thread";
}

TEST_F(PipelineTest, NothingIsDoneOnceNothingCanBeRecorded) {
  grant({dir.string() + "/**"}, checker::Verb::FileCreate);
  const std::string name = dir.string() + "/late";
  services.under_way.close(std::chrono::seconds(1));
  EXPECT_EQ(call("mkdir", {memory.put_text(name), 0700}), nullptr);
  EXPECT_NE(::access(name.c_str(), F_OK), 0);
}

TEST(UnderWay, EndWaitsForWhatHasBegun) {
  UnderWay calls;
  UnderWay::Pass begun(calls);
  ASSERT_TRUE(begun.open());
  const auto started = std::chrono::steady_clock::now();
  calls.close(std::chrono::milliseconds(20));
  EXPECT_GE(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(20));
  EXPECT_FALSE(UnderWay::Pass(calls).open());
  begun.leave();
  const auto again = std::chrono::steady_clock::now();
  calls.close(std::chrono::seconds(60));
  EXPECT_LT(std::chrono::steady_clock::now() - again, std::chrono::seconds(30));
}

TEST_F(PipelineTest, ExitThatAnExecOvertookIsNoEnd) {
  services.first_process = ::getpid();
  std::atomic<bool> ended = false;
  services.on_first_process_exit = [&] { ended = true; };
  const InFlight exec(services.first_process_execs);
  channel.looks_before_death = 3;  // the exec succeeds, and ends the thread that called exit_group
  EXPECT_EQ(call("exit_group", {0}), nullptr);
  EXPECT_FALSE(ended);
  EXPECT_FALSE(services.ending);
}

TEST_F(PipelineTest, SessionThatCannotBeServesTheEndAlone) {
  sys::Notification notification;
  notification.tid = caller;
  const auto hold = [&](std::uint64_t id, int number) {
    notification.id = id;
    notification.number = number;
    channel.hold(notification);
  };
  hold(1, number_of("openat"));
  hold(2, -1);
  hold(3, number_of("exit_group"));
  hold(4, number_of("openat"));
  int before_end = 0;
  serve_only_the_end(channel, [&] { before_end += channel.answer(3) == nullptr ? 1 : 100; });
  EXPECT_EQ(before_end, 1);
  EXPECT_TRUE(channel.answer(1)->is_errno(EPERM));
  EXPECT_EQ(channel.answer(3)->kind, Kind::Continue);
  EXPECT_EQ(channel.answer(4), nullptr);
  serve_only_the_end(channel, [&] { before_end = 99; });  // refuses what is left, until nobody is
  EXPECT_TRUE(channel.answer(4)->is_errno(EPERM));
  EXPECT_EQ(before_end, 1);
}

}  // namespace
}  // namespace secbox::broker
