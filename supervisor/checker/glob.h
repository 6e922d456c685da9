// The pieces of a path pattern, for the matcher and for the index that avoids calling it.
// Internal to the checker; glob_match() and literal_prefix() are declared in ruleset.h.
#pragma once

#include <cstddef>
#include <string_view>

namespace secbox::checker {

// True where `text` has one of the bytes that begin a wildcard.
[[nodiscard]] inline bool has_wildcard(std::string_view text) {
  return text.find_first_of("*?[") != std::string_view::npos;
}

// True for patterns over paths ("/...", "**/..."), false for patterns over bare names ("LC_*", "@dbus-*").
[[nodiscard]] inline bool is_path_pattern(std::string_view pattern) {
  return pattern.starts_with('/') || pattern.starts_with("**/");
}

// The '[...]' that starts at text[at], '[' included; 0 where it is not closed, and then '[' is an ordinary
// byte. A ']' right after '[' or '[!' belongs to the class.
[[nodiscard]] std::size_t class_length(std::string_view text, std::size_t at);

// `pattern` as one run of bytes: '*' any number, '?' one, '[..]' one of. '/' is a byte like the others.
// At most pattern.size() * text.size() steps.
[[nodiscard]] bool match_run(std::string_view pattern, std::string_view text);

// The literal bytes that every match of the run begins and ends with.
[[nodiscard]] std::string_view literal_head(std::string_view pattern);
[[nodiscard]] std::string_view literal_tail(std::string_view pattern);

// Walks "a/b/c" component by component; an empty text has none.
class Components {
 public:
  explicit Components(std::string_view text) : text_(text), done_(text.empty()) { find_end(); }
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] std::string_view current() const { return text_.substr(begin_, end_ - begin_); }
  [[nodiscard]] std::size_t begin() const { return begin_; }
  [[nodiscard]] std::size_t end() const { return end_; }
  void next() {
    if (end_ >= text_.size()) {
      done_ = true;
      return;
    }
    begin_ = end_ + 1;
    find_end();
  }

 private:
  void find_end() {
    const std::size_t slash = text_.find('/', begin_);
    end_ = slash == std::string_view::npos ? text_.size() : slash;
  }

  std::string_view text_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool done_;
};

// Component by component: `**` spans any number of them. Neither text has its leading '/'.
[[nodiscard]] bool match_components(std::string_view pattern, std::string_view text);

}  // namespace secbox::checker
