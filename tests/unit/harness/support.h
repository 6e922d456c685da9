// Cases and runs in a line.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tools/harness/observation.h"

namespace secbox::harness {

// A directory of the test's own, removed with it.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "secbox-unit-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~ScratchDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name)) << text;
    return path(name);
  }

 private:
  std::string path_;
};

// The log of a run in which a program was executed, with `more` records in the middle.
inline std::string log_text(const std::string& more = "") {
  return R"({"event":"session_start","op":"session"})"
         "\n"
         R"({"event":"exec","op":"exec","decision":"allow","rule":{"id":"m1","layer":"manifest"}})"
         "\n" +
         more + R"({"event":"session_end","op":"session"})" + "\n";
}

inline constexpr const char* kDenial =
    R"({"event":"file_open","op":"open","syscall":"openat","permission":"file:read|write","decision":"deny",)"
    R"("errno":13,"errno_name":"EACCES","rule":{"id":"default","layer":"default"},)"
    R"("target":{"path":"/w/link"},"resolved_target":"/w/secret"})"
    "\n";

// Everything went as an attack that is stopped goes: exit status 1.
inline Observation boxed_run(const std::string& log = log_text(kDenial)) {
  Observation seen;
  seen.wait_status = 1 << 8;
  seen.log_text = log;
  auto parsed = parse_audit_log(log);
  if (parsed) seen.log = *parsed;
  return seen;
}

}  // namespace secbox::harness
