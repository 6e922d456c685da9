#include "manifest/compile.h"

#include <algorithm>
#include <array>
#include <optional>

#include "manifest/preset.h"

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

// Names that a wildcard over variables never covers, unless it is a bare "*": secrets pass by their full name
// or not at all.
constexpr std::array kSecretNames{"AWS_*",        "AZURE_*",      "GOOGLE_APPLICATION_CREDENTIALS",
                                  "*TOKEN*",      "*SECRET*",     "*PASSWORD*",
                                  "*PASSWD*",     "*CREDENTIAL*", "*_KEY",
                                  "*API_KEY*",    "*_PAT",        "*_PASS",
                                  "SSH_*",        "GPG_*",        "KUBECONFIG",
                                  "DATABASE_URL", "*_DSN",        "NETRC"};

bool has_wildcard(std::string_view pattern) { return pattern.find_first_of("*?[") != std::string_view::npos; }
// What a link leads to is a name: its own wildcards mean themselves.
std::string literal(std::string_view path) {
  std::string pattern;
  for (const char c : path) {
    if (c == '*' || c == '?' || c == '[') {
      pattern += {'[', c, ']'};
    } else {
      pattern += c;
    }
  }
  return pattern;
}
bool is_everything(std::string_view pattern) {
  return pattern == "/**" || pattern == "**/**" || pattern == "**/*";
}

class Compiler {
 public:
  Compiler(const Manifest& manifest, const CompileOptions& options, Diagnostics& diagnostics)
      : manifest_(manifest),
        options_(options),
        diagnostics_(diagnostics),
        links_(options.links != nullptr ? *options.links : real_links_) {}

  std::vector<Rule> run() {
    for (const std::string& name : manifest_.presets) {
      int number = 0;
      for (const PresetGrant& grant : preset(name)) {
        Entry entry;
        entry.use = std::string(grant.use);
        entry.reason = std::string(grant.why);
        entry.source = {.file = "preset:" + name, .line = 0, .pointer = {}, .text = entry.use};
        add(entry, name + std::to_string(++number), Effect::Allow, Layer::Preset);
      }
    }
    int number = 0;
    const auto add_all = [&](const std::vector<Entry>& entries, Effect effect) {
      for (const Entry& entry : entries) add(entry, "m" + std::to_string(++number), effect, Layer::Manifest);
    };
    add_all(manifest_.required, Effect::Allow);
    add_all(manifest_.optional, Effect::Optional);
    add_all(manifest_.deny, Effect::Deny);
    const auto add_names = [&](const std::vector<Entry>& entries, Effect effect) {
      for (Entry entry : entries) {
        entry.use = "env:read:" + entry.use;
        add(entry, "m" + std::to_string(++number), effect, Layer::Manifest);
      }
    };
    add_names(manifest_.env_allow, Effect::Allow);
    add_names(manifest_.env_deny, Effect::Deny);
    number = 0;
    const auto add_flags = [&](const std::vector<std::string>& grants, const char* flag, Effect effect) {
      for (const std::string& grant : grants) {
        Entry entry;
        entry.use = grant;
        entry.source = {.file = flag, .line = 0, .pointer = {}, .text = grant};
        add(entry, "flag" + std::to_string(++number), effect, Layer::Flag);
      }
    };
    add_flags(options_.allow, "--allow", Effect::Allow);
    add_flags(options_.deny, "--deny", Effect::Deny);

    collect_changeable();
    for (Rule& rule : rules_) add_aliases(rule);
    lint();
    seal_programs();
    return std::move(rules_);
  }

 private:
  void problem(const Entry& entry, Severity severity, const std::string& code, const std::string& message,
               const std::string& hint) {
    diagnostics_.all.push_back(
        {severity, code, message, entry.source.file, entry.source.line, 0, entry.source.pointer, hint});
  }
  void problem(const Entry& entry, const GrammarError& error) {
    problem(entry, Severity::Error, error.code, error.message, error.hint);
  }

  struct Scope {
    GrantClass kind = GrantClass::File;
    VerbSet verbs;
    std::vector<PathPattern> paths;
    std::vector<checker::NetPattern> nets;
    std::string text;
  };

