#include "tools/harness/variables.h"

namespace secbox::harness {

namespace {
// Calls `plain` with text and `variable` with names, in order.
template <typename Plain, typename Variable>
void split(std::string_view text, Plain plain, Variable variable) {
  while (!text.empty()) {
    const std::size_t start = text.find("${");
    const std::size_t end = start == std::string_view::npos ? start : text.find('}', start);
    if (end == std::string_view::npos) return plain(text);
    plain(text.substr(0, start));
    variable(text.substr(start + 2, end - start - 2));
    text.remove_prefix(end + 1);
  }
}
}  // namespace

std::string Variables::expand(std::string_view text) const {
  std::string out;
  split(
      text, [&](std::string_view plain) { out += plain; },
      [&](std::string_view name) {
        const auto found = values_.find(std::string(name));
        out += found != values_.end() ? found->second : "${" + std::string(name) + "}";
      });
  return out;
}

std::vector<std::string> Variables::expand(const std::vector<std::string>& words) const {
  std::vector<std::string> out;
  for (const std::string& word : words) out.push_back(expand(word));
  return out;
}

std::vector<std::string> variables_in(std::string_view text) {
  std::vector<std::string> names;
  split(text, [](std::string_view) {}, [&](std::string_view name) { names.emplace_back(name); });
  return names;
}

}  // namespace secbox::harness
