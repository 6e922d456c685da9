#include "preload/wire.h"

#include <gtest/gtest.h>

#include "supervisor/broker/syscall_table.h"

namespace secbox {
namespace {

TEST(Wire, HelloIsTheOptionThatTheFilterKnows) { EXPECT_EQ(SECBOX_HELLO_PRCTL, broker::kHelloPrctl); }

}  // namespace
}  // namespace secbox
