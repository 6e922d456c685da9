#include "supervisor/audit/writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "tests/unit/audit/support.h"

namespace secbox::audit {
namespace {

class Writer : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "secbox-audit-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name = "events.ndjson") const { return directory_ + "/" + name; }
  std::unique_ptr<FileWriter> open() const {
    auto writer = FileWriter::open(path(), identity());
    EXPECT_TRUE(writer) << (writer ? "" : writer.error().text());
    return writer ? std::move(*writer) : nullptr;
  }
  std::vector<std::string> lines(const std::string& name = "events.ndjson") const {
    std::ifstream file(path(name));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  std::string directory_;
};

TEST_F(Writer, WritesOneLineARecordAndNumbersThem) {
  const auto writer = open();
  EXPECT_EQ(*writer->write(denied_open("/a")), 1U);
  EXPECT_EQ(*writer->write(denied_open("/b")), 2U);
  const auto log = lines();
  ASSERT_EQ(log.size(), 2U);
  EXPECT_EQ(parsed(log[0])["seq"], 1);
  EXPECT_EQ(parsed(log[1])["seq"], 2);
  EXPECT_EQ(parsed(log[1])["target"]["path"], "/b");
  EXPECT_LE(parsed(log[0])["mono_ns"], parsed(log[1])["mono_ns"]);
}
TEST_F(Writer, IsForItsOwnerAlone) {
  const mode_t before = ::umask(0);
  const auto writer = open();
  ::umask(before);
  struct stat st{};
  ASSERT_EQ(::stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
}
TEST_F(Writer, AppendsToWhatIsThere) {
  ASSERT_TRUE(open()->write(denied_open("/a")));
  ASSERT_TRUE(open()->write(denied_open("/b")));
  EXPECT_EQ(lines().size(), 2U);
}
TEST_F(Writer, EndsALineThatACrashLeft) {
  std::ofstream(path()) << "{\"torn\":";
  const auto writer = open();
  ASSERT_TRUE(writer->write(denied_open("/a")));
  ASSERT_TRUE(writer->write(denied_open("/b")));
  const auto log = lines();
  ASSERT_EQ(log.size(), 3U);
  EXPECT_EQ(log[0], "{\"torn\":");
  EXPECT_EQ(parsed(log[1])["target"]["path"], "/a");
  EXPECT_EQ(parsed(log[2])["target"]["path"], "/b");
}
TEST_F(Writer, EndsATornLineEvenWhereNothingFollows) {
  std::ofstream(path()) << "{\"torn\":";
  open().reset();
  ASSERT_TRUE(open()->write(denied_open("/a")));
  EXPECT_EQ(lines().size(), 2U);
}

TEST_F(Writer, CountsDecisions) {
  const auto writer = open();
  Record record = denied_open();
  ASSERT_TRUE(writer->write(record));
  record.verdict = Verdict::Allow;
  ASSERT_TRUE(writer->write(record));
  ASSERT_TRUE(writer->write(record));
  record.op = "connect";
  record.verdict = Verdict::WouldDeny;
  ASSERT_TRUE(writer->write(record));
  record.verdict = Verdict::None;
  ASSERT_TRUE(writer->write(record));
  EXPECT_EQ(writer->counts().allow, 2U);
  EXPECT_EQ(writer->counts().deny, 1U);
  EXPECT_EQ(writer->counts().would_deny, 1U);
  const auto by_op = writer->counts_by_op();
  ASSERT_EQ(by_op.size(), 2U);
  EXPECT_EQ(by_op[0].first, "open");
  EXPECT_EQ(by_op[0].second.allow, 2U);
  EXPECT_EQ(by_op[1].first, "connect");
  EXPECT_EQ(by_op[1].second.would_deny, 1U);
}

TEST_F(Writer, TheOrderOfLinesIsThatOfNumbers) {
  constexpr int kThreads = 4;
  constexpr int kRecords = 2000;
  {
    const auto writer = open();
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&writer, t] {
        const std::string name = "/" + std::string(static_cast<std::size_t>(t) * 100 + 1, 'x');
        for (int i = 0; i < kRecords; ++i) EXPECT_TRUE(writer->write(denied_open(name)));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  std::uint64_t expected = 0;
  std::int64_t mono = 0;
  for (const std::string& line : lines()) {
    const auto record = parsed(line);
    ASSERT_EQ(record["seq"], ++expected);
    ASSERT_GE(record["mono_ns"], mono);
    mono = record["mono_ns"];
  }
  EXPECT_EQ(expected, std::uint64_t{kThreads} * kRecords);
}

TEST_F(Writer, KeepsVeryLongRecordsWhole) {
  const std::vector<std::string> argv(2000, std::string(100, '\n'));
  Record record = denied_open();
  record.argv = argv;
  const auto writer = open();
  ASSERT_TRUE(writer->write(record));
  ASSERT_TRUE(writer->write(denied_open("/b")));
  const auto log = lines();
  ASSERT_EQ(log.size(), 2U);
  EXPECT_EQ(parsed(log[0])["argv"].size(), 2000U);
}

// A disk that fills up: RLIMIT_FSIZE cuts a write(2) short in the same way. In a child, since the limit holds
// for all files.
TEST_F(Writer, AFullDiskIsAnErrorAndTheNextLineCanBeRead) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const auto writer = open();
    const rlimit small{.rlim_cur = 700, .rlim_max = RLIM_INFINITY};
    const rlimit none{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    bool good = writer->write(denied_open("/a")).has_value();
    good = good && ::setrlimit(RLIMIT_FSIZE, &small) == 0;
    const auto cut = writer->write(denied_open("/cut"));    // a part fits
    const auto full = writer->write(denied_open("/full"));  // nothing fits
    good = good && !cut && cut.error().code == EFBIG && !full && full.error().code == EFBIG;
    good = good && ::setrlimit(RLIMIT_FSIZE, &none) == 0;
    const auto after = writer->write(denied_open("/b"));
    good = good && after && *after == 4 && writer->counts().deny == 2;
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const auto log = lines();
  ASSERT_EQ(log.size(), 3U);
  EXPECT_EQ(parsed(log[0])["target"]["path"], "/a");
  EXPECT_TRUE(nlohmann::json::parse(log[1], nullptr, false).is_discarded());
  EXPECT_EQ(parsed(log[2])["target"]["path"], "/b");
  EXPECT_EQ(parsed(log[2])["seq"], 4);  // 2 and 3 are missing, and it shows
}
TEST_F(Writer, AFullDeviceIsAnError) {
  const auto writer = FileWriter::open("/dev/full", identity());
  ASSERT_TRUE(writer);
  const auto written = (*writer)->write(denied_open());
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ENOSPC);
  EXPECT_EQ((*writer)->counts().deny, 0U);
}

TEST_F(Writer, AReaderThatHasGoneIsAnErrorAndNoSignal) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const auto writer = FileWriter::from_fd(ends[1], identity());
  ASSERT_TRUE(writer);
  ::close(ends[0]);
  ::close(ends[1]);
  for (int i = 0; i < 2; ++i) {
    const auto written = (*writer)->write(denied_open());
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, EPIPE);
  }
}
TEST_F(Writer, WaitsForASlowReaderOfANonBlockingPipe) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const auto writer = FileWriter::from_fd(ends[1], identity());
  ASSERT_TRUE(writer);
  const std::string name = "/" + std::string(4000, 'x');
  constexpr int kRecords = 100;  // several times what a pipe holds
  std::thread reader([&] {
    int newlines = 0;
    char buffer[4096];
    while (newlines < kRecords) {
      const ssize_t count = ::read(ends[0], buffer, sizeof buffer);
      if (count > 0) newlines += static_cast<int>(std::count(buffer, buffer + count, '\n'));
    }
  });
  for (int i = 0; i < kRecords; ++i) EXPECT_TRUE((*writer)->write(denied_open(name)));
  reader.join();
  ::close(ends[0]);
  ::close(ends[1]);
}
TEST_F(Writer, WritesToSockets) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const auto writer = FileWriter::from_fd(ends[1], identity());
  ASSERT_TRUE(writer);
  ASSERT_TRUE((*writer)->write(denied_open()));
  char buffer[4096];
  const ssize_t count = ::read(ends[0], buffer, sizeof buffer);
  ASSERT_GT(count, 0);
  EXPECT_EQ(parsed({buffer, static_cast<std::size_t>(count)})["seq"], 1);
  ::close(ends[0]);
  EXPECT_FALSE((*writer)->write(denied_open()));
  ::close(ends[1]);
}

