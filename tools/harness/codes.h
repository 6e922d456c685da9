// What can be wrong with a test, in stable codes: `secbox help SBX-T002`.
#pragma once

#include <string_view>

namespace secbox::harness {

inline constexpr const char* kNotReal = "SBX-T001";
inline constexpr const char* kEscaped = "SBX-T002";
inline constexpr const char* kDenialMissing = "SBX-T003";
inline constexpr const char* kAllowMissing = "SBX-T004";
inline constexpr const char* kWrongExit = "SBX-T005";
inline constexpr const char* kGoldenDiffers = "SBX-T006";
inline constexpr const char* kProcessLeft = "SBX-T007";
inline constexpr const char* kNoSetup = "SBX-T008";
inline constexpr const char* kDeniedTooMuch = "SBX-T009";
inline constexpr const char* kBadFixture = "SBX-T010";

struct Code {
  std::string_view name, title, text;
};
inline constexpr Code kCodes[] = {
    {kNotReal, "Not real natively.",
     "Without secbox the fixture did not do what it is about: an effect under \"forbidden\" or \"required\" "
     "did not\n"
     "happen, or it ended otherwise than \"native_exit\" says. It would prove nothing under secbox."},
    {kEscaped, "Escaped.", "Under secbox an effect happened that the case forbids."},
    {kDenialMissing, "An expected denial is missing in the log.",
     "The audit log does not hold a denial that \"denied\" asks for, or not as often; or there is no whole "
     "log."},
    {kAllowMissing, "An expected allow is missing in the log.",
     "The audit log does not hold an allow that \"allowed\" asks for, or not as often."},
    {kWrongExit, "Ended otherwise than expected.",
     "Under secbox the exit status is none of \"exit\", or the command did not end in time."},
    {kGoldenDiffers, "The log differs from the golden one.",
     "If the change is meant, write it anew with secbox test --update-golden, and read what has changed."},
    {kProcessLeft, "A process was left.",
     "A process that the command started lived on after secbox had returned."},
    {kNoSetup, "The fixture could not be set up.",
     "Its build failed, its world could not be made, or secbox did not start the command at all: nothing was "
     "tested."},
    {kDeniedTooMuch, "Denied what must not be.",
     "A denial that \"not_denied\" excludes, or an effect under \"required\" that did not happen under "
     "secbox."},
    {kBadFixture, "A mistake in expect.json.",
     "The line below it says what belongs there; docs/testing-plugins.md has all of it."},
};

}  // namespace secbox::harness
