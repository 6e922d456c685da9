#include "supervisor/sys/remove_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "supervisor/base/unique_fd.h"

namespace secbox::sys {
namespace {

namespace fs = std::filesystem;

class RemoveTree : public testing::Test {
 protected:
  void SetUp() override {
    // In memory where that can be had: on a disk a level of the deep tree costs milliseconds.
    const bool in_memory = ::access("/dev/shm", W_OK | X_OK) == 0;
    const fs::path base = in_memory ? fs::path("/dev/shm") : fs::temp_directory_path();
    std::string name = (base / "secbox-remove-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    parent_.reset(::open(name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    fs::create_directory(root_ / "tree");
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const fs::path& name) { std::ofstream(root_ / name) << "text"; }
  void remove() { remove_tree(parent_.get(), "tree"); }

  fs::path root_;
  UniqueFd parent_;
};

TEST_F(RemoveTree, TakesEverythingBelow) {
  for (const char* dir : {"tree/a", "tree/a/b", "tree/a/c", "tree/d"}) fs::create_directory(root_ / dir);
  for (const char* file : {"tree/x", "tree/a/x", "tree/a/b/x", "tree/a/b/y"}) write(file);
  ASSERT_EQ(::mkfifo((root_ / "tree/d/fifo").c_str(), 0600), 0);
  write("beside");
  remove();
  EXPECT_FALSE(fs::exists(root_ / "tree"));
  EXPECT_TRUE(fs::exists(root_ / "beside"));
}

TEST_F(RemoveTree, FollowsNoLink) {
  fs::create_directory(root_ / "outside");
  write("outside/kept");
  fs::create_directory_symlink(root_ / "outside", root_ / "tree/link");
  fs::create_directory_symlink("..", root_ / "tree/up");
  remove();
  EXPECT_FALSE(fs::exists(root_ / "tree"));
  EXPECT_TRUE(fs::exists(root_ / "outside/kept"));
}

TEST_F(RemoveTree, DoesNotTakeALinkForTheTree) {
  fs::create_directory(root_ / "outside");
  write("outside/kept");
  fs::remove(root_ / "tree");
  fs::create_directory_symlink("outside", root_ / "tree");
  remove();
  EXPECT_TRUE(fs::exists(root_ / "outside/kept"));
}

TEST_F(RemoveTree, OpensWhatWasClosed) {
  fs::create_directories(root_ / "tree/a/b");
  write("tree/a/b/x");
  for (const char* dir : {"tree/a/b", "tree/a", "tree"}) {
    ASSERT_EQ(::chmod((root_ / dir).c_str(), 0), 0);
  }
  remove();
  EXPECT_FALSE(fs::exists(root_ / "tree"));
}

TEST_F(RemoveTree, GoesAsDeepAsTheTree) {
  constexpr int kLevels = 24'000;
  UniqueFd at(::openat(parent_.get(), "tree", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < kLevels; ++level) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0700), 0);
    // Beside the way down too: what a level holds is read again on the way back.
    if (level % 100 == 0) {
      ASSERT_EQ(::mkdirat(at.get(), "e", 0700), 0);
    }
    at.reset(::openat(at.get(), "d", O_PATH | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(at.valid());
  }
  at.reset();
  remove();
  EXPECT_NE(::faccessat(parent_.get(), "tree", F_OK, 0), 0);
}

TEST_F(RemoveTree, CrossesNoMountPoint) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
  fs::create_directory(root_ / "tree/mount");
  fs::create_directory(root_ / "outside");
  write("outside/kept");
  write("tree/x");
  const fs::path mount = root_ / "tree/mount";
  if (::mount((root_ / "outside").c_str(), mount.c_str(), nullptr, MS_BIND, nullptr) != 0)
    GTEST_SKIP() << "no right to mount here";
  remove();
  const bool kept = fs::exists(root_ / "outside/kept");
  ASSERT_EQ(::umount2(mount.c_str(), MNT_DETACH), 0);
  EXPECT_TRUE(kept);
  EXPECT_FALSE(fs::exists(root_ / "tree/x"));
}

}  // namespace
}  // namespace secbox::sys
