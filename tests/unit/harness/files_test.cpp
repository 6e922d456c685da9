#include "tools/harness/files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "supervisor/base/unique_fd.h"
#include "tests/unit/harness/support.h"
#include "tools/harness/snapshot.h"

namespace secbox::harness {
namespace {

TEST(RemoveTree, GoesThroughNoLink) {
  const ScratchDirectory scratch;
  scratch.write("kept/file", "precious");
  scratch.write("gone/deep/file", "x");
  std::filesystem::create_directory_symlink(scratch.path("kept"), scratch.path("gone/link"));
  std::filesystem::create_symlink(scratch.path("kept/file"), scratch.path("gone/deep/link"));
  ASSERT_EQ(::chmod(scratch.path("gone/deep").c_str(), 0), 0);
  EXPECT_TRUE(remove_tree(scratch.path("gone")));
  EXPECT_FALSE(std::filesystem::exists(scratch.path("gone")));
  EXPECT_EQ(read_file(scratch.path("kept/file"), 100), "precious");
}

TEST(RemoveTree, DeeperThanThereAreDescriptors) {
  const ScratchDirectory scratch;
  std::filesystem::create_directory(scratch.path("gone"));
  UniqueFd at(::open(scratch.path("gone").c_str(), O_RDONLY | O_DIRECTORY));
  for (int depth = 0; depth < 200; ++depth) {
    ASSERT_EQ(::mkdirat(at.get(), "deeper", 0700), 0);
    ASSERT_EQ(::mkdirat(at.get(), "beside", 0), 0);
    at.reset(::openat(at.get(), "deeper", O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(at.valid());
  }
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit few{32, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  EXPECT_TRUE(remove_tree(scratch.path("gone")));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_FALSE(std::filesystem::exists(scratch.path("gone")));
}

TEST(RemoveTree, ALinkInPlaceOfTheDirectoryIsNotFollowed) {
  const ScratchDirectory scratch;
  scratch.write("kept/file", "precious");
  std::filesystem::create_directory_symlink(scratch.path("kept"), scratch.path("link"));
  EXPECT_FALSE(remove_tree(scratch.path("link")));
  EXPECT_TRUE(std::filesystem::exists(scratch.path("kept/file")));
}

TEST(ReadFile, NothingButFiles) {
  const ScratchDirectory scratch;
  const std::string file = scratch.write("file", "content");
  EXPECT_EQ(read_file(file, 100), "content");
  EXPECT_EQ(read_file(file, 3), "con");
  std::filesystem::create_symlink(file, scratch.path("link"));
  ASSERT_EQ(::mkfifo(scratch.path("fifo").c_str(), 0600), 0);
  for (const char* name : {"link", "fifo", "none", ""})
    EXPECT_EQ(read_file(scratch.path(name), 100), std::nullopt) << name;
}

TEST(CopyTree, KeepsLinksAndModes) {
  const ScratchDirectory scratch;
  scratch.write("from/deep/run.sh", "#!/bin/sh\n");
  ASSERT_EQ(::chmod(scratch.path("from/deep/run.sh").c_str(), 0750), 0);
  std::filesystem::create_symlink("deep/run.sh", scratch.path("from/link"));
  std::filesystem::create_directory(scratch.path("to"));
  const User self{UserKind::Ordinary, ::geteuid(), ::getegid()};
  ASSERT_TRUE(copy_tree(scratch.path("from"), scratch.path("to"), self));
  EXPECT_EQ(std::filesystem::read_symlink(scratch.path("to/link")), "deep/run.sh");
  struct stat st{};
  ASSERT_EQ(::stat(scratch.path("to/link").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0750U);
  ASSERT_EQ(::mkfifo(scratch.path("from/fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(scratch.path("again"));
  EXPECT_FALSE(copy_tree(scratch.path("from"), scratch.path("again"), self));
}

TEST(Snapshot, SeesEveryChange) {
  const ScratchDirectory scratch;
  const std::string file = scratch.write("file", "content");
  const std::string before = snapshot_of(file);
  EXPECT_EQ(read_file(file, 100), "content");
  EXPECT_EQ(difference(before, snapshot_of(file)), "");

  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  EXPECT_EQ(difference(before, snapshot_of(file)), "mode");
  const std::string changed = snapshot_of(file);
  ASSERT_EQ(::link(file.c_str(), scratch.path("second").c_str()), 0);
  EXPECT_EQ(difference(changed, snapshot_of(file)), "links");
  const std::string linked = snapshot_of(file);
  const timespec times[] = {{0, UTIME_OMIT}, {1, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  EXPECT_EQ(difference(linked, snapshot_of(file)), "mtime");
  const std::string old = snapshot_of(file);
  scratch.write("file", "CONTENT");
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  EXPECT_EQ(difference(old, snapshot_of(file)), "content");
  if (::setxattr(file.c_str(), "user.secbox", "x", 1, 0) == 0) {
    const std::string marked = snapshot_of(file);
    ASSERT_EQ(::setxattr(file.c_str(), "user.secbox", "y", 1, 0), 0);
    EXPECT_EQ(difference(marked, snapshot_of(file)), "xattrs");
  }
  const std::string last = snapshot_of(file);
  ASSERT_EQ(::unlink(file.c_str()), 0);
  EXPECT_NE(difference(last, snapshot_of(file)), "");
  EXPECT_EQ(snapshot_of(file), "missing");
}

}  // namespace
}  // namespace secbox::harness
