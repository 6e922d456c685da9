// Runs a suite: builds what its fixtures need, makes its tests, and tells of each in order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "tools/harness/suite.h"
#include "tools/harness/test_result.h"
#include "tools/harness/test_runner.h"

namespace secbox::harness {

struct HarnessOptions {
  std::string secbox{};  // the program under test
  std::string shim{};    // beside it, "" where there is none
  std::size_t jobs = 1;
  GoldenUse golden = GoldenUse::Compare;
  bool keep = false;
};

struct Report {
  const Suite* suite = nullptr;
  std::vector<TestResult> results{};  // one a test, in order
  std::string kept{};                 // the directory that was kept
  int signal = 0;                     // what ended it before its time
};

// `each` is told of every test in order, with its place among them. An Error: there could be no test at all.
[[nodiscard]] Result<Report> run_suite(const Suite& suite, const HarnessOptions& options,
                                       const std::function<void(std::size_t, const TestResult&)>& each);

}  // namespace secbox::harness
