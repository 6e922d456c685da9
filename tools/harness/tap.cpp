#include "tools/harness/tap.h"

#include <map>

#include "supervisor/audit/json_text.h"

namespace secbox::harness {

namespace {

using Status = TestResult::Status;

// A description ends at "#" unless that is escaped, and at the end of its line.
std::string description(const std::string& text) {
  std::string safe;
  (void)audit::append_json_text(safe, text);
  std::string out;
  for (std::size_t i = 0; i < safe.size(); ++i) {
    if (safe[i] == '\\' && i + 1 < safe.size() && (safe[i + 1] == '"')) continue;
    if (safe[i] == '#') out += '\\';
    out += safe[i];
  }
  return out;
}

// A JSON string is a double-quoted scalar of YAML.
void add_member(std::string& out, const char* name, const std::string& value) {
  if (!value.empty()) out += "  " + std::string(name) + ": " + audit::json_string(value) + "\n";
}
void add_text(std::string& out, const char* name, const std::string& value) {
  if (value.empty()) return;
  out += "  " + std::string(name) + ":\n";
  for (std::size_t at = 0; at < value.size();) {
    const std::size_t end = std::min(value.find('\n', at), value.size());
    if (end > at) out += "    - " + audit::json_string(value.substr(at, end - at)) + "\n";
    at = end + 1;
  }
}

}  // namespace

std::string tap_head(const Suite& suite) {
  return "TAP version 14\n1.." + std::to_string(suite.tests.size()) + "\n";
}

std::string tap_line(const Suite& suite, std::size_t number, const TestResult& result) {
  const Test& test = suite.tests[number];
  const bool good = result.status == Status::Passed || result.status == Status::Skipped;
  std::string out = std::string(good ? "ok " : "not ok ") + std::to_string(number + 1) + " - " +
                    description(suite.name_of(test));
  if (result.status == Status::Skipped) return out + " # SKIP " + description(result.skip_reason) + "\n";
  out += "\n";
  if (good) return out;
  out += "  ---\n  failures:\n";
  for (const Failure& failure : result.failures) {
    out += "    - code: " + failure.code + "\n      message: " + audit::json_string(failure.message) + "\n";
  }
  add_member(out, "fixture", suite.fixture_of(test).folder);
  add_text(out, "native", result.native_output);
  add_text(out, "boxed", result.boxed_output);
  std::string denials;
  for (const std::string& denial : result.denials) denials += denial + "\n";
  add_text(out, "denials", denials);
  return out + "  ...\n";
}

std::string tap_tail(const Report& report) {
  struct Count {
    int passed = 0, all = 0;
  };
  std::map<std::string, Count> classes;
  Count total;
  int skipped = 0;
  for (std::size_t i = 0; i < report.results.size(); ++i) {
    const TestResult& result = report.results[i];
    if (result.status == Status::Skipped) {
      ++skipped;
      continue;
    }
    Count& count = classes[report.suite->fixture_of(report.suite->tests[i]).kind];
    const int passed = result.status == Status::Passed ? 1 : 0;
    for (Count* one : {&count, &total}) {
      ++one->all;
      one->passed += passed;
    }
  }
  std::string out;
  for (const auto& [name, count] : classes)
    out += "# class " + description(name) + ": " + std::to_string(count.passed) + " of " +
           std::to_string(count.all) + " stopped\n";
  out += "# " + std::to_string(total.passed) + " passed, " + std::to_string(total.all - total.passed) +
         " failed, " + std::to_string(skipped) + " skipped\n";
  if (!report.kept.empty()) out += "# kept: " + description(report.kept) + "\n";
  return out;
}

}  // namespace secbox::harness
