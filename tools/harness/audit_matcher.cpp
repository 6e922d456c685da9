#include "tools/harness/audit_matcher.h"

#include <algorithm>

namespace secbox::harness {

namespace {

// "file:write" is one of the verbs of "file:read|write".
bool matches_permission(std::string_view wanted, std::string_view permission) {
  if (wanted == permission) return true;
  const std::size_t colon = permission.find(':');
  if (colon == std::string_view::npos || !wanted.starts_with(permission.substr(0, colon + 1))) return false;
  const std::string_view verb = wanted.substr(colon + 1);
  std::string_view verbs = permission.substr(colon + 1);
  while (!verbs.empty()) {
    const std::size_t end = std::min(verbs.find('|'), verbs.size());
    if (verbs.substr(0, end) == verb) return true;
    verbs.remove_prefix(std::min(end + 1, verbs.size()));
  }
  return false;
}

}  // namespace

bool matches_glob(std::string_view pattern, std::string_view text) {
  // The last star is the only one to go back to: what came before it has matched already.
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t after = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++after;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool matches(const Expectation& expectation, const LogRecord& record, const Variables& variables) {
  if (!expectation.op.empty() && expectation.op != record.op && expectation.op != record.event &&
      !matches_permission(expectation.op, record.permission))
    return false;
  if (!expectation.errno_name.empty() && expectation.errno_name != record.errno_name) return false;
  if (!expectation.syscall.empty() && expectation.syscall != record.syscall) return false;
  if (!expectation.rule.empty() && !matches_glob(expectation.rule, record.rule)) return false;
  if (expectation.target.empty()) return true;
  const std::string target = variables.expand(expectation.target);
  return std::ranges::any_of(record.targets,
                             [&](const std::string& one) { return matches_glob(target, one); });
}

std::size_t count_matches(const Expectation& expectation, std::string_view decision, const AuditLog& log,
                          const Variables& variables) {
  return static_cast<std::size_t>(std::ranges::count_if(log.records, [&](const LogRecord& record) {
    return record.decision == decision && matches(expectation, record, variables);
  }));
}

}  // namespace secbox::harness
