// What the operator sees on stderr when something is denied, and at the end of the run.
//
//   secbox: DENIED embedder 1.2.0 (pid 4121 python3.11) file:read /home/ana/.aws/credentials
//           why: no grant matches; nearest is file:read:${HOME}/Documents/** (plugin.json:12)   rule SBX-D101
//                event 8f3a-17
//           fix: add "file:read:/home/ana/.aws/credentials" to permissions.required in plugin.json, or run
//                again with --allow 'file:read:/home/ana/.aws/credentials'
//
// Every text of the plugin is made safe for terminals first. The same denial is shown once, and no more than
// so many different ones: the log has them all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/audit/record.h"

namespace secbox::audit {

// The grant that comes nearest to what no grant matches, if any, for the path as asked and as resolved (""
// where it has none).
using NearestGrant = std::function<std::optional<RuleRef>(const Record& record, std::string_view path,
                                                          std::string_view resolved)>;

struct ReporterOptions {
  std::string plugin, version;
  std::string session;
  std::string manifest_path;  // as the operator named it; empty = there is none to change
  bool colour = false;        // stderr is a terminal; NO_COLOR and CLICOLOR_FORCE have the last word
  std::size_t most_shown = 10;
  NearestGrant nearest_grant{};  // may be empty
};

// Keeps no more than a bounded number of different denials. Not for several threads at once.
class DenialReporter {
 public:
  explicit DenialReporter(ReporterOptions options);

  // The lines to print for this denial, each with its newline; empty where it was shown already or enough
  // were.
  [[nodiscard]] std::string report(const Record& record, std::uint64_t seq);
  // The most frequent denials and one command that grants them; empty where fewer than two calls were denied.
  [[nodiscard]] std::string footer() const;

 private:
  [[nodiscard]] std::string nearest(const Record& record) const;

  struct Seen {
    std::uint64_t count = 0;
    std::uint64_t order = 0;
    std::string label;
    std::vector<std::string> grants;
  };

  const ReporterOptions options_;
  const bool colour_;
  std::unordered_map<std::string, Seen> seen_;  // by permission and target
  std::uint64_t total_ = 0;
  std::uint64_t shown_ = 0;
  bool said_enough_ = false;
};

// SBX-D101 no grant, D102 denied by a rule, D103 protected state, D104 needs consent, D105 refused system
// call.
[[nodiscard]] std::string_view denial_code(const Record& record);

// The grants that would have let it through, as the manifest and --allow spell them; empty where no grant
// can, or where the name has bytes that cannot be written down safely.
[[nodiscard]] std::vector<std::string> grants_for(const Record& record);

// One line for the program that was refused, with its newline; no longer than `most` bytes.
[[nodiscard]] std::string explanation(const Record& record, std::size_t most = 250);

// For a terminal: control characters, what reorders or hides text, and bytes that are no UTF-8 as \xNN. No
// longer than `most` bytes or so; what is cut off is "...".
[[nodiscard]] std::string printable(std::string_view text, std::size_t most = 300);

// As one word of a POSIX shell.
[[nodiscard]] std::string shell_word(std::string_view text);

}  // namespace secbox::audit
