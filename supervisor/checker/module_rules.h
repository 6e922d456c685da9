// Denials for what a module (a library, a program's own file) of the process calls: on top of the rules of
// the plugin, never instead of them. Advisory: which module made a call is what the process says of itself,
// and code in the same process can call from where it likes. So there is nothing here that allows.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/checker/decide.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::checker {

struct ModuleRule {
  std::string text;  // what it is about, as written
  // Any of them. A glob over the whole path of the module, where `*` and `?` match '/' too ("*/libfoo.so*",
  // "/usr/lib/**"); one without a '/' is a glob over the last component.
  std::vector<std::string> match;
  std::vector<Rule> deny;  // each of Effect::Deny; no host names
};

class ModuleRules {
 public:
  // Fails on what Ruleset::make() fails on, on a pattern that can match no path, on a rule that is no denial
  // and on one that names a host: what a name stands for changes, and rules by module do not.
  [[nodiscard]] static Result<ModuleRules> make(std::vector<ModuleRule> rules);

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  // What is denied to the module at `module_path`, by the first entry that matches it and denies this;
  // nullopt where none does: then the rules of the plugin alone hold. Lives as long as this. Free of
  // allocations.
  [[nodiscard]] std::optional<Decision> denies(std::string_view module_path, const AccessView& access) const;

  [[nodiscard]] const std::vector<ModuleRule>& rules() const { return rules_; }
  // As Ruleset::canonical_text(), one line a denial; "" where there is none.
  [[nodiscard]] std::string canonical_text() const;

 private:
  struct Entry {
    std::vector<std::string> match;
    Ruleset deny;
  };
  std::vector<ModuleRule> rules_;
  std::vector<Entry> entries_;  // one a rule
};

}  // namespace secbox::checker
