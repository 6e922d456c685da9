#include "supervisor/checker/module_rules.h"

#include <algorithm>
#include <utility>

#include "supervisor/checker/glob.h"
#include "supervisor/checker/index.h"

namespace secbox::checker {
namespace {

constexpr std::size_t kLongestPattern = 4096;  // PATH_MAX: nothing longer can match

bool matches(std::string_view pattern, std::string_view path) {
  if (pattern.find('/') == std::string_view::npos) path.remove_prefix(path.rfind('/') + 1);
  return match_run(pattern, path);
}

const char* pattern_fault(std::string_view pattern) {
  if (pattern.empty()) return "is empty";
  if (pattern.size() > kLongestPattern) return "is longer than a path can be";
  if (pattern.find('\0') != std::string_view::npos) return "has a NUL byte";
  const bool is_path = pattern.find('/') != std::string_view::npos;
  if (is_path && !pattern.starts_with('/') && !has_wildcard(pattern.substr(0, 1)))
    return "is neither absolute nor begins with a wildcard";
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] != '[') continue;
    const std::size_t length = class_length(pattern, at);
    if (length == 0) return "has a '[' that is not closed; write [[] for the character itself";
    at += length - 1;
  }
  return nullptr;
}

std::unexpected<Error> bad(const ModuleRule& rule, const std::string& what, const char* fault) {
  return failure("rule for the module \"" + rule.text + "\": " + what + " " + fault);
}

}  // namespace

Result<ModuleRules> ModuleRules::make(std::vector<ModuleRule> rules) {
  ModuleRules made;
  for (const ModuleRule& rule : rules) {
    if (rule.match.empty()) return bad(rule, "it", "matches no module");
    for (const std::string& pattern : rule.match) {
      if (const char* fault = pattern_fault(pattern)) return bad(rule, "pattern \"" + pattern + "\"", fault);
    }
    for (const Rule& deny : rule.deny) {
      if (deny.effect != Effect::Deny) return bad(rule, deny.id, "is no denial");
      for (const auto* nets : {&deny.nets, &deny.except_nets}) {
        if (std::ranges::any_of(*nets, [](const NetPattern& net) { return !net.host.empty(); }))
          return bad(rule, deny.id, "names a host");
      }
    }
    auto deny = Ruleset::make(rule.deny);
    if (!deny) return std::unexpected(deny.error());
    made.entries_.push_back({rule.match, std::move(*deny)});
  }
  made.rules_ = std::move(rules);
  return made;
}

std::optional<Decision> ModuleRules::denies(std::string_view module_path, const AccessView& access) const {
  for (const Entry& entry : entries_) {
    if (std::ranges::none_of(entry.match,
                             [&](const std::string& pattern) { return matches(pattern, module_path); }))
      continue;
    const Decision decision = decide(entry.deny, access);
    if (decision.rule() != nullptr) return decision;
  }
  return std::nullopt;
}

std::string ModuleRules::canonical_text() const {
  std::vector<std::string> lines;
  for (const Entry& entry : entries_) {
    std::vector<std::string> patterns = entry.match;
    std::ranges::sort(patterns);
    std::string module = "module";
    for (const std::string& pattern : patterns) {
      module += ' ';
      append_quoted(module, pattern);
    }
    const std::string text = entry.deny.canonical_text();
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      lines.push_back(module + ' ' + text.substr(at, end - at));
      at = end + 1;
    }
  }
  std::ranges::sort(lines);
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

}  // namespace secbox::checker
