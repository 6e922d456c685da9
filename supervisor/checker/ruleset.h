// The flat, immutable list of rules of one session, and the indexes that make decide() fast.
// Pure: links nothing but base, so it cannot reach the kernel.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/checker/access.h"

namespace secbox::checker {

// Optional: would be asked for; a denial where nobody is asked.
enum class Effect : std::uint8_t { Allow, Deny, Optional };

// Where a rule came from, weakest first. Deny from any layer wins, so the layer never changes a decision.
enum class Layer : std::uint8_t { Preset, Manifest, Flag, Policy, Implied, Protected };
[[nodiscard]] std::string_view layer_name(Layer layer);

// Where a rule was written, for people.
struct Source {
  std::string file;     // as the operator named it; empty for built-in rules
  int line = 0;         // 1-based; 0 where it has none
  std::string pointer;  // JSON pointer into `file`
  std::string text;     // the grant as written
};

// A path glob, already expanded: absolute ("/..."), or beginning "**/" for any depth. No variables, no
// braces.
// `*` (not empty as a whole component), `?` and `[..]` (`[!..]` negated) stay within a component; `**`, a
// component of its own, spans any number. "/x/**" includes /x; "**" alone is everything. A pattern without
// wildcards is that one object. Bytes, not characters; a literal '*' is written "[*]".
// For env, signal and ipc:unix also a glob over the bare name ("LC_*", "@dbus-*"): there `*` and `?` match
// '/' too, so "*" is every path and every abstract name.
using PathPattern = std::string;

struct NetPattern {
  std::optional<Transport> transport;  // none = either
  // A CIDR over the mapped form of Endpoint::address (an IPv4 /24 has prefix_bits 120). prefix_bits 0 = any
  // address.
  std::array<std::uint8_t, 16> network{};
  int prefix_bits = 0;
  std::uint16_t port_low = 0;  // inclusive, host byte order
  std::uint16_t port_high = 65535;
  // Set for a grant by host name: matches only addresses that set_host_addresses() gave for this name.
  std::string host;
};

struct Rule {
  std::string id;  // stable within a ruleset, for example "m3" (manifest), "base12", "protected:state"
  Effect effect = Effect::Deny;
  Layer layer = Layer::Manifest;
  VerbSet verbs;                   // the rule speaks of each of these
  std::vector<PathPattern> paths;  // any of them; for file, exec, ipc:unix ("@name" = abstract), env, signal
  std::vector<NetPattern> nets;    // any of them; for net
  std::vector<PathPattern> except_paths;  // a match here takes the rule out for that object
  std::vector<NetPattern> except_nets;
  Source source;
  std::string reason;  // the author's, or why a built-in rule exists
};

// True where `pattern` (see PathPattern) matches `path`. Bytes, no locale; '*' matches a leading dot.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view path);
// The longest leading directory of `pattern` that has no wildcard: "/usr/lib" of "/usr/lib/py*/x"; the whole
// pattern where it has no wildcard; "/" where it begins "**/".
[[nodiscard]] std::string literal_prefix(std::string_view pattern);

class Ruleset {
 public:
  // Fails on a pattern that is neither absolute nor "**/..." nor (env, signal, unix) a bare name, and on one
  // that could never match ("/x/", "/x//y", "/x/../y", an open '['): as a deny it would protect nothing.
  [[nodiscard]] static Result<Ruleset> make(std::vector<Rule> rules);
  Ruleset(Ruleset&&) noexcept;
  Ruleset& operator=(Ruleset&&) noexcept;
  ~Ruleset();

  [[nodiscard]] const std::vector<Rule>& rules() const;
  // One canonical line a rule, sorted: equal rulesets give equal text. The session hashes it.
  [[nodiscard]] std::string canonical_text() const;

  // A copy with the addresses that host-name grants stand for now. A ruleset in use is never changed: the
  // session swaps a shared_ptr. `hosts` holds every name at once; a name left out matches nothing.
  using HostAddresses = std::vector<std::pair<std::string, std::vector<std::array<std::uint8_t, 16>>>>;
  [[nodiscard]] std::shared_ptr<const Ruleset> with_host_addresses(const HostAddresses& hosts) const;
  // The host names that rules use, each once.
  [[nodiscard]] std::vector<std::string> host_names() const;

  // The first deny rule on one of `verbs` that could match something below the directory `path`; null where
  // none can. What makes renaming a parent of a denied tree a denial. Rules that begin "**/" keep matching
  // after a rename and do not count.
  [[nodiscard]] const Rule* deny_below(VerbSet verbs, std::string_view path) const;

  // The first rule that keeps one of `verbs` from something below the directory `to`, by a deny or by the
  // `except` of a grant, and not from what has the same name below `from` ("": from nowhere); null where none
  // does. What makes putting a directory or a link there a denial: what is in it was made elsewhere.
  [[nodiscard]] const Rule* ban_gained_below(VerbSet verbs, std::string_view from, std::string_view to) const;

  // The first allow rule on one of `verbs` that could match something below the directory `to` that nothing
  // grants while it is below `from`; null where none can. What makes moving a directory to where more is
  // granted a denial. Errs on the side of a rule.
  [[nodiscard]] const Rule* grant_gained_below(VerbSet verbs, std::string_view from,
                                               std::string_view to) const;

  struct Index;
  [[nodiscard]] const Index& index() const { return *index_; }

 private:
  Ruleset();
  std::unique_ptr<Index> index_;
};

}  // namespace secbox::checker
