#include "tools/harness/junit.h"

#include <cstdio>
#include <string_view>

#include "supervisor/audit/json_text.h"

namespace secbox::harness {

namespace {

using Status = TestResult::Status;

// Some characters cannot be in XML at all, not even escaped; others hide or reorder what is read.
std::string xml(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    char32_t code = 0;
    const std::size_t length = audit::decode_utf8(text, at, code);
    const std::string_view bytes = text.substr(at, std::max<std::size_t>(length, 1));
    at += bytes.size();
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (code == '\n') {
      out += "&#10;";
    } else if (audit::is_unsafe_to_print(code) || code == 0xfffe || code == 0xffff) {
      char escaped[16];
      (void)std::snprintf(escaped, sizeof escaped, "\\u{%x}", static_cast<unsigned>(code));
      out += escaped;
    } else if (code == '&') {
      out += "&amp;";
    } else if (code == '<') {
      out += "&lt;";
    } else if (code == '>') {
      out += "&gt;";
    } else if (code == '"') {
      out += "&quot;";
    } else {
      out += bytes;
    }
  }
  return out;
}

std::string seconds(std::chrono::milliseconds duration) {
  char text[32];
  (void)std::snprintf(text, sizeof text, "%.3f", static_cast<double>(duration.count()) / 1000.0);
  return text;
}

struct Sums {
  int tests = 0, failures = 0, errors = 0, skipped = 0;
  std::chrono::milliseconds time{0};

  void add(const TestResult& result) {
    ++tests;
    failures += result.status == Status::Failed ? 1 : 0;
    errors += result.status == Status::Broken ? 1 : 0;
    skipped += result.status == Status::Skipped ? 1 : 0;
    time += result.duration;
  }
  [[nodiscard]] std::string attributes() const {
    return " tests=\"" + std::to_string(tests) + "\" failures=\"" + std::to_string(failures) +
           "\" errors=\"" + std::to_string(errors) + "\" skipped=\"" + std::to_string(skipped) +
           "\" time=\"" + seconds(time) + "\"";
  }
};

std::string test_case(const Suite& suite, const Test& test, const TestResult& result) {
  const Fixture& fixture = suite.fixture_of(test);
  std::string out = "    <testcase classname=\"" + xml(fixture.name) + "\" name=\"" +
                    xml(suite.short_name_of(test)) + "\" time=\"" + seconds(result.duration) + "\">\n";
  const char* element = result.status == Status::Broken ? "error" : "failure";
  if (result.status == Status::Skipped)
    out += "      <skipped message=\"" + xml(result.skip_reason) + "\"/>\n";
  if (!result.failures.empty()) {
    std::string text;
    for (const Failure& failure : result.failures) text += failure.code + " " + failure.message + "\n";
    if (!result.native_output.empty()) text += "\nnatively: " + result.native_output;
    if (!result.boxed_output.empty()) text += "\nunder secbox: " + result.boxed_output;
    out += "      <" + std::string(element) + " type=\"" + result.failures.front().code + "\" message=\"" +
           xml(result.failures.front().message) + "\">" + xml(text) + "</" + element + ">\n";
  }
  if (!result.denials.empty()) {
    out += "      <system-out>";
    for (const std::string& denial : result.denials) out += "DENIED " + xml(denial) + "&#10;";
    out += "</system-out>\n";
  }
  return out + "    </testcase>\n";
}

}  // namespace

std::string junit_report(const Report& report) {
  const Suite& suite = *report.suite;
  std::string suites;
  Sums all;
  for (std::size_t f = 0; f < suite.fixtures.size(); ++f) {
    std::string cases;
    Sums sums;
    for (std::size_t i = 0; i < report.results.size(); ++i) {
      if (suite.tests[i].fixture != f) continue;
      sums.add(report.results[i]);
      all.add(report.results[i]);
      cases += test_case(suite, suite.tests[i], report.results[i]);
    }
    if (sums.tests > 0)
      suites += "  <testsuite name=\"" + xml(suite.fixtures[f].name) + "\"" + sums.attributes() + ">\n" +
                cases + "  </testsuite>\n";
  }
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"secbox test\"" + all.attributes() +
         ">\n" + suites + "</testsuites>\n";
}

}  // namespace secbox::harness
