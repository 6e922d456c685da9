#include "supervisor/launch/environment.h"

#include <algorithm>
#include <string_view>

#include "supervisor/checker/decide.h"

namespace secbox::launch {

Environment filter_environment(char* const* environ, const checker::Ruleset& rules, bool keep_all) {
  Environment result;
  for (char* const* entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (name.empty() || name.size() == text.size()) continue;  // not a variable
    const bool granted =
        checker::decide(
            rules, {.verbs = checker::Verb::EnvRead, .as_written = name, .resolved = name, .endpoint = {}})
            .allowed();
    if (!granted) result.held_back.emplace_back(name);
    if (granted || keep_all) result.passed.emplace_back(text);
  }
  return result;
}

void set_variable(Environment& environment, const std::string& name, const std::string& value) {
  const std::string prefix = name + "=";
  std::erase_if(environment.passed, [&](const std::string& entry) { return entry.starts_with(prefix); });
  environment.passed.push_back(prefix + value);
}

}  // namespace secbox::launch
