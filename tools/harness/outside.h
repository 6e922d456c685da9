// A process of the fixture's own, outside of the box: it says when it is ready, and at the end whether it was
// harmed.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "tools/harness/capture.h"
#include "tools/harness/spawn.h"
#include "tools/harness/variables.h"

namespace secbox::harness {

class Outside {
 public:
  // No process yet.
  Outside() = default;
  // Starts it and waits for its line "ready KEY=VALUE ...", whose values become ${OUT:KEY}.
  [[nodiscard]] static Result<Outside> start(SpawnPlan plan, Variables& variables,
                                             std::chrono::milliseconds timeout);

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::array<int, 2> fds() const { return {out_.fd(), err_.fd()}; }
  void drain();
  // waitpid(2) said this of it.
  void waited(int status) { status_ = status; }
  // Closes its standard input.
  void dismiss() { in_.reset(); }
  [[nodiscard]] bool ended() const { return pid_ == 0 || status_.has_value(); }
  // It ended by itself, with 0, is the only way to be unharmed.
  [[nodiscard]] bool harmed() const { return pid_ != 0 && status_ != 0; }
  // What it said, and how it ended.
  [[nodiscard]] std::string text() const;

 private:
  pid_t pid_ = 0;
  UniqueFd in_;
  Capture out_, err_;
  std::optional<int> status_;
};

}  // namespace secbox::harness
