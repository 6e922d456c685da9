// What a Ruleset is made of. Internal to the checker.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/checker/net_index.h"
#include "supervisor/checker/path_index.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::checker {

inline constexpr VerbSet kNetVerbs = Verb::NetConnect | Verb::NetBind;
inline constexpr VerbSet kPathVerbs = kFileVerbs | Verb::ExecRun;  // over absolute paths alone

// The verbs that a rule speaks of, with the one implication there is: who may read a directory may list it,
// and where reading is denied so is listing.
[[nodiscard]] constexpr VerbSet with_implied(VerbSet verbs) {
  return verbs.contains(Verb::FileRead) ? verbs | Verb::FileList : verbs;
}

[[nodiscard]] constexpr Tier tier_of(const Rule& rule) {
  switch (rule.effect) {
    case Effect::Allow:
      return Tier::Allow;
    case Effect::Optional:
      return Tier::Optional;
    case Effect::Deny:
      break;
  }
  return rule.layer == Layer::Protected ? Tier::Protected : Tier::Deny;
}

// For canonical texts: one word, whatever is in it.
void append_quoted(std::string& out, std::string_view text);

// The part that copies of a ruleset share: it does not depend on what host names stand for.
struct RulesetCore {
  std::vector<Rule> rules;
  PathIndex paths;
  NetIndex nets;
  std::vector<std::unique_ptr<PathIndex>> path_excepts;  // by rule; null where it has few or none
};

struct HostEntry {
  std::string host;
  std::vector<Address> addresses;
};

struct Ruleset::Index {
  std::shared_ptr<const RulesetCore> core;
  NetIndex hosts;                         // grants by name, as the addresses of now
  std::vector<HostEntry> host_addresses;  // sorted by name

  [[nodiscard]] const Rule& rule(std::uint32_t at) const { return core->rules[at]; }

  // True where an `except` of the rule names `text`.
  [[nodiscard]] bool excepted(std::uint32_t at, std::string_view text) const {
    if (core->path_excepts[at]) return core->path_excepts[at]->any(text);
    return std::ranges::any_of(core->rules[at].except_paths,
                               [&](const PathPattern& pattern) { return glob_match(pattern, text); });
  }
  [[nodiscard]] bool excepted(std::uint32_t at, const Endpoint& endpoint) const {
    return std::ranges::any_of(core->rules[at].except_nets,
                               [&](const NetPattern& pattern) { return matches(pattern, endpoint); });
  }
  // Scans, for excepts and for messages; decide() uses the indexes.
  [[nodiscard]] bool matches(const NetPattern& pattern, const Endpoint& endpoint) const {
    if (pattern.host.empty()) return matches_numbers(pattern, endpoint);
    const auto found = std::ranges::lower_bound(host_addresses, std::string_view(pattern.host), {},
                                                [](const HostEntry& e) { return std::string_view(e.host); });
    if (found == host_addresses.end() || found->host != pattern.host) return false;
    NetPattern one = {.transport = pattern.transport,
                      .network = {},
                      .prefix_bits = 128,
                      .port_low = pattern.port_low,
                      .port_high = pattern.port_high,
                      .host = {}};
    return std::ranges::any_of(found->addresses, [&](const Address& address) {
      one.network = address;
      return matches_numbers(one, endpoint);
    });
  }
};

}  // namespace secbox::checker
