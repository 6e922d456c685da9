#include "supervisor/checker/glob.h"

#include <string>

#include "supervisor/checker/ruleset.h"

namespace secbox::checker {
namespace {

unsigned char byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

// `klass` is a closed class with its brackets.
bool class_contains(std::string_view klass, unsigned char byte) {
  std::size_t at = 1;
  const std::size_t end = klass.size() - 1;
  const bool negated = klass[at] == '!' || klass[at] == '^';
  if (negated) ++at;
  bool found = false;
  while (at < end) {
    if (at + 2 < end && klass[at + 1] == '-') {
      found = found || (byte_at(klass, at) <= byte && byte <= byte_at(klass, at + 2));
      at += 3;
    } else {
      found = found || byte_at(klass, at) == byte;
      ++at;
    }
  }
  return found != negated;
}

}  // namespace

std::size_t class_length(std::string_view text, std::size_t at) {
  std::size_t i = at + 1;
  if (i < text.size() && (text[i] == '!' || text[i] == '^')) ++i;
  if (i < text.size() && text[i] == ']') ++i;
  const std::size_t close = text.find(']', i);
  return close == std::string_view::npos ? 0 : close + 1 - at;
}

bool match_run(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  // Only the last star can need more bytes: whatever an earlier one would give, this one can take. So there
  // is one point to come back to, and no pattern is worse than the product of the lengths.
  std::size_t star_p = std::string_view::npos;
  std::size_t star_t = 0;
  while (t < text.size()) {
    if (p < pattern.size()) {
      const char c = pattern[p];
      if (c == '*') {
        star_p = ++p;
        star_t = t;
        if (p == pattern.size()) return true;
        continue;
      }
      if (c == '?') {
        ++p;
        ++t;
        continue;
      }
      if (c == '[') {
        const std::size_t length = class_length(pattern, p);
        if (length != 0 ? class_contains(pattern.substr(p, length), byte_at(text, t)) : text[t] == '[') {
          p += length != 0 ? length : 1;
          ++t;
          continue;
        }
      } else if (c == text[t]) {
        ++p;
        ++t;
        continue;
      }
    }
    if (star_p == std::string_view::npos) return false;
    p = star_p;
    t = ++star_t;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string_view literal_head(std::string_view pattern) {
  std::size_t at = 0;
  while (at < pattern.size()) {
    const char c = pattern[at];
    if (c == '*' || c == '?' || (c == '[' && class_length(pattern, at) != 0)) break;
    ++at;
  }
  return pattern.substr(0, at);
}

std::string_view literal_tail(std::string_view pattern) {
  std::size_t tail = 0;
  for (std::size_t at = 0; at < pattern.size();) {
    const char c = pattern[at];
    std::size_t length = c == '*' || c == '?' ? 1 : 0;
    if (c == '[') length = class_length(pattern, at);
    at += length != 0 ? length : 1;
    if (length != 0) tail = at;
  }
  return pattern.substr(tail);
}

bool match_components(std::string_view pattern, std::string_view text) {
  Components p(pattern);
  Components t(text);
  // The same argument as in match_run(), one level up: only the last `**` is ever extended.
  bool starred = false;
  Components star_p = p;
  Components star_t = t;
  while (true) {
    if (!p.done() && p.current() == "**") {
      p.next();
      if (p.done()) return true;
      starred = true;
      star_p = p;
      star_t = t;
      continue;
    }
    if (t.done()) return p.done();
    // A wildcard never stands for an empty component: "/x/*" is not "/x/".
    if (!p.done() && (t.current().empty() ? p.current().empty() : match_run(p.current(), t.current()))) {
      p.next();
      t.next();
      continue;
    }
    if (!starred) return false;
    star_t.next();
    p = star_p;
    t = star_t;
  }
}

bool glob_match(std::string_view pattern, std::string_view path) {
  if (pattern == "**") return true;
  if (!is_path_pattern(pattern)) return match_run(pattern, path);
  if (!path.starts_with('/')) return false;
  if (pattern.starts_with('/')) pattern.remove_prefix(1);
  return match_components(pattern, path.substr(1));
}

std::string literal_prefix(std::string_view pattern) {
  if (pattern == "**" || pattern.starts_with("**/")) return "/";
  if (!has_wildcard(pattern)) return std::string(pattern);
  if (!pattern.starts_with('/')) return "";
  const std::size_t wildcard = pattern.find_first_of("*?[");
  const std::size_t slash = pattern.rfind('/', wildcard);
  return std::string(pattern.substr(0, slash == 0 ? 1 : slash));
}

}  // namespace secbox::checker
