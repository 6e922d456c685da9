// Result<T>: a value, or an Error that says what failed. Libraries return these; only session and CLI print.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <system_error>
#include <utility>

namespace secbox {

// A failure of secbox itself. `code` is an errno, or 0 where none applies; `message` names the step that
// failed.
struct Error {
  int code = 0;
  std::string message;

  [[nodiscard]] std::string text() const {
    return code == 0 ? message : message + ": " + std::generic_category().message(code);
  }
};

template <typename T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> failure(std::string message, int code = 0) {
  return std::unexpected(Error{code, std::move(message)});
}
// The current errno with the name of the step that failed.
[[nodiscard]] inline std::unexpected<Error> errno_failure(std::string message) {
  const int saved = errno;
  return std::unexpected(Error{saved, std::move(message)});
}

}  // namespace secbox
