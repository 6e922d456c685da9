// The reading end of a stream of a program, kept up to a bound.
#pragma once

#include <string>

#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"

namespace secbox::harness {

class Capture {
 public:
  Capture() = default;
  // The end to write to is given to `writer`.
  [[nodiscard]] static Result<Capture> open(UniqueFd& writer);

  // -1 after its end.
  [[nodiscard]] int fd() const { return reader_.get(); }
  // Takes in what has come; never waits.
  void drain();
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  static constexpr std::size_t kMost = 1U << 20;
  UniqueFd reader_;
  std::string text_;
};

}  // namespace secbox::harness
