#include "tools/harness/expectation.h"

namespace secbox::harness {

std::string Expectation::text() const {
  std::string out;
  const auto part = [&](const char* name, const std::string& value) {
    if (!value.empty()) out += (out.empty() ? "" : ", ") + std::string(name) + " " + value;
  };
  part("op", op);
  part("target", target);
  part("errno", errno_name);
  part("syscall", syscall);
  part("rule", rule);
  return out.empty() ? "any record" : out;
}

}  // namespace secbox::harness
