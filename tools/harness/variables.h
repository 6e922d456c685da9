// ${WORK}, ${PORT:inner} and their like: what differs from run to run.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace secbox::harness {

class Variables {
 public:
  void set(const std::string& name, std::string value) { values_[name] = std::move(value); }
  // Every ${NAME} that is known replaced, all else as it was.
  [[nodiscard]] std::string expand(std::string_view text) const;
  [[nodiscard]] std::vector<std::string> expand(const std::vector<std::string>& words) const;
  [[nodiscard]] const std::map<std::string, std::string>& values() const { return values_; }

 private:
  std::map<std::string, std::string> values_;
};

// The NAMEs of every ${NAME} in `text`.
[[nodiscard]] std::vector<std::string> variables_in(std::string_view text);

}  // namespace secbox::harness
