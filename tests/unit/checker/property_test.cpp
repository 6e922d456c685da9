// decide() against a second implementation that is too slow to use and too simple to be wrong, on random
// rulesets.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "supervisor/checker/decide.h"
#include "supervisor/checker/glob.h"
#include "tests/unit/checker/support.h"

namespace secbox::checker {
namespace {

using enum Verb;

// ---- the reference ----

bool slow_run(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*') {
    return slow_run(pattern.substr(1), text) || (!text.empty() && slow_run(pattern, text.substr(1)));
  }
  if (text.empty()) return false;
  std::size_t length = 1;
  bool matches = pattern[0] == '?' || pattern[0] == text[0];
  if (pattern[0] == '[') {  // only [ab] and [!ab] are made here
    length = pattern.find(']') + 1;
    std::string_view klass = pattern.substr(1, length - 2);
    const bool negated = klass[0] == '!';
    if (negated) klass.remove_prefix(1);
    matches = (klass.find(text[0]) != std::string_view::npos) != negated;
  }
  return matches && slow_run(pattern.substr(length), text.substr(1));
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  for (Components at(text); !at.done(); at.next()) parts.emplace_back(at.current());
  return parts;
}

bool slow_parts(const std::vector<std::string>& pattern, std::size_t p, const std::vector<std::string>& path,
                std::size_t t) {
  if (p == pattern.size()) return t == path.size();
  if (pattern[p] == "**") {
    return slow_parts(pattern, p + 1, path, t) || (t < path.size() && slow_parts(pattern, p, path, t + 1));
  }
  return t < path.size() && !path[t].empty() && slow_run(pattern[p], path[t]) &&
         slow_parts(pattern, p + 1, path, t + 1);
}

bool slow_glob(std::string_view pattern, std::string_view text) {
  if (pattern == "**") return true;
  if (pattern.starts_with("**/") || pattern.starts_with('/')) {
    if (!text.starts_with('/')) return false;
    if (pattern.starts_with('/')) pattern.remove_prefix(1);
    return slow_parts(split(pattern), 0, split(text.substr(1)), 0);
  }
  return slow_run(pattern, text);
}

bool in_network(const NetPattern& pattern, const Endpoint& endpoint) {
  if (pattern.transport && *pattern.transport != endpoint.transport) return false;
  if (endpoint.port < pattern.port_low || endpoint.port > pattern.port_high) return false;
  for (int bit = 0; bit < pattern.prefix_bits; ++bit) {
    const auto at = static_cast<std::size_t>(bit / 8);
    const int mask = 0x80 >> (bit % 8);
    if ((pattern.network[at] & mask) != (endpoint.address[at] & mask)) return false;
  }
  return true;
}

bool is_net(Verb verb) { return verb == NetConnect || verb == NetBind; }
bool is_path(Verb verb) { return kFileVerbs.contains(verb) || verb == ExecRun; }

bool speaks_of(const Rule& rule, Verb verb) {
  return rule.verbs.contains(verb) || (verb == FileList && rule.verbs.contains(FileRead));
}

// Does the rule match, judged on one spelling (net: on the end point)?
bool hits(const Rule& rule, Verb verb, const AccessView& access, std::string_view spelling) {
  if (!speaks_of(rule, verb)) return false;
  if (is_net(verb)) {
    const auto covers = [&](const NetPattern& pattern) {
      return access.endpoint && in_network(pattern, *access.endpoint);
    };
    return std::ranges::any_of(rule.nets, covers) && std::ranges::none_of(rule.except_nets, covers);
  }
  const auto names = [](const std::vector<PathPattern>& patterns, std::string_view text) {
    return std::ranges::any_of(patterns,
                               [&](const PathPattern& pattern) { return slow_glob(pattern, text); });
  };
  if (!names(rule.paths, spelling)) return false;
  if (rule.effect == Effect::Deny) return !names(rule.except_paths, spelling);
  return !names(rule.except_paths, access.resolved) && !names(rule.except_paths, access.as_written);
}

struct Verdict {
  bool allowed = false;
  Reason reason = Reason::NoGrant;
  const Rule* rule = nullptr;
};

Verdict slow_decide(const std::vector<Rule>& rules, const AccessView& access) {
  std::vector<Verb> verbs;
  for (std::uint32_t bit = 1; bit <= access.verbs.bits(); bit <<= 1) {
    if ((access.verbs.bits() & bit) != 0) verbs.push_back(static_cast<Verb>(bit));
  }
  const std::string_view spellings[] = {access.resolved, access.as_written};
  for (const bool protecting : {true, false}) {
    for (const Rule& rule : rules) {
      if (rule.effect != Effect::Deny || (rule.layer == Layer::Protected) != protecting) continue;
      for (const Verb verb : verbs) {
        for (const std::string_view spelling : spellings) {
          if (hits(rule, verb, access, spelling)) {
            return {false, protecting ? Reason::ProtectedState : Reason::DeniedByRule, &rule};
          }
        }
      }
    }
  }
  const auto first = [&](Effect effect, Verb verb, std::string_view spelling) -> const Rule* {
    for (const Rule& rule : rules) {
      if (rule.effect == effect && hits(rule, verb, access, spelling)) return &rule;
    }
    return nullptr;
  };
  bool allowed = !verbs.empty();
  bool with_consent = allowed;
  for (const Verb verb : verbs) {
    for (const std::string_view spelling : spellings) {
      const bool sound = !is_path(verb) || spelling.starts_with('/');
      const bool granted = sound && first(Effect::Allow, verb, spelling) != nullptr;
      allowed = allowed && granted;
      with_consent =
          with_consent && (granted || (sound && first(Effect::Optional, verb, spelling) != nullptr));
    }
  }
  if (allowed) return {true, Reason::Granted, first(Effect::Allow, verbs[0], access.resolved)};
  if (with_consent) return {false, Reason::NeedsConsent, nullptr};
  return {};
}

// ---- random rules and questions, from an alphabet small enough for hits ----

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(engine_); }
  template <std::size_t N>
  std::string_view pick(const std::string_view (&from)[N]) {
    return from[below(N)];
  }

  std::string path() {
    static constexpr std::string_view kNames[] = {"a",     "b",    "lib",  "liba", "x.key",
                                                  "y.key", ".env", ".git", "v1",   "v1.c"};
    if (below(30) == 0) return "/";
    std::string path;
    for (std::size_t depth = 1 + below(4); depth > 0; --depth) path += '/' + std::string(pick(kNames));
    return path;
  }
  std::string path_pattern() {
    static constexpr std::string_view kGlobs[] = {"*",   "?",    "*.key", ".e*", "lib*", "v?",
                                                  "*1*", "[ab]", "[!a]",  "*.c", "li*a", "**"};
    static constexpr std::string_view kFixed[] = {"**", "/**", "/", "**/**", "**/*", "/*/**", "/**/a/**"};
    if (below(20) == 0) return std::string(pick(kFixed));
    std::string pattern = path();
    if (pattern == "/") return pattern;
    const std::size_t shape = below(6);
    if (shape == 0) return pattern;
    if (shape == 1) return pattern + "/**";
    if (shape == 2) return "**" + pattern;
    if (shape == 3) return "**" + pattern + "/**";
    std::string out = below(4) == 0 ? "**" : "";
    for (const std::string& part : split(std::string_view(pattern).substr(1))) {
      out += '/' + (below(2) == 0 ? part : std::string(pick(kGlobs)));
    }
    return out;
  }
  std::string name() {
    static constexpr std::string_view kNames[] = {"LANG", "LC_ALL", "A_TOKEN", "@bus", "@bus-1", "X"};
    return std::string(pick(kNames));
  }
  std::string name_pattern() {
    static constexpr std::string_view kPatterns[] = {"*",  "**",     "L*", "LC_*", "*_TOKEN",
                                                     "@*", "@bus-?", "?",  "*N*"};
    return below(2) == 0 ? name() : std::string(pick(kPatterns));
  }
  std::array<std::uint8_t, 16> address() {
    const auto small = [&] { return static_cast<int>(below(3)); };
    return below(4) == 0
               ? v6(static_cast<std::uint16_t>(0x2000 + small()), static_cast<std::uint16_t>(small()))
               : v4(10, small(), 0, small());
  }
  NetPattern network() {
    static constexpr int kLengths[] = {0, 16, 96, 104, 112, 127, 128};
    const int port = static_cast<int>(below(4));
    std::optional<Transport> transport;
    if (below(3) == 0) transport = below(2) == 0 ? Transport::Tcp : Transport::Udp;
    return net(address(), kLengths[below(7)], below(2) == 0 ? port : 0, below(2) == 0 ? port : 65535,
               transport);
  }
  VerbSet verbs_among(std::initializer_list<Verb> among) {
    VerbSet verbs;
    for (const Verb verb : among) {
      if (below(2) == 0) verbs |= verb;
    }
    return verbs.empty() ? VerbSet(*among.begin()) : verbs;
  }
  VerbSet file_verbs() { return verbs_among({FileRead, FileList, FileWrite, ExecRun}); }

  Rule rule(bool may_deny = true) {
    Rule rule;
    const std::size_t effect = below(may_deny ? 8 : 6);
    rule.effect = effect < 5 ? Effect::Allow : effect < 6 ? Effect::Optional : Effect::Deny;
    if (below(3) == 0) rule.layer = Layer::Protected;
    const std::size_t family = below(6);
    const std::size_t excepts = below(3) == 0 ? below(12) : 0;  // some more than are scanned
    if (family < 4) {
      rule.verbs = file_verbs();
      for (std::size_t i = 1 + below(3); i > 0; --i) rule.paths.push_back(path_pattern());
      for (std::size_t i = 0; i < excepts; ++i) rule.except_paths.push_back(path_pattern());
    } else if (family == 4) {
      rule.verbs = verbs_among({NetConnect, NetBind});
      for (std::size_t i = 1 + below(3); i > 0; --i) rule.nets.push_back(network());
      for (std::size_t i = 0; i < excepts; ++i) rule.except_nets.push_back(network());
    } else {
      const bool sockets = below(2) == 0;
      rule.verbs = sockets ? VerbSet(UnixSocket) : VerbSet(EnvRead);
      rule.paths.push_back(sockets && below(2) == 0 ? path_pattern() : name_pattern());
      if (excepts > 0) rule.except_paths.push_back(name_pattern());
    }
    return rule;
  }

  std::vector<Rule> rules(std::size_t count) {
    std::vector<Rule> rules;
    for (std::size_t i = 0; i < count; ++i) {
      rules.push_back(rule());
      rules.back().id = "r" + std::to_string(i);
    }
    return rules;
  }

  // The view borrows the strings, which live here until the next question.
  AccessView question() {
    const std::size_t family = below(6);
    if (family == 4) {
      return ask_net(verbs_among({NetConnect, NetBind}), address(), static_cast<int>(below(5)),
                     below(2) == 0 ? Transport::Tcp : Transport::Udp);
    }
    if (family == 5) {
      const bool sockets = below(2) == 0;
      written_ = sockets && below(2) == 0 ? path() : name();
      return ask(sockets ? UnixSocket : EnvRead, written_);
    }
    written_ = below(40) == 0 ? "a/b" : path();
    resolved_ = below(2) == 0 ? written_ : path();
    return ask(file_verbs(), written_, resolved_);
  }

 private:
  std::mt19937 engine_;
  std::string written_;
  std::string resolved_;
};