TEST_F(Writer, RefusesWhatIsNoLog) {
  EXPECT_FALSE(FileWriter::open(directory_, identity()));
  EXPECT_FALSE(FileWriter::open(directory_ + "/missing/events.ndjson", identity()));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  const auto fifo = FileWriter::open(path("fifo"), identity());  // and does not hang
  ASSERT_FALSE(fifo);
  EXPECT_EQ(fifo.error().code, ENXIO);
  EXPECT_FALSE(FileWriter::from_fd(9999, identity()));
  const int reading = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_FALSE(FileWriter::from_fd(reading, identity()));
  ::close(reading);
}

TEST_F(Writer, OpensWhatTheOperatorNames) {
  auto none = open_sink("", identity());
  ASSERT_TRUE(none);
  EXPECT_EQ(*(*none)->write(denied_open()), 1U);
  EXPECT_EQ((*none)->counts().deny, 1U);
  EXPECT_TRUE((*none)->sync());
  EXPECT_TRUE(open_sink("none", identity()));
  EXPECT_FALSE(open_sink("journald", identity()));
  EXPECT_FALSE(open_sink("fd:", identity()));
  EXPECT_FALSE(open_sink("fd:x", identity()));
  EXPECT_FALSE(open_sink("fd:-1", identity()));
  auto file = open_sink(path(), identity());
  ASSERT_TRUE(file);
  EXPECT_TRUE((*file)->write(denied_open()));
  EXPECT_TRUE((*file)->sync());
  const int fd = ::open(path("other").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  auto given = open_sink("fd:" + std::to_string(fd), identity());
  ::close(fd);
  ASSERT_TRUE(given);
  EXPECT_TRUE((*given)->write(denied_open()));
  EXPECT_EQ(lines("other").size(), 1U);
}

TEST_F(Writer, TheDefaultPathHasDateAndSession) {
  const std::string log = default_log_path(directory_ + "/state/secbox", "8f3a");
  const std::string head = directory_ + "/state/secbox/audit/";
  ASSERT_TRUE(log.starts_with(head));
  EXPECT_EQ(log.substr(head.size() + 10), "/8f3a/events.ndjson");
  EXPECT_EQ(log[head.size() + 4], '-');
  for (std::string at = log.substr(0, log.rfind('/')); at.size() > directory_.size();
       at.resize(at.rfind('/'))) {
    struct stat st{};
    ASSERT_EQ(::stat(at.c_str(), &st), 0) << at;
    EXPECT_EQ(st.st_mode & 07777, 0700U) << at;
  }
  EXPECT_TRUE(FileWriter::open(log, identity()));
}
TEST_F(Writer, TheStateDirectoryFollowsTheEnvironment) {
  ::setenv("HOME", "/home/ana", 1);
  ::unsetenv("SECBOX_STATE_DIR");
  ::unsetenv("XDG_STATE_HOME");
  EXPECT_EQ(default_state_directory(), "/home/ana/.local/state/secbox");
  ::setenv("XDG_STATE_HOME", "relative", 1);
  EXPECT_EQ(default_state_directory(), "/home/ana/.local/state/secbox");
  ::setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(default_state_directory(), "/state/secbox");
  ::setenv("SECBOX_STATE_DIR", "/own", 1);
  EXPECT_EQ(default_state_directory(), "/own");
  ::unsetenv("SECBOX_STATE_DIR");
  ::unsetenv("XDG_STATE_HOME");
}

}  // namespace
}  // namespace secbox::audit