  std::optional<Scope> read_scope(const Entry& entry) {
    const auto grant = parse_grant(entry.use);
    if (!grant) {
      problem(entry, grant.error());
      return std::nullopt;
    }
    Scope scope{.kind = grant->kind, .verbs = grant->verbs, .paths = {}, .nets = {}, .text = grant->scope};
    if (grant->kind == GrantClass::Later) return std::nullopt;
    const auto text = expand_variables(grant->scope, options_.variables);
    if (!text) {
      problem(entry, text.error());
      return std::nullopt;
    }
    switch (grant->kind) {
      case GrantClass::Net: {
        std::string warning;
        auto nets = net_patterns(*text, warning);
        if (!nets) {
          problem(entry, nets.error());
          return std::nullopt;
        }
        if (!warning.empty())
          problem(entry, Severity::Warning, "SBX-V191", warning, "name the hosts that are meant");
        scope.nets = std::move(*nets);
        break;
      }
      case GrantClass::Env:
      case GrantClass::Signal:
        scope.paths = {*text};
        break;
      case GrantClass::Unix:
        if (*text == "*" || text->starts_with('@')) {
          scope.paths = {*text};
          break;
        }
        [[fallthrough]];
      default: {
        auto paths = path_patterns(*text);
        if (!paths) {
          problem(entry, paths.error());
          return std::nullopt;
        }
        scope.paths = std::move(*paths);
      }
    }
    return scope;
  }

  void add(const Entry& entry, std::string id, Effect effect, Layer layer) {
    auto scope = read_scope(entry);
    if (!scope) return;
    Rule rule;
    rule.id = std::move(id);
    rule.effect = effect;
    rule.layer = layer;
    rule.verbs = scope->verbs;
    rule.paths = std::move(scope->paths);
    rule.nets = std::move(scope->nets);
    rule.source = entry.source;
    rule.reason = entry.reason;
    if (scope->kind == GrantClass::Net && rule.nets.empty()) return;  // warned already: matches nothing
    for (const Entry& except : entry.except) {
      auto hole = read_scope(except);
      if (!hole) continue;
      if (hole->kind != scope->kind) {
        problem(except, Severity::Error, "SBX-V117",
                "\"" + except.use + "\" is no exception of \"" + entry.use + "\"",
                "an exception is of the same class");
        continue;
      }
      rule.except_paths.insert(rule.except_paths.end(), hole->paths.begin(), hole->paths.end());
      for (checker::NetPattern net : hole->nets) {
        net.transport.reset();  // "not the metadata service" means by no protocol
        rule.except_nets.push_back(std::move(net));
      }
    }
    if (scope->kind == GrantClass::Env && effect != Effect::Deny && rule.paths.front() != "*" &&
        has_wildcard(rule.paths.front())) {
      rule.except_paths.insert(rule.except_paths.end(), kSecretNames.begin(), kSecretNames.end());
    }
    // The one thing that the grammar lets pass and the rules do not: a '[' that is never closed.
    const auto has_class = [](const PathPattern& path) { return path.find('[') != std::string::npos; };
    if (std::any_of(rule.paths.begin(), rule.paths.end(), has_class) ||
        std::any_of(rule.except_paths.begin(), rule.except_paths.end(), has_class)) {
      if (const auto valid = checker::Ruleset::make({rule}); !valid) {
        problem(entry, Severity::Error, "SBX-V129", valid.error().message, "a literal '[' is written [[]");
        return;
      }
    }
    rules_.push_back(std::move(rule));
  }

  // Where the plugin may make or change names.
  void collect_changeable() {
    for (const Rule& rule : rules_) {
      if (rule.effect == Effect::Deny || !rule.verbs.intersects(kChanges)) continue;
      for (const PathPattern& path : rule.paths) changeable_.push_back(path);
    }
  }

  bool may_be_planted(const std::string& link) const {
    return std::any_of(changeable_.begin(), changeable_.end(), [&](const PathPattern& pattern) {
      return !is_everything(pattern) && checker::glob_match(pattern, link);
    });
  }

