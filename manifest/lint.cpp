#include "manifest/lint.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "manifest/patterns.h"

namespace secbox::manifest {

namespace {

using checker::Effect;
using checker::Layer;
using checker::PathPattern;
using checker::Rule;
using checker::Verb;
using checker::VerbSet;

constexpr VerbSet kChanges = Verb::FileWrite | Verb::FileCreate | Verb::FileDelete;
constexpr VerbSet kRuns = Verb::ExecRun | Verb::FileLoad;
constexpr Verb kJudged[] = {Verb::FileWrite, Verb::FileCreate, Verb::FileDelete, Verb::ExecRun,
                            Verb::FileLoad};
constexpr int kMostReports = 20;

struct Grant {
  const Rule* rule = nullptr;
  std::string_view pattern;
};

// The grants that change files, by where their patterns begin.
struct Changes {
  // By the literal part, with a '/' behind it, so that a range of keys is one directory and all below it.
  std::multimap<std::string, Grant, std::less<>> by_prefix;
  std::unordered_map<std::string_view, std::vector<Grant>> literals, subtrees, globs;
  std::vector<Grant> everything;
  std::vector<std::string> prefixes;  // what the views of `globs` look at
};

class OverlapLint {
 public:
  OverlapLint(const std::vector<Rule>& rules, const std::vector<int>& columns, Diagnostics& diagnostics)
      : rules_(rules), columns_(columns), diagnostics_(diagnostics) {}

  void run() {
    // A preset agrees with itself.
    if (std::ranges::all_of(rules_, [](const Rule& rule) {
          return rule.layer == Layer::Preset || rule.effect == Effect::Deny ||
                 !rule.verbs.intersects(kChanges | kRuns);
        }))
      return;
    collect();
    for (const Rule& rule : rules_) {
      if (rule.effect == Effect::Deny || !rule.verbs.intersects(kRuns)) continue;
      for (const PathPattern& pattern : rule.paths) {
        look_at({&rule, pattern});
        if (stopped_) return;
      }
    }
  }

 private:
  void collect() {
    std::size_t count = 0;
    for (const Rule& rule : rules_) {
      if (rule.effect == Effect::Deny) {
        if (rule.verbs.intersects(kChanges | kRuns)) denies_.push_back(&rule);
      } else if (rule.verbs.intersects(kChanges)) {
        count += rule.paths.size();
      }
    }
    changes_.prefixes.reserve(count);
    for (const Rule& rule : rules_) {
      if (rule.effect == Effect::Deny || !rule.verbs.intersects(kChanges)) continue;
      for (const PathPattern& pattern : rule.paths) add_change({&rule, pattern});
    }
  }

  void add_change(const Grant& grant) {
    if (is_everything(grant.pattern)) {
      changes_.everything.push_back(grant);
      return;
    }
    const std::string& prefix = changes_.prefixes.emplace_back(checker::literal_prefix(grant.pattern));
    changes_.by_prefix.emplace(prefix == "/" ? prefix : prefix + "/", grant);
    if (!has_wildcard(grant.pattern)) {
      changes_.literals[grant.pattern].push_back(grant);
    } else if (const std::string_view root = subtree_root(grant.pattern); !root.empty()) {
      changes_.subtrees[root].push_back(grant);
    } else {
      changes_.globs[prefix].push_back(grant);
    }
  }

  void look_at(const Grant& runs) {
    if (is_everything(runs.pattern)) {
      for (const auto& [prefix, change] : changes_.by_prefix) {
        if (step() && judge(runs, change, change.pattern)) return;
      }
      for (const Grant& change : changes_.everything) {
        if (step() && judge(runs, change, runs.pattern)) return;
      }
      return;
    }
    for (const Grant& change : changes_.everything) {
      if (step()) (void)judge(runs, change, runs.pattern);
    }
    const std::string prefix = checker::literal_prefix(runs.pattern);
    const bool is_literal = !has_wildcard(runs.pattern);
    for (std::string_view above = prefix; !stopped_; above = parent_of(above)) {
      for (const Grant& change : in(changes_.subtrees, above)) {
        if (step()) (void)judge(runs, change, runs.pattern);
      }
      for (const Grant& change : in(changes_.globs, above)) {
        if (!step()) break;
        if (const auto both = narrower(change.pattern, runs.pattern); !both.empty())
          (void)judge(runs, change, both);
      }
      if (above == "/") break;
    }
    if (is_literal) {
      for (const Grant& change : in(changes_.literals, runs.pattern)) {
        if (step()) (void)judge(runs, change, runs.pattern);
      }
      return;
    }
    const bool is_subtree = !subtree_root(runs.pattern).empty();
    const std::string below = prefix == "/" ? prefix : prefix + "/";
    for (auto at = changes_.by_prefix.lower_bound(below);
         at != changes_.by_prefix.end() && at->first.starts_with(below) && !stopped_; ++at) {
      const Grant& change = at->second;
      if (!is_subtree && at->first == below && has_wildcard(change.pattern)) continue;  // seen above
      if (!step()) break;
      if (is_subtree && subtree_root(change.pattern) == subtree_root(runs.pattern)) continue;  // seen above
      const auto both = is_subtree ? change.pattern : narrower(runs.pattern, change.pattern);
      if (!both.empty()) (void)judge(runs, change, both);
    }
  }

