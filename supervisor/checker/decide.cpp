#include "supervisor/checker/decide.h"

#include <algorithm>
#include <limits>

#include "supervisor/checker/index.h"

namespace secbox::checker {
namespace {

constexpr std::uint32_t kNoRule = std::numeric_limits<std::uint32_t>::max();

Verb lowest(std::uint32_t bits) { return static_cast<Verb>(bits & (~bits + 1)); }

// A spelling that path rules can be trusted on: absolute, and with no ".." by which "/x/../y" would pass for
// a part of /x.
bool is_canonical(std::string_view path) {
  if (!path.starts_with('/')) return false;
  for (std::size_t at = path.find("/.."); at != std::string_view::npos; at = path.find("/..", at + 1)) {
    if (at + 3 == path.size() || path[at + 3] == '/') return false;
  }
  return true;
}

struct Coverage {
  std::uint32_t granted = 0;
  std::uint32_t optional = 0;
};

// What the rules say, gathered in one pass over those that could match.
class Gathering {
 public:
  Gathering(const Ruleset::Index& index, const AccessView& access)
      : index_(index), access_(access), first_(static_cast<std::uint32_t>(lowest(access.verbs.bits()))) {}

  Coverage judge_path(std::string_view spelling, std::uint32_t verbs) {
    Coverage covered;
    const bool names_too = access_.verbs.contains(Verb::UnixSocket);
    index_.core->paths.for_candidates(spelling, verbs, names_too,
                                      [&](const PathEntry& entry, std::string_view rest) {
                                        if (adds_nothing(entry, verbs, covered)) return;
                                        if (!index_.core->paths.matches(entry, rest)) return;
                                        if (entry.has_excepts && path_excepted(entry, spelling)) return;
                                        take(entry.rule, entry.verbs & verbs, entry.tier, covered);
                                      });
    return covered;
  }

  Coverage judge_net(const Endpoint& endpoint, std::uint32_t verbs) {
    Coverage covered;
    const auto visit = [&](const NetEntry& entry) {
      if (adds_nothing(entry, verbs, covered)) return;
      if (entry.has_excepts && index_.excepted(entry.rule, endpoint)) return;
      take(entry.rule, entry.verbs & verbs, entry.tier, covered);
    };
    index_.core->nets.for_matches(endpoint, verbs, visit);
    index_.hosts.for_matches(endpoint, verbs, visit);
    return covered;
  }

  [[nodiscard]] std::uint32_t protecting() const { return protecting_; }
  [[nodiscard]] std::uint32_t denying() const { return denying_; }
  // The first rule that grants the first verb.
  [[nodiscard]] std::uint32_t granting() const { return granting_; }

 private:
  template <typename Entry>
  bool adds_nothing(const Entry& entry, std::uint32_t verbs, const Coverage& covered) const {
    const std::uint32_t bits = entry.verbs & verbs;
    switch (entry.tier) {
      case Tier::Protected:
        return entry.rule >= protecting_;
      case Tier::Deny:
        return entry.rule >= denying_;
      case Tier::Allow:
        return (bits & ~covered.granted) == 0 && ((bits & first_) == 0 || entry.rule >= granting_);
      case Tier::Optional:
        return (bits & ~covered.optional) == 0;
    }
    return false;
  }

  bool path_excepted(const PathEntry& entry, std::string_view spelling) const {
    if (entry.tier == Tier::Protected || entry.tier == Tier::Deny)
      return index_.excepted(entry.rule, spelling);
    // A grant must not be reached through the spelling that its exception does not name.
    return index_.excepted(entry.rule, access_.resolved) || index_.excepted(entry.rule, access_.as_written);
  }

  void take(std::uint32_t rule, std::uint32_t bits, Tier tier, Coverage& covered) {
    switch (tier) {
      case Tier::Protected:
        protecting_ = std::min(protecting_, rule);
        break;
      case Tier::Deny:
        denying_ = std::min(denying_, rule);
        break;
      case Tier::Allow:
        covered.granted |= bits;
        if ((bits & first_) != 0) granting_ = std::min(granting_, rule);
        break;
      case Tier::Optional:
        covered.optional |= bits;
        break;
    }
  }

