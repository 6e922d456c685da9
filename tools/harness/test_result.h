// What came of one test: a case by one route as one user.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace secbox::harness {

struct Failure {
  std::string code{};  // SBX-T002
  std::string message{};
};

struct TestResult {
  enum class Status : std::uint8_t { Passed, Failed, Broken, Skipped };
  Status status = Status::Passed;
  std::string skip_reason{};
  std::vector<Failure> failures{};
  std::vector<std::string> denials{};           // of the log, one a line
  std::string native_output{}, boxed_output{};  // where it failed
  std::chrono::milliseconds duration{0};
};

}  // namespace secbox::harness
