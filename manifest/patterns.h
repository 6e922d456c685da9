// Small facts about path patterns that compiling and linting share. Internal to the manifest library.
#pragma once

#include <string>
#include <string_view>

#include "supervisor/checker/ruleset.h"

namespace secbox::manifest {

[[nodiscard]] inline bool has_wildcard(std::string_view pattern) {
  return pattern.find_first_of("*?[") != std::string_view::npos;
}

// What a link leads to is a name: its own wildcards mean themselves.
[[nodiscard]] inline std::string literal(std::string_view path) {
  std::string pattern;
  for (const char c : path) {
    if (c == '*' || c == '?' || c == '[') {
      pattern += {'[', c, ']'};
    } else {
      pattern += c;
    }
  }
  return pattern;
}

// "/**" and what says the same in other words: nothing in it names anything.
[[nodiscard]] inline bool is_everything(std::string_view pattern) {
  return pattern.find_first_not_of("/*") == std::string_view::npos &&
         pattern.find("**") != std::string_view::npos;
}

// "/x" of "/x/**"; "" for every other pattern, "/**" included.
[[nodiscard]] inline std::string_view subtree_root(std::string_view pattern) {
  if (!pattern.starts_with('/') || !pattern.ends_with("/**")) return {};
  pattern.remove_suffix(3);
  return has_wildcard(pattern) ? std::string_view{} : pattern;
}

[[nodiscard]] inline bool is_inside(std::string_view path, std::string_view tree) {
  return path.starts_with(tree) && (path.size() == tree.size() || path[tree.size()] == '/');
}

// True where `wide` surely matches all that `narrow` does.
[[nodiscard]] inline bool covers(std::string_view wide, std::string_view narrow) {
  if (wide == narrow || is_everything(wide)) return true;
  if (!has_wildcard(narrow)) return checker::glob_match(wide, narrow);
  const std::string_view root = subtree_root(wide);
  return !root.empty() && is_inside(checker::literal_prefix(narrow), root);
}

}  // namespace secbox::manifest