  void add_aliases(Rule& rule) {
    if (!rule.verbs.intersects(checker::kFileVerbs | Verb::ExecRun | Verb::UnixSocket)) return;
    alias(rule, rule.paths, rule.effect != Effect::Deny);
    alias(rule, rule.except_paths, false);
  }

  void alias(const Rule& rule, std::vector<PathPattern>& patterns, bool widens) {
    const std::size_t count = patterns.size();
    for (std::size_t i = 0; i < count; ++i) {
      const PathPattern pattern = patterns[i];
      if (!pattern.starts_with('/')) continue;
      const std::string prefix = checker::literal_prefix(pattern);
      if (!under_own_proc(prefix)) {
        const ResolvedPrefix resolved = resolver_.resolve(prefix);
        if (resolved.path != prefix) {
          const auto planted = std::find_if(resolved.hops.begin(), resolved.hops.end(),
                                            [&](const std::string& hop) { return may_be_planted(hop); });
          if (widens && planted != resolved.hops.end()) {
            diagnostics_.all.push_back({Severity::Warning, "SBX-V203",
                                        "\"" + rule.source.text + "\" goes through the link " + *planted +
                                            ", which the plugin may change: it is not followed",
                                        rule.source.file, rule.source.line, 0, rule.source.pointer,
                                        "name the place itself: " + resolved.path});
          } else {
            const std::string rest = prefix == "/" ? pattern : pattern.substr(prefix.size());
            push_unique(patterns, (resolved.path == "/" ? "" : literal(resolved.path)) + rest);
          }
        }
      }
    }
    // Merged /usr: "/bin/x" is "/usr/bin/x" by another name, and programs use both.
    const std::size_t resolved_count = patterns.size();
    for (std::size_t i = 0; i < resolved_count; ++i) {
      const PathPattern pattern = patterns[i];
      if (!pattern.starts_with("/usr/")) continue;
      for (const std::string& top : merged()) {
        if (pattern == "/usr/**") push_unique(patterns, top + "/**");
        if (pattern.starts_with("/usr" + top + "/") || pattern == "/usr" + top)
          push_unique(patterns, pattern.substr(4));
      }
    }
  }

  // "/proc/self" is another process's for each who asks: never resolved here.
  static bool under_own_proc(std::string_view path) {
    return path.starts_with("/proc/self") || path.starts_with("/proc/thread-self") ||
           path.starts_with("/dev/fd") || path.starts_with("/dev/std");
  }

  const std::vector<std::string>& merged() {
    if (!merged_) {
      merged_.emplace();
      for (const char* name : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
        const auto text = links_.read_link(name);
        if (text && (*text == "usr" + std::string(name) || *text == "/usr" + std::string(name)))
          merged_->push_back(name);
      }
    }
    return *merged_;
  }

  static void push_unique(std::vector<PathPattern>& patterns, PathPattern pattern) {
    if (std::find(patterns.begin(), patterns.end(), pattern) == patterns.end())
      patterns.push_back(std::move(pattern));
  }

  // True where some path is surely matched by both.
  static bool overlap(const PathPattern& a, const PathPattern& b) {
    if (!has_wildcard(a)) return checker::glob_match(b, a);
    if (!has_wildcard(b)) return checker::glob_match(a, b);
    const auto subtree_of = [](const PathPattern& pattern) {
      std::string prefix = checker::literal_prefix(pattern);
      if (pattern != prefix + "/**") prefix.clear();
      return prefix;
    };
    const std::string tree_a = subtree_of(a);
    const std::string tree_b = subtree_of(b);
    const auto inside = [](const std::string& path, const std::string& tree) {
      return !tree.empty() && (path == tree || path.starts_with(tree + "/"));
    };
    return inside(checker::literal_prefix(b), tree_a) || inside(checker::literal_prefix(a), tree_b);
  }

