// Against a directory that looks like a mounted hierarchy: which groups are made, where, and with what
// limits.
#include "supervisor/limits/cgroup.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace secbox::limits {
namespace {

namespace fs = std::filesystem;

class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "secbox-cgroup-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    mount_ = name;
  }
  void TearDown() override { fs::remove_all(mount_); }

  void put(const fs::path& file, const std::string& text) {
    fs::create_directories((mount_ / file).parent_path());
    std::ofstream(mount_ / file) << text;
  }
  std::string get(const fs::path& file) {
    std::ifstream in(mount_ / file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  fs::path mount_;
};

// A real kernel fills a new group with files; a directory stays empty, so that nothing can be entered.
TEST_F(CgroupTest, IsNoneWhereNothingCanBeEntered) {
  put("memory/own/memory.limit_in_bytes", "");
  const Cgroup group = Cgroup::make(Limits{}, "secbox-x", mount_.string(), "4:memory:/own\n");
  EXPECT_STREQ(group.what(), "");
  EXPECT_FALSE(fs::exists(mount_ / "memory/own/secbox-x")) << "what was begun is taken back";
  EXPECT_EQ(group.enter_self(), 0);
  EXPECT_TRUE(group.remove());
  Usage usage;
  const Cgroup::Told told = group.sample(usage);
  EXPECT_FALSE(told.memory || told.cpu || told.tasks);
}

TEST_F(CgroupTest, IsNoneWhereThereAreNoHierarchies) {
  EXPECT_STREQ(Cgroup::make(Limits{}, "secbox-x", mount_.string(), "0::/a/b\n").what(), "");
  EXPECT_STREQ(Cgroup::make(Limits{}, "secbox-x", mount_.string(), "nonsense").what(), "");
}

TEST_F(CgroupTest, AsksForControllersAndLeavesNothingBehind) {
  put("user/cgroup.subtree_control", "");
  put("user/cgroup.procs", "");
  put("cgroup.subtree_control", "");
  put("cgroup.procs", "");
  EXPECT_STREQ(Cgroup::make(Limits{}, "secbox-x", mount_.string(), "0::/user\n").what(), "");
  // (Written as to a kernel file, which would answer with the names that hold now.)
  EXPECT_EQ(get("user/cgroup.subtree_control"), "+cpu +memory +pids");
  EXPECT_FALSE(fs::exists(mount_ / "user/secbox-x"));
  EXPECT_FALSE(fs::exists(mount_ / "secbox-x"));
}

// On the host itself, whatever it has: what was made can be entered by a child, counts it, and goes away.
TEST(CgroupOnHost, CountsWhatIsInIt) {
  Limits limits;
  limits.pids = 7;
  const Cgroup group = Cgroup::make(limits, "secbox-unit-test-" + std::to_string(::getpid()));
  if (*group.what() == '\0') {
    EXPECT_TRUE(group.remove()) << "no control group may be made here; the watchdog counts";
    return;
  }
  int ready[2];
  int stop[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(stop), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = group.enter_self() == 0 ? 'y' : 'n';
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(stop[0], &byte, 1);
    ::_exit(0);
  }
  char entered = 0;
  ASSERT_EQ(::read(ready[0], &entered, 1), 1);
  EXPECT_EQ(entered, 'y');
  Usage usage;
  const Cgroup::Told told = group.sample(usage);
  if (told.tasks) {
    EXPECT_EQ(usage.tasks, 1U);
  }
  EXPECT_FALSE(group.remove()) << "it is not empty";
  ASSERT_EQ(::write(stop[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  bool removed = false;
  for (int turn = 0; turn < 1000 && !removed; ++turn) {
    removed = group.remove();
    if (!removed) ::usleep(1000);
  }
  EXPECT_TRUE(removed);
}

}  // namespace
}  // namespace secbox::limits
