// JSON, YAML and TOML as one tree with positions: what the readers of manifests work on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "manifest/diagnostic.h"

namespace secbox::manifest {

enum class Format : std::uint8_t { Json, Yaml, Toml };

struct Node {
  enum class Kind : std::uint8_t { Null, Bool, Number, String, Array, Object };
  Kind kind = Kind::Null;
  std::string text{};  // of a scalar, as written
  std::vector<Node> items{};
  std::vector<std::pair<std::string, Node>> members{};
  int line = 0, column = 0;

  [[nodiscard]] const Node* find(std::string_view key) const;
  [[nodiscard]] std::string_view kind_name() const;
};

inline constexpr std::size_t kMaxFileSize = 16U << 20;
inline constexpr int kMaxDepth = 64;
inline constexpr std::size_t kMaxNodes = 1'000'000;

// By ending, else by the first character. YAML reads JSON too, so that is the fallback.
[[nodiscard]] Format format_of(std::string_view path, std::string_view text);
// nullopt after an error in `diagnostics`.
[[nodiscard]] std::optional<Node> parse_document(Format format, std::string_view text,
                                                 const std::string& file, Diagnostics& diagnostics);
// The same for a file: unreadable, too large, empty and non-UTF-8 files are diagnosed. `text` keeps what was
// read.
[[nodiscard]] std::optional<Node> read_document(const std::string& path, std::string& text,
                                                Diagnostics& diagnostics);

}  // namespace secbox::manifest