  const Ruleset::Index& index_;
  const AccessView& access_;
  const std::uint32_t first_;
  std::uint32_t protecting_ = kNoRule;
  std::uint32_t denying_ = kNoRule;
  std::uint32_t granting_ = kNoRule;
};

// For messages: the first optional rule on `verb` that matches one of the spellings. Scans.
const Rule* first_optional(const Ruleset::Index& index, const AccessView& access, Verb verb) {
  for (std::uint32_t at = 0; at < index.core->rules.size(); ++at) {
    const Rule& rule = index.core->rules[at];
    if (rule.effect != Effect::Optional || !with_implied(rule.verbs).contains(verb)) continue;
    if (kNetVerbs.contains(verb)) {
      if (!access.endpoint || index.excepted(at, *access.endpoint)) continue;
      for (const NetPattern& pattern : rule.nets) {
        if (index.matches(pattern, *access.endpoint)) return &rule;
      }
      continue;
    }
    if (index.excepted(at, access.resolved) || index.excepted(at, access.as_written)) continue;
    for (const PathPattern& pattern : rule.paths) {
      if (glob_match(pattern, access.resolved) || glob_match(pattern, access.as_written)) return &rule;
    }
  }
  return nullptr;
}

// How near a pattern is to `text`: the leading bytes that agree, and of equal ones first the pattern that
// matches. 0 = not at all.
std::size_t nearness(std::string_view pattern, std::string_view text) {
  const std::size_t matches = glob_match(pattern, text) ? 1 : 0;
  std::size_t shared = 0;
  if (!is_path_pattern(pattern)) {
    const std::string_view head = literal_head(pattern);
    shared = static_cast<std::size_t>(std::ranges::mismatch(head, text).in1 - head.begin());
  } else if (pattern.size() > 1 && text.size() > 1) {
    Components a(pattern.substr(1));
    Components b(text.substr(1));
    for (; !a.done() && !b.done() && a.current() == b.current(); a.next(), b.next()) shared = a.end() + 1;
  }
  return shared * 2 + matches;
}

// "example.com" of "api.example.com".
std::string_view domain_of(std::string_view host) {
  const std::size_t last = host.rfind('.');
  if (last == std::string_view::npos || last == 0) return host;
  const std::size_t before = host.rfind('.', last - 1);
  return before == std::string_view::npos ? host : host.substr(before + 1);
}

std::size_t nearness(const Ruleset::Index& index, const NetPattern& pattern, const Endpoint& endpoint,
                     std::string_view host) {
  // Another port or transport of a granted address is as near as it gets.
  NetPattern any_port = pattern;
  any_port.transport.reset();
  any_port.port_low = 0;
  any_port.port_high = 65535;
  if (index.matches(any_port, endpoint)) return 129;
  const bool all_ports = pattern.port_low == 0 && pattern.port_high == 65535;
  const std::size_t same_port =
      !all_ports && endpoint.port >= pattern.port_low && endpoint.port <= pattern.port_high ? 1 : 0;
  if (!pattern.host.empty())
    return !host.empty() && domain_of(pattern.host) == domain_of(host) ? 128 : same_port;
  // Less than the first byte in common says nothing.
  const int family_bits = endpoint.is_v4() ? 96 : 0;
  const int shared = std::min(common_bits(pattern.network, endpoint.address), pattern.prefix_bits);
  return shared >= family_bits + 8 ? static_cast<std::size_t>(shared) : same_port;
}

// The verbs among which a grant can be near.
VerbSet family_of(VerbSet verbs) {
  if (verbs.intersects(kFileVerbs)) return kFileVerbs;
  if (verbs.intersects(kNetVerbs)) return kNetVerbs;
  return verbs;
}

}  // namespace

std::string_view reason_text(Reason reason) {
  switch (reason) {
    case Reason::Granted:
      return "granted";
    case Reason::ProtectedState:
      return "protected state";
    case Reason::DeniedByRule:
      return "denied by a rule";
    case Reason::NeedsConsent:
      return "optional, and nobody has consented";
    case Reason::NoGrant:
      return "no grant matches";
  }
  return "unknown";
}

Decision decide(const Ruleset& ruleset, const AccessView& access) {
  Decision decision;
  const std::uint32_t needed = access.verbs.bits();
  if (needed == 0) return decision;  // nothing was asked, so nothing is granted
  decision.verb_ = lowest(needed);

  const Ruleset::Index& index = ruleset.index();
  const std::uint32_t path_verbs = (access.verbs - kNetVerbs).bits();
  const std::uint32_t net_verbs = needed & kNetVerbs.bits();
  Gathering rules(index, access);
  Coverage both;                     // what holds for each spelling
  std::uint32_t granting = kNoRule;  // named for an Allow: a rule for the object itself, not for its spelling
  if (path_verbs != 0) {
    both = rules.judge_path(access.resolved, path_verbs);
    granting = rules.granting();
    if (access.as_written != access.resolved) {
      const Coverage written = rules.judge_path(access.as_written, path_verbs);
      both.optional = (both.optional | both.granted) & (written.optional | written.granted);
      both.granted &= written.granted;
    }
    // Rules over paths prove nothing about a name that is not one. Denials stand all the same.
    std::uint32_t unproven = 0;
    if (!is_canonical(access.resolved) || !access.as_written.starts_with('/')) unproven = kPathVerbs.bits();
    if (access.resolved.starts_with('/') && !is_canonical(access.resolved)) unproven = path_verbs;
    if (access.resolved.empty() || access.as_written.empty()) unproven = path_verbs;
    both.granted &= ~unproven;
    both.optional &= ~unproven;
  }
  if (net_verbs != 0 && access.endpoint) {
    const Coverage net = rules.judge_net(*access.endpoint, net_verbs);
    both.granted |= net.granted;
    both.optional |= net.optional;
    if (path_verbs == 0) granting = rules.granting();
  }

  const auto deny = [&](Reason reason, std::uint32_t rule) {
    decision.reason_ = reason;
    decision.rule_ = &index.rule(rule);
    decision.verb_ = lowest(needed & with_implied(decision.rule_->verbs).bits());
    return decision;
  };
  if (rules.protecting() != kNoRule) return deny(Reason::ProtectedState, rules.protecting());
  if (rules.denying() != kNoRule) return deny(Reason::DeniedByRule, rules.denying());

  const std::uint32_t missing = needed & ~both.granted;
  if (missing == 0) {
    decision.allowed_ = true;
    decision.reason_ = Reason::Granted;
    decision.rule_ = &index.rule(granting);
    return decision;
  }
  if ((missing & ~both.optional) == 0) {
    decision.reason_ = Reason::NeedsConsent;
    decision.verb_ = lowest(missing);
    decision.rule_ = first_optional(index, access, decision.verb_);
    return decision;
  }
  decision.reason_ = Reason::NoGrant;
  decision.verb_ = lowest(missing & ~both.optional);
  return decision;
}

const Rule* nearest_grant(const Ruleset& ruleset, const AccessView& access, std::string_view host) {
  const Ruleset::Index& index = ruleset.index();
  const VerbSet family = family_of(access.verbs);
  // Where the object itself is granted, it is the spelling that is not.
  AccessView object = access;
  object.as_written = access.resolved;
  const bool written_is_missing = access.resolved != access.as_written && decide(ruleset, object).allowed();
  const std::string_view text = written_is_missing ? access.as_written : access.resolved;

  const Rule* nearest = nullptr;
  std::size_t best = 0;
  bool best_has_verbs = false;
  for (std::size_t at = 0; at < index.core->rules.size(); ++at) {
    const Rule& rule = index.core->rules[at];
    if (rule.effect != Effect::Allow || !rule.verbs.intersects(family)) continue;
    // What nobody wrote down, the command itself for one, cannot be pointed at.
    if ((rule.layer != Layer::Manifest && rule.layer != Layer::Flag) || rule.source.file.empty()) continue;
    std::size_t score = 0;
    if (family.intersects(kNetVerbs)) {
      for (const NetPattern& pattern : rule.nets) {
        if (access.endpoint) score = std::max(score, nearness(index, pattern, *access.endpoint, host));
      }
    } else {
      for (const PathPattern& pattern : rule.paths) score = std::max(score, nearness(pattern, text));
    }
    const bool has_verbs = with_implied(rule.verbs).contains(access.verbs);
    if (score == 0 || score < best || (score == best && (best_has_verbs || !has_verbs))) continue;
    nearest = &rule;
    best = score;
    best_has_verbs = has_verbs;
  }
  return nearest;
}

}  // namespace secbox::checker