std::string describe(const Ruleset& rules, const AccessView& access) {
  return rules.canonical_text() + "asked " + std::to_string(access.verbs.bits()) + " " +
         std::string(access.as_written) + " -> " + std::string(access.resolved);
}

TEST(DecideProperty, AgreesWithTheReference) {
  Random random(1);
  int allowed = 0;
  int denied = 0;
  int asked = 0;
  for (int round = 0; round < 3000; ++round) {
    const Ruleset rules = ruleset(random.rules(1 + random.below(14)));
    for (int i = 0; i < 30; ++i) {
      const AccessView question = random.question();
      const Decision decision = decide(rules, question);
      const Verdict expected = slow_decide(rules.rules(), question);
      ASSERT_EQ(decision.allowed(), expected.allowed) << describe(rules, question);
      ASSERT_EQ(reason_text(decision.reason()), reason_text(expected.reason)) << describe(rules, question);
      if (expected.reason != Reason::NeedsConsent) {
        ASSERT_EQ(rule_id(decision.rule()), rule_id(expected.rule)) << describe(rules, question);
      } else {
        ASSERT_NE(decision.rule(), nullptr) << describe(rules, question);
        ASSERT_EQ(decision.rule()->effect, Effect::Optional);
      }
      ASSERT_TRUE(question.verbs.contains(decision.verb())) << describe(rules, question);
      allowed += expected.allowed ? 1 : 0;
      denied += expected.reason == Reason::DeniedByRule || expected.reason == Reason::ProtectedState ? 1 : 0;
      asked += expected.reason == Reason::NeedsConsent ? 1 : 0;
    }
  }
  // The rows above prove something only where every outcome comes up often.
  EXPECT_GT(allowed, 5000);
  EXPECT_GT(denied, 5000);
  EXPECT_GT(asked, 500);
}