  // The one of the two that the other surely meets, or "". A pattern without classes matches its own text, so
  // that what matches this text has that in common with it.
  static std::string_view narrower(std::string_view a, std::string_view b) {
    const auto is_own_match = [](std::string_view p) { return p.find('[') == std::string_view::npos; };
    if (a == b || (is_own_match(b) && checker::glob_match(a, b))) return b;
    if (is_own_match(a) && checker::glob_match(b, a)) return a;
    return {};
  }

  static std::string_view parent_of(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == 0 || slash == std::string_view::npos ? "/" : path.substr(0, slash);
  }
  template <typename Map>
  static const std::vector<Grant>& in(const Map& map, std::string_view key) {
    static const std::vector<Grant> none;
    const auto found = map.find(key);
    return found == map.end() ? none : found->second;
  }

  // Manifests with thousands of wildcards in one directory would take minutes. To stop in silence would let
  // a manifest hide an overlap behind them.
  bool step() {
    if (stopped_) return false;
    if (++steps_ < 1'000'000) return true;
    stopped_ = true;
    diagnostics_.all.push_back({Severity::Error, "SBX-V205",
                                "so many patterns meet that overlaps cannot be looked for", "", 0, 0, "",
                                "grant directories as a whole (/x/**) instead of many patterns in one"});
    return false;
  }

  // `both` stands for what the two have in common. True where it was reported.
  bool judge(const Grant& runs, const Grant& change, std::string_view both) {
    if (runs.rule->layer == Layer::Preset && change.rule->layer == Layer::Preset) return false;
    const bool wide = is_everything(runs.pattern) || is_everything(change.pattern);
    const bool all_verbs = is_one_grant_of_all(*runs.rule, *change.rule);
    if (wide && warned_wide_) return true;
    if (is_excepted(*runs.rule, both) || is_excepted(*change.rule, both)) return false;
    if (granted_verbs(*runs.rule, kRuns, both).empty()) return false;
    if (granted_verbs(*change.rule, kChanges, both).empty()) return false;
    if (wide) {
      warn_wide(runs, change);
    } else {
      report(runs, change, both, all_verbs ? Severity::Warning : Severity::Error);
    }
    return true;
  }

  // "file:*:/x/**" overlaps with itself: said in one word, and not by oversight.
  static bool is_one_grant_of_all(const Rule& runs, const Rule& change) {
    const checker::Source& a = runs.source;
    const checker::Source& b = change.source;
    if (runs.layer != change.layer || a.file != b.file || a.pointer != b.pointer || a.text != b.text)
      return false;
    std::string_view verbs = std::string_view(a.text).substr(a.text.find(':') + 1);
    verbs = verbs.substr(0, verbs.find(':'));
    return verbs == "*" || verbs.starts_with("*|") || verbs.ends_with("|*") ||
           verbs.find("|*|") != std::string_view::npos;
  }

  static bool is_excepted(const Rule& rule, std::string_view both) {
    return std::any_of(rule.except_paths.begin(), rule.except_paths.end(),
                       [&](const PathPattern& hole) { return covers(hole, both); });
  }

  // What is left of the rule's verbs where denials have their way.
  VerbSet granted_verbs(const Rule& rule, VerbSet of_interest, std::string_view both) {
    VerbSet verbs;
    for (const Verb verb : kJudged) {
      if (of_interest.contains(verb) && rule.verbs.contains(verb)) verbs |= verb;
    }
    for (const Rule* deny : denies_) {
      if (verbs.empty() || !step()) break;
      if (!deny->verbs.intersects(verbs)) continue;
      const bool whole = std::none_of(
          deny->except_paths.begin(), deny->except_paths.end(),
          [&](const PathPattern& hole) { return has_wildcard(both) || checker::glob_match(hole, both); });
      if (whole && std::any_of(deny->paths.begin(), deny->paths.end(),
                               [&](const PathPattern& pattern) { return covers(pattern, both); })) {
        verbs = verbs - deny->verbs;
      }
    }
    return verbs;
  }

