#include "preload/wire.h"

#include <gtest/gtest.h>

#include <string_view>

#include "supervisor/broker/syscall_table.h"
#include "supervisor/sys/initial_stack.h"

namespace secbox {
namespace {

TEST(Wire, HelloIsTheOptionThatTheFilterKnows) { EXPECT_EQ(SECBOX_HELLO_PRCTL, broker::kHelloPrctl); }

TEST(Wire, TheMarkIsTheOneThatIsPutOnTheStack) {
  EXPECT_EQ(sys::kEnvironmentMark, std::string_view(SECBOX_ENVIRONMENT_MARK, sizeof SECBOX_ENVIRONMENT_MARK));
}

}  // namespace
}  // namespace secbox