TEST(DecideProperty, NothingIsAllowedWithoutAnAllowRule) {
  Random random(2);
  for (int round = 0; round < 500; ++round) {
    std::vector<Rule> rules = random.rules(10);
    std::erase_if(rules, [](const Rule& rule) { return rule.effect == Effect::Allow; });
    const Ruleset without = ruleset(rules);
    for (int i = 0; i < 20; ++i) EXPECT_FALSE(decide(without, random.question()).allowed());
  }
}

TEST(DecideProperty, AnAllowNamesAnAllowRuleOfThatVerb) {
  Random random(3);
  for (int round = 0; round < 500; ++round) {
    const Ruleset rules = ruleset(random.rules(10));
    for (int i = 0; i < 20; ++i) {
      const AccessView question = random.question();
      const Decision decision = decide(rules, question);
      if (!decision.allowed()) continue;
      ASSERT_NE(decision.rule(), nullptr);
      EXPECT_EQ(decision.rule()->effect, Effect::Allow);
    }
  }
}

TEST(DecideProperty, TheOrderOfRulesDoesNotMatter) {
  Random random(4);
  for (int round = 0; round < 500; ++round) {
    std::vector<Rule> rules = random.rules(10);
    const Ruleset before = ruleset(rules);
    std::shuffle(rules.begin(), rules.end(), std::mt19937(static_cast<unsigned>(round)));
    const Ruleset after = ruleset(rules);
    EXPECT_EQ(before.canonical_text(), after.canonical_text());
    for (int i = 0; i < 20; ++i) {
      const AccessView question = random.question();
      EXPECT_EQ(decide(before, question).allowed(), decide(after, question).allowed());
      EXPECT_EQ(decide(before, question).reason(), decide(after, question).reason());
    }
  }
}