  bool denied(VerbSet verbs, const PathPattern& pattern) const {
    return std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
      return rule.effect == Effect::Deny && rule.verbs.contains(verbs) && rule.except_paths.empty() &&
             std::any_of(rule.paths.begin(), rule.paths.end(), [&](const PathPattern& deny) {
               return deny == pattern || (!has_wildcard(pattern) && checker::glob_match(deny, pattern));
             });
    });
  }

  // What may be written and executed is code of the plugin's own choosing.
  void lint() {
    std::size_t budget = 4'000'000;
    for (const Rule& runs : rules_) {
      if (runs.effect == Effect::Deny || !runs.verbs.intersects(kRuns)) continue;
      for (const Rule& writes : rules_) {
        if (writes.effect == Effect::Deny || !writes.verbs.intersects(Verb::FileWrite | Verb::FileCreate))
          continue;
        if (runs.layer == Layer::Preset && writes.layer == Layer::Preset) continue;
        if (budget-- == 0) return;
        if (const auto both = common(runs, writes)) {
          report_overlap(runs, writes, *both);
          if (++overlaps_ >= 20) return;
        }
      }
    }
  }

  std::optional<std::string> common(const Rule& runs, const Rule& writes) const {
    for (const PathPattern& a : runs.paths) {
      for (const PathPattern& b : writes.paths) {
        if (!overlap(a, b)) continue;
        const PathPattern& narrow = has_wildcard(a) ? b : a;
        const auto excepted = [&](const Rule& rule) {
          return std::any_of(rule.except_paths.begin(), rule.except_paths.end(),
                             [&](const PathPattern& hole) {
                               return hole == narrow || hole == a || hole == b ||
                                      (!has_wildcard(narrow) && checker::glob_match(hole, narrow));
                             });
        };
        if (excepted(runs) || excepted(writes)) continue;
        if (denied(Verb::FileWrite | Verb::FileCreate, a) || denied(Verb::ExecRun, b)) continue;
        return is_everything(a) || is_everything(b) ? std::string("/**") : narrow;
      }
    }
    return std::nullopt;
  }

  void report_overlap(const Rule& runs, const Rule& writes, const std::string& what) {
    const bool wide = what == "/**";
    if (wide && warned_wide_) return;
    warned_wide_ = warned_wide_ || wide;
    const Rule& later = writes.layer == Layer::Preset ? runs : writes;
    diagnostics_.all.push_back({wide ? Severity::Warning : Severity::Error, wide ? "SBX-V202" : "SBX-V201",
                                wide ? "the grants are so wide that what is written can be executed"
                                     : "\"" + what + "\" may be both written and executed (" +
                                           writes.source.text + " and " + runs.source.text + ")",
                                later.source.file, later.source.line, 0, later.source.pointer,
                                wide ? "for observing only" : "take one of the two away, or use \"except\""});
  }

  void seal_programs() {
    int number = 0;
    std::vector<Rule> sealed;
    for (const Rule& rule : rules_) {
      if (rule.effect != Effect::Allow || !rule.verbs.contains(Verb::ExecRun)) continue;
      Rule seal;
      for (const PathPattern& pattern : rule.paths) {
        if (pattern.starts_with('/') && checker::literal_prefix(pattern) != "/")
          seal.paths.push_back(pattern);
      }
      if (seal.paths.empty()) continue;
      seal.id = "implied" + std::to_string(++number);
      seal.effect = Effect::Deny;
      seal.layer = Layer::Implied;
      seal.verbs = kChanges;
      seal.except_paths = rule.except_paths;
      seal.source = rule.source;
      seal.reason = "what may run may not be changed";
      sealed.push_back(std::move(seal));
    }
    std::move(sealed.begin(), sealed.end(), std::back_inserter(rules_));
  }

  const Manifest& manifest_;
  const CompileOptions& options_;
  Diagnostics& diagnostics_;
  FileSystemLinks real_links_;
  LinkReader& links_;
  LinkResolver resolver_{links_};
  std::vector<Rule> rules_;
  std::vector<PathPattern> changeable_;
  std::optional<std::vector<std::string>> merged_;
  int overlaps_ = 0;
  bool warned_wide_ = false;
};

}  // namespace

std::vector<Rule> compile(const Manifest& manifest, const CompileOptions& options, Diagnostics& diagnostics) {
  return Compiler(manifest, options, diagnostics).run();
}

}  // namespace secbox::manifest
