// The words of other plugin hosts: each stands for permissions of ours, with a risk and a sentence for
// people. Data files (share/secbox/vocab), and a part of the program.
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "manifest/document.h"

namespace secbox::manifest {

// What a word stands for. A grant or denial is as in a manifest: a permission, or {use, except}.
struct Meaning {
  std::vector<Node> grants, deny;
  std::string risk;  // "low", "medium", "high"
  std::string text;
};

class Vocabulary {
 public:
  // One object: word -> {grants, deny, risk, text}. A word that ends with ${ARG} stands for all that begin as
  // it does; what follows there goes where its grants say ${ARG}. An error is one line.
  [[nodiscard]] static std::expected<Vocabulary, std::string> parse(std::string_view text,
                                                                    const std::string& file);

  // nullopt: not a word. Of two that fit the longer one.
  [[nodiscard]] std::optional<Meaning> find(std::string_view word) const;
  // The word that `word` may be a slip of, or "".
  [[nodiscard]] std::string nearest(std::string_view word) const;
  [[nodiscard]] std::string known_words() const;

 private:
  std::map<std::string, Meaning, std::less<>> words_;     // whole ones
  std::map<std::string, Meaning, std::less<>> prefixes_;  // without their ${ARG}
};

struct VocabularyFile {
  std::string_view name, text;
};
[[nodiscard]] std::span<const VocabularyFile> vocabulary_files();
// A built-in one; nullptr where there is none of that name.
[[nodiscard]] const Vocabulary* vocabulary(std::string_view name);

}  // namespace secbox::manifest
