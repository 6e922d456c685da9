// One test from its start to its verdict: natively, then under secbox.
#pragma once

#include <cstdint>
#include <string>

#include "tools/harness/suite.h"
#include "tools/harness/test_result.h"

namespace secbox::harness {

enum class GoldenUse : std::uint8_t { Compare, Update };

struct TestPlace {
  std::string directory{};  // of the test's own; does not exist yet
  std::string build{};      // of its fixture
  std::string secbox{};
  GoldenUse golden = GoldenUse::Compare;
  bool keep = false;
};

// For a process of its own: becomes a subreaper, and leaves no process and, unless it is to be kept, no file.
[[nodiscard]] TestResult run_test(const Suite& suite, const Test& test, const TestPlace& place);

// Runs the fixture's build commands. Failures: what went wrong.
[[nodiscard]] TestResult build_fixture(const Fixture& fixture, const std::string& build);

}  // namespace secbox::harness
