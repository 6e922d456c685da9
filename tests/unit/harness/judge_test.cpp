#include "tools/harness/judge.h"

#include <gmock/gmock.h>

#include "tests/unit/harness/support.h"
#include "tools/harness/codes.h"

namespace secbox::harness {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> codes(const std::vector<Failure>& failures) {
  std::vector<std::string> out;
  for (const Failure& failure : failures) out.push_back(failure.code);
  return out;
}

Case attack() {
  Case c;
  c.native_exit = {.any = false, .statuses = {0}};
  c.forbidden = {{Effect::Kind::Output, "secret"}, {Effect::Kind::Survivor, {}}};
  return c;
}

Observation native_run() {
  Observation seen;
  seen.forbidden = {{true, "the output holds it"}, {true, "left alive"}};
  return seen;
}

Observation stopped() {
  Observation seen = boxed_run();
  seen.forbidden = {{false, "no output"}, {false, "no process was left"}};
  return seen;
}

TEST(JudgeNative, AnAttackThatIsReal) {
  EXPECT_THAT(codes(judge_native(attack(), native_run())), ElementsAre());
}

TEST(JudgeNative, EveryEffectHasToHappen) {
  for (const std::size_t missing : {0U, 1U}) {
    Observation seen = native_run();
    seen.forbidden[missing] = {false, "nothing came of it"};
    const auto failures = judge_native(attack(), seen);
    ASSERT_THAT(codes(failures), ElementsAre(kNotReal));
    EXPECT_EQ(failures.front().message, "not real natively: nothing came of it");
  }
  Observation seen = native_run();
  seen.required = {{false, "the benign part"}};
  EXPECT_THAT(codes(judge_native(attack(), seen)), ElementsAre(kNotReal));
}

TEST(JudgeNative, TheExitStatusHasToBeRight) {
  Observation seen = native_run();
  seen.wait_status = 2 << 8;
  EXPECT_THAT(codes(judge_native(attack(), seen)), ElementsAre(kNotReal));
  seen.wait_status = 9;
  EXPECT_THAT(codes(judge_native(attack(), seen)), ElementsAre(kNotReal));
  Case c = attack();
  c.native_exit = {.any = false, .signals = {9}};
  EXPECT_THAT(codes(judge_native(c, seen)), ElementsAre());
  seen.timed_out = true;
  EXPECT_THAT(codes(judge_native(c, seen)), ElementsAre(kNotReal));
}

TEST(JudgeBoxed, AnAttackThatIsStopped) {
  EXPECT_THAT(codes(judge_boxed(attack(), stopped())), ElementsAre());
}

TEST(JudgeBoxed, EachForbiddenEffectIsAnEscape) {
  Observation seen = stopped();
  seen.forbidden[0] = {true, "the output holds it"};
  EXPECT_THAT(codes(judge_boxed(attack(), seen)), ElementsAre(kEscaped));
  seen.forbidden[1] = {true, "left alive: 12 (sleep 60)"};
  const auto failures = judge_boxed(attack(), seen);
  EXPECT_THAT(codes(failures), ElementsAre(kEscaped, kProcessLeft));
  EXPECT_THAT(failures[1].message, HasSubstr("12 (sleep 60)"));
}

TEST(JudgeBoxed, ARunWithoutAStartProvesNothing) {
  Observation seen = boxed_run("");
  seen.forbidden = stopped().forbidden;
  seen.wait_status = 125 << 8;
  seen.err = "secbox: cannot enforce";
  const auto failures = judge_boxed(attack(), seen);
  EXPECT_THAT(codes(failures), ElementsAre(kNoSetup));
  EXPECT_THAT(failures.front().message, HasSubstr("cannot enforce"));
  // Unless that is what is tested.
  Case c = attack();
  c.exit = {.any = false, .statuses = {125}};
  EXPECT_THAT(codes(judge_boxed(c, seen)), ElementsAre());
}

TEST(JudgeBoxed, AProgramThatWasNotExecutedProvesNothing) {
  const std::string log = R"({"event":"session_start"})"
                          "\n"
                          R"({"event":"exec","decision":"deny","errno_name":"EACCES"})"
                          "\n"
                          R"({"event":"session_end"})"
                          "\n";
  Observation seen = boxed_run(log);
  seen.forbidden = stopped().forbidden;
  EXPECT_THAT(codes(judge_boxed(attack(), seen)), ElementsAre(kNoSetup));
  Case c = attack();
  c.denied = {{.op = "exec"}};
  EXPECT_THAT(codes(judge_boxed(c, seen)), ElementsAre());
}

TEST(JudgeBoxed, ALogThatEndsTooSoonIsAFailure) {
  Observation seen = stopped();
  seen.log->has_end = false;
  EXPECT_THAT(codes(judge_boxed(attack(), seen)), ElementsAre(kDenialMissing));
  seen.log.reset();
  seen.log_problem = "line 3 of the audit log is no JSON object";
  EXPECT_THAT(codes(judge_boxed(attack(), seen)), ElementsAre(kDenialMissing));
}

TEST(JudgeBoxed, RecordsOfTheLog) {
  Case c = attack();
  c.denied = {{.op = "file:read"}, {.op = "file:create"}};
  c.allowed = {{.op = "exec"}, {.op = "connect"}};
  c.not_denied = {{.op = "connect"}, {.target = "/w/*"}};
  const auto failures = judge_boxed(c, stopped());
  ASSERT_THAT(codes(failures), ElementsAre(kDenialMissing, kAllowMissing, kDeniedTooMuch));
  EXPECT_THAT(failures[0].message, HasSubstr("op file:create"));
  EXPECT_THAT(failures[1].message, HasSubstr("op connect"));
  EXPECT_THAT(failures[2].message, HasSubstr("/w/link"));
}

TEST(JudgeBoxed, Counts) {
  for (const auto& [least, most, good] :
       {std::tuple{1U, 1U, true}, {2U, 9U, false}, {0U, 0U, false}, {0U, 3U, true}}) {
    Case c = attack();
    c.denied = {{.op = "open", .least = least, .most = most}};
    EXPECT_EQ(judge_boxed(c, stopped()).empty(), good) << least << " to " << most;
  }
}

TEST(JudgeBoxed, TheWayToEnd) {
  Case c = attack();
  c.exit = {.any = false, .statuses = {0, 3}};
  EXPECT_THAT(codes(judge_boxed(c, stopped())), ElementsAre(kWrongExit));
  Observation seen = stopped();
  seen.wait_status = 3 << 8;
  EXPECT_THAT(codes(judge_boxed(c, seen)), ElementsAre());
  seen.timed_out = true;
  EXPECT_THAT(codes(judge_boxed(c, seen)), ElementsAre(kWrongExit));
}

TEST(JudgeBoxed, WhatIsRequired) {
  Observation seen = stopped();
  seen.required = {{true, "yes"}, {false, "the output does not hold it"}};
  EXPECT_THAT(codes(judge_boxed(attack(), seen)), ElementsAre(kDeniedTooMuch));
}

}  // namespace
}  // namespace secbox::harness
