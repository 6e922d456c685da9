// What is wrong with a manifest, where, and what to do about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace secbox::manifest {

enum class Severity : std::uint8_t { Error, Warning };

struct Diagnostic {
  Severity severity = Severity::Error;
  std::string code;  // stable: "SBX-V101"
  std::string message;
  std::string file;  // as the operator named it
  int line = 0;      // 1-based; 0 = the file as a whole
  int column = 0;
  std::string pointer;  // JSON pointer
  std::string hint;     // may be empty
};

struct Diagnostics {
  std::vector<Diagnostic> all;
  [[nodiscard]] bool has_errors() const;
  [[nodiscard]] bool has_warnings() const;
};

// The known word nearest to `word` by edit distance, or "" where none is near.
[[nodiscard]] std::string nearest_word(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace secbox::manifest