  void add(const Grant& runs, const Grant& change, Severity severity, const char* code, std::string message,
           const char* hint) {
    const Rule& at = change.rule->layer == Layer::Preset ? *runs.rule : *change.rule;
    const int column = columns_[static_cast<std::size_t>(&at - rules_.data())];
    diagnostics_.all.push_back({severity, code, std::move(message), at.source.file, at.source.line, column,
                                at.source.pointer, hint});
  }

  void warn_wide(const Grant& runs, const Grant& change) {
    warned_wide_ = true;
    add(runs, change, Severity::Warning, "SBX-V202",
        "the grants are so wide that what is written can be executed", "for observing only");
  }

  void report(const Grant& runs, const Grant& change, std::string_view both, Severity severity) {
    // Aliases and alternatives of one pair of grants are one problem, and so is all that a preset grants.
    const auto origin = [](const Rule* rule) { return rule->layer == Layer::Preset ? nullptr : rule; };
    if (!reported_.emplace(origin(runs.rule), origin(change.rule)).second) return;
    if (severity == Severity::Warning) {
      add(runs, change, severity, "SBX-V202",
          "\"" + change.rule->source.text + "\" lets what is written be loaded as code",
          "name the verbs that are needed, without load");
    } else {
      add(runs, change, severity, "SBX-V201",
          "\"" + std::string(both) + "\" may be both written and executed (" + change.rule->source.text +
              " and " + runs.rule->source.text + ")",
          "take one of the two away, or use \"except\"");
    }
    stopped_ = stopped_ || ++reports_ >= kMostReports;
  }

  const std::vector<Rule>& rules_;
  const std::vector<int>& columns_;
  Diagnostics& diagnostics_;
  Changes changes_;
  std::vector<const Rule*> denies_;
  std::set<std::pair<const Rule*, const Rule*>> reported_;
  std::size_t steps_ = 0;
  int reports_ = 0;
  bool warned_wide_ = false;
  bool stopped_ = false;
};

bool net_covers(const checker::NetPattern& wide, const checker::NetPattern& narrow) {
  if (wide.transport && wide.transport != narrow.transport) return false;
  if (wide.port_low > narrow.port_low || wide.port_high < narrow.port_high) return false;
  if (!wide.host.empty() || !narrow.host.empty() || wide.prefix_bits > narrow.prefix_bits) return false;
  for (int bit = 0; bit < wide.prefix_bits; ++bit) {
    const auto byte = static_cast<std::size_t>(bit / 8);
    if (((wide.network[byte] ^ narrow.network[byte]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

bool denies_all_of(const Rule& wide, const Rule& narrow) {
  // What is implied nobody wrote down.
  if (wide.effect != Effect::Deny || wide.layer == Layer::Implied) return false;
  if (!wide.verbs.contains(narrow.verbs)) return false;
  if (!wide.except_paths.empty() || !wide.except_nets.empty()) return false;
  const auto path_is_denied = [&](const PathPattern& pattern) {
    return std::ranges::any_of(wide.paths, [&](const PathPattern& other) { return covers(other, pattern); });
  };
  const auto net_is_denied = [&](const checker::NetPattern& pattern) {
    return std::ranges::any_of(wide.nets,
                               [&](const checker::NetPattern& other) { return net_covers(other, pattern); });
  };
  return std::ranges::all_of(narrow.paths, path_is_denied) && std::ranges::all_of(narrow.nets, net_is_denied);
}

}  // namespace

void lint_denials(const std::vector<Rule>& denials, const std::vector<int>& columns,
                  const std::vector<Rule>& rules, Diagnostics& diagnostics) {
  for (std::size_t i = 0; i < denials.size(); ++i) {
    const auto wide =
        std::ranges::find_if(rules, [&](const Rule& rule) { return denies_all_of(rule, denials[i]); });
    if (wide == rules.end()) continue;
    const checker::Source& at = denials[i].source;
    diagnostics.all.push_back(
        {Severity::Warning, "SBX-V207",
         "\"" + at.text + "\" is denied to the whole plugin already, by \"" + wide->source.text + "\"",
         at.file, at.line, columns[i], at.pointer, "the second denial may go"});
  }
}

void lint_overlaps(const std::vector<Rule>& rules, const std::vector<int>& columns,
                   Diagnostics& diagnostics) {
  OverlapLint(rules, columns, diagnostics).run();
}

}  // namespace secbox::manifest