TEST(DecideProperty, ADenyNeverAllows) {
  Random random(5);
  for (int round = 0; round < 500; ++round) {
    std::vector<Rule> rules = random.rules(10);
    const Ruleset before = ruleset(rules);
    Rule more = random.rule();
    more.effect = Effect::Deny;
    more.id = "more";
    rules.insert(rules.begin() + static_cast<std::ptrdiff_t>(random.below(rules.size())), more);
    const Ruleset after = ruleset(rules);
    for (int i = 0; i < 20; ++i) {
      const AccessView question = random.question();
      if (!decide(before, question).allowed()) {
        EXPECT_FALSE(decide(after, question).allowed());
      }
    }
  }
}

// A directory below which nothing is denied can be renamed without moving anything out from under a denial.
TEST(DecideProperty, DenyBelowMissesNothing) {
  Random random(6);
  for (int round = 0; round < 2000; ++round) {
    const Ruleset rules = ruleset(random.rules(6));
    const std::string path = random.path();
    const VerbSet verbs = random.file_verbs();
    const std::string below = (path == "/" ? "" : path) + random.path();
    if (below == path + "/" || below == "/" || rules.deny_below(verbs, path) != nullptr) continue;
    for (const Rule& rule : rules.rules()) {
      if (rule.effect != Effect::Deny || !rule.verbs.intersects(verbs)) continue;
      for (const PathPattern& pattern : rule.paths) {
        EXPECT_FALSE(pattern.starts_with('/') && slow_glob(pattern, below)) << pattern << " below " << path;
      }
    }
  }
}

TEST(GlobProperty, AgreesWithTheReference) {
  Random random(7);
  int matched = 0;
  for (int round = 0; round < 200000; ++round) {
    const std::string pattern = random.below(5) == 0 ? random.name_pattern() : random.path_pattern();
    const std::string text = random.below(5) == 0 ? random.name() : random.path();
    ASSERT_EQ(glob_match(pattern, text), slow_glob(pattern, text)) << pattern << " on " << text;
    matched += slow_glob(pattern, text) ? 1 : 0;
  }
  EXPECT_GT(matched, 10000);
}

}  // namespace
}  // namespace secbox::checker
