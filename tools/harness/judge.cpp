#include "tools/harness/judge.h"

#include <sys/wait.h>

#include <algorithm>

#include "tools/harness/audit_matcher.h"
#include "tools/harness/codes.h"

namespace secbox::harness {

namespace {

// An outcome of secbox itself, from before the program ran.
bool is_own_status(int wait_status) {
  return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) >= 120 && WEXITSTATUS(wait_status) <= 127;
}

std::string times_text(const Expectation& expectation) {
  if (expectation.most == std::numeric_limits<std::size_t>::max())
    return expectation.least == 1 ? std::string()
                                  : " at least " + std::to_string(expectation.least) + " times";
  if (expectation.least == expectation.most) return " exactly " + std::to_string(expectation.most) + " times";
  return " at most " + std::to_string(expectation.most) + " times";
}

// A program that never ran escapes from nothing: that must not pass for a success.
std::string why_not_run(const Case& c, const Observation& seen) {
  if (!c.exit.any) return {};
  const std::string said = seen.err.empty() ? std::string() : ": " + seen.err.substr(0, 500);
  if (!seen.log || !seen.log->has_start) {
    return is_own_status(seen.wait_status)
               ? "secbox did not start it (" + ending_text(seen.wait_status) + ")" + said
               : std::string();
  }
  const bool executed = std::ranges::any_of(seen.log->records, [](const LogRecord& record) {
    return record.event == "exec" && record.decision != "deny" && record.errno_name.empty();
  });
  if (executed || !c.denied.empty()) return {};
  return "the command was not executed under secbox (" + ending_text(seen.wait_status) + ")" + said;
}

}  // namespace

std::vector<Failure> judge_native(const Case& c, const Observation& seen) {
  std::vector<Failure> failures;
  const auto fail = [&](const std::string& why) {
    failures.push_back({kNotReal, "not real natively: " + why});
  };
  if (!seen.setup_problem.empty()) return {{kNoSetup, seen.setup_problem}};
  if (seen.timed_out) {
    fail("it did not end in " + std::to_string(c.timeout.count()) + " ms");
  } else if (!c.native_exit.holds(seen.wait_status)) {
    fail(ending_text(seen.wait_status) + " instead of " + c.native_exit.text());
  }
  for (const auto* list : {&seen.forbidden, &seen.required}) {
    for (const Seen& one : *list) {
      if (!one.happened) fail(one.text);
    }
  }
  return failures;
}

std::vector<Failure> judge_boxed(const Case& c, const Observation& seen) {
  std::vector<Failure> failures;
  const auto fail = [&](const char* code, const std::string& message) {
    failures.push_back({code, message});
  };
  if (!seen.setup_problem.empty()) return {{kNoSetup, seen.setup_problem}};
  if (const std::string why = why_not_run(c, seen); !why.empty()) return {{kNoSetup, why}};
  if (seen.timed_out)
    fail(kWrongExit, "it did not end in " + std::to_string(c.timeout.count()) + " ms under secbox");
  for (std::size_t i = 0; i < seen.forbidden.size(); ++i) {
    if (!seen.forbidden[i].happened) continue;
    const bool left = c.forbidden[i].kind == Effect::Kind::Survivor;
    fail(left ? kProcessLeft : kEscaped, (left ? "" : "escaped: ") + seen.forbidden[i].text);
  }
  for (const Seen& one : seen.required) {
    if (!one.happened) fail(kDeniedTooMuch, "does not work any more: " + one.text);
  }
  if (!seen.timed_out && !c.exit.holds(seen.wait_status))
    fail(kWrongExit, ending_text(seen.wait_status) + " instead of " + c.exit.text() + " under secbox");
  if (!seen.log) {
    fail(kDenialMissing, seen.log_problem);
    return failures;
  }
  if (!seen.timed_out && c.exit.any && !seen.log->has_end)
    fail(kDenialMissing, "the audit log has no end: the supervisor was stopped or killed");
  const auto expect = [&](const std::vector<Expectation>& list, const char* decision, const char* code) {
    for (const Expectation& one : list) {
      const std::size_t count = count_matches(one, decision, *seen.log, seen.variables);
      if (count < one.least || count > one.most)
        fail(code, std::string("the audit log was to hold \"") + decision + "\" for " +
                       seen.variables.expand(one.text()) + times_text(one) + ", and holds it " +
                       std::to_string(count) + " times");
    }
  };
  expect(c.denied, "deny", kDenialMissing);
  expect(c.allowed, "allow", kAllowMissing);
  for (const Expectation& one : c.not_denied) {
    const auto found = std::ranges::find_if(seen.log->records, [&](const LogRecord& record) {
      return record.decision == "deny" && matches(one, record, seen.variables);
    });
    if (found != seen.log->records.end()) fail(kDeniedTooMuch, "denied, and must not be: " + found->text());
  }
  return failures;
}

}  // namespace secbox::harness
