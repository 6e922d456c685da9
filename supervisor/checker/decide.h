// decide(): the only place where an Allow is made.
//
// Precedence, highest first. Within a step the layer does not matter; the rule named is the first in order.
//   1. protected state   (a Deny of layer Protected)
//   2. deny              (any layer; one verb or one of the two paths is enough)
//   3. allow             (every verb, and for paths both spellings, each by any allow rule; the rule named
//                         is one for the first verb on the resolved object)
//   4. optional          (as allow, but somebody must say yes; a Deny with reason NeedsConsent here)
//   5. default           deny
// A path is judged as written and as resolved: a deny matches either, an allow must match both. A rule on
// FileRead speaks of FileList too; nothing else implies anything. An `except` of a deny counts for the
// spelling that it names, one of a grant for both. A path that is not absolute, or whose resolved form still
// has a "..", is never granted.
#pragma once

#include <cstdint>

#include "supervisor/checker/access.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::checker {

enum class Reason : std::uint8_t {
  Granted,         // an allow rule covers it
  ProtectedState,  // a protected object
  DeniedByRule,    // an explicit deny
  NeedsConsent,    // only an optional grant covers it
  NoGrant,         // nothing covers it
};
[[nodiscard]] std::string_view reason_text(Reason reason);

class Decision {
 public:
  Decision() = default;  // a denial: whatever is not decided is refused

  [[nodiscard]] bool allowed() const { return allowed_; }
  [[nodiscard]] Reason reason() const { return reason_; }
  // The rule that decided; null for NoGrant. Lives as long as the ruleset.
  [[nodiscard]] const Rule* rule() const { return rule_; }
  // For a denial: the first verb that was not granted.
  [[nodiscard]] Verb verb() const { return verb_; }

 private:
  friend Decision decide(const Ruleset&, const AccessView&);
  bool allowed_ = false;
  Reason reason_ = Reason::NoGrant;
  Verb verb_ = Verb::FileRead;
  const Rule* rule_ = nullptr;
};

// Pure, allocation-free, under 1 us for 10,000 rules.
[[nodiscard]] Decision decide(const Ruleset& ruleset, const AccessView& access);

// The grant of the manifest or of a flag that comes nearest to what was asked, for "nearest is ...": shares
// the most leading directories, or the network, the domain (`host` is a name for the endpoint, or ""), or at
// least the port. Null where none does.
[[nodiscard]] const Rule* nearest_grant(const Ruleset& ruleset, const AccessView& access,
                                        std::string_view host = {});

}  // namespace secbox::checker
