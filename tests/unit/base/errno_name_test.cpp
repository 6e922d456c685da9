#include "supervisor/base/errno_name.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace secbox {
namespace {

TEST(ErrnoName, NamesNumbers) {
  EXPECT_EQ(errno_name(0), "ok");
  EXPECT_EQ(errno_name(EACCES), "EACCES");
  EXPECT_EQ(errno_name(ENOENT), "ENOENT");
  EXPECT_EQ(errno_name(512), "ERESTARTSYS");
  EXPECT_EQ(errno_name(9999), "unknown");
  EXPECT_EQ(errno_name(-1), "unknown");
}

}  // namespace
}  // namespace secbox
