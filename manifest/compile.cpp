#include "manifest/compile.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "manifest/lint.h"
#include "manifest/patterns.h"
#include "manifest/preset.h"

namespace secbox::manifest {

namespace {

using checker::Effect;
using checker::Layer;
using checker::ModuleRule;
using checker::PathPattern;
using checker::Rule;
using checker::Verb;
using checker::VerbSet;

constexpr std::size_t kLongestPattern = 4096;  // PATH_MAX: nothing longer can match
constexpr VerbSet kChanges = Verb::FileWrite | Verb::FileCreate | Verb::FileDelete;
// Names that a wildcard over variables never covers, unless it is a bare "*": secrets pass by their full name
// or not at all.
constexpr std::array kSecretNames{"AWS_*",        "AZURE_*",       "GOOGLE_APPLICATION_CREDENTIALS",
                                  "*TOKEN*",      "*SECRET*",      "*PASSWORD*",
                                  "*PASSWD*",     "*PASSPHRASE*",  "*CREDENTIAL*",
                                  "*_KEY",        "*APIKEY*",      "*API_KEY*",
                                  "*ACCESSKEY*",  "*PRIVATE_KEY*", "*PRIVATEKEY*",
                                  "*_SK",         "*_PAT",         "*_PASS",
                                  "*_PWD",        "*_PW",          "*_AUTH",
                                  "SSH_*",        "GPG_*",         "KUBECONFIG",
                                  "DATABASE_URL", "*_DSN",         "NETRC",
                                  "PGPASSFILE"};

// The same names in either case: patterns know no other way to say it.
std::vector<PathPattern> secret_names() {
  std::vector<PathPattern> patterns;
  for (const std::string_view name : kSecretNames) {
    PathPattern& pattern = patterns.emplace_back();
    for (const char c : name) {
      if (c >= 'A' && c <= 'Z') {
        pattern += {'[', c, static_cast<char>(c - 'A' + 'a'), ']'};
      } else {
        pattern += c;
      }
    }
  }
  return patterns;
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

    collect_changeable(rules_);
    follow_links();
    lint_overlaps(rules_, columns_, diagnostics_);
    seal_programs();
    return std::move(rules_);
  }

  std::vector<ModuleRule> run_modules(const std::vector<Rule>& rules) {
    collect_changeable(rules);
    std::vector<ModuleRule> modules;
    for (std::size_t i = 0; i < manifest_.modules.size(); ++i) {
      const ModuleEntry& entry = manifest_.modules[i];
      ModuleRule module;
      module.text = entry.match.use;
      module.match = read_match(entry.match);
      rules_.clear();
      columns_.clear();
      for (std::size_t j = 0; j < entry.deny.size(); ++j)
        add_denial(entry.deny[j], "modules[" + std::to_string(i) + "].deny[" + std::to_string(j) + "]");
      follow_links();
      lint_denials(rules_, columns_, rules, diagnostics_);
      module.deny = std::move(rules_);
      if (!module.match.empty()) modules.push_back(std::move(module));
    }
    return modules;
  }

 private:
  void problem(const Entry& entry, Severity severity, const std::string& code, const std::string& message,
               const std::string& hint) {
    diagnostics_.all.push_back({severity, code, message, entry.source.file, entry.source.line, entry.column,
                                entry.source.pointer, hint});
  }
  void problem(const Entry& entry, const GrammarError& error) {
    problem(entry, Severity::Error, error.code, error.message, error.hint);
  }

  // Of a module's path; empty after an error.
  std::vector<std::string> read_match(const Entry& match) {
    std::vector<std::string> stand_ins;
    auto patterns = module_patterns(match.use, options_.variables, stand_ins);
    if (!patterns) {
      problem(match, patterns.error());
      return {};
    }
    warn_of_stand_ins(match, stand_ins);
    // The kernel tells the name that the file has, not the one that it was opened by.
    for (std::size_t i = 0, count = patterns->size(); i < count; ++i) {
      const std::string pattern = (*patterns)[i];
      if (!pattern.starts_with('/')) continue;
      const std::string prefix = checker::literal_prefix(pattern);
      const std::string& resolved = resolver_.resolve(prefix).path;
      if (resolved != prefix) push_unique(*patterns, behind(resolved, pattern, prefix));
    }
    std::erase_if(*patterns, [](const std::string& pattern) { return pattern.size() > kLongestPattern; });
    return std::move(*patterns);
  }

  void add_denial(const Entry& entry, const std::string& id) {
    const std::size_t before = rules_.size();
    add(entry, id, Effect::Deny, Layer::Manifest);
    for (std::size_t i = before; i < rules_.size(); ++i) {
      for (const auto* nets : {&rules_[i].nets, &rules_[i].except_nets}) {
        const auto named = std::ranges::find_if(*nets, [](const auto& net) { return !net.host.empty(); });
        if (named == nets->end()) continue;
        problem(entry, Severity::Error, "SBX-V141",
                "\"" + entry.use + "\" goes by the name of a host, \"" + named->host +
                    "\": rules by module know addresses alone",
                "write addresses (10.0.0.0/8), a group (@private), or *");
        return;
      }
    }
  }

  void warn_of_stand_ins(const Entry& entry, const std::vector<std::string>& stand_ins) {
    for (const std::string& name : stand_ins)
      problem(entry, Severity::Warning, "SBX-V122", "${" + name + "} has a value only where a host gives one",
              "a run without such a host is refused");
  }

  struct Reading {
    Grant grant;
    Scope scope;
  };
  std::optional<Reading> read(const Entry& entry) {
    const auto grant = parse_grant(entry.use);
    if (!grant) {
      problem(entry, grant.error());
      return std::nullopt;
    }
    auto scope = read_scope(*grant, options_.variables);
    if (!scope) {
      problem(entry, scope.error());
      return std::nullopt;
    }
    if (!scope->warning.empty())
      problem(entry, Severity::Warning, "SBX-V191", scope->warning, "name the hosts that are meant");
    warn_of_stand_ins(entry, scope->stand_ins);
    return Reading{*grant, std::move(*scope)};
  }

  // An exception of some of the verbs alone needs a rule of its own for those: an exception of a rule counts
  // for all its verbs, and "all but writing here" must not let go of reading, nor a denial of more than was
  // said.
  void add(const Entry& entry, const std::string& id, Effect effect, Layer layer) {
    auto reading = read(entry);
    if (!reading) return;
    const Grant& grant = reading->grant;
    // In a manifest the reader has said so.
    if (!grant.not_enforced.empty() && layer == Layer::Flag)
      problem(entry, Severity::Warning, "SBX-V190",
              "\"" + grant.not_enforced + "\" is not enforced by this version: it grants nothing",
              "file, net, exec, env, ipc and signal are");
    if (grant.kind == GrantClass::Later) return;
    Rule rule;
    rule.id = id;
    rule.effect = effect;
    rule.layer = layer;
    rule.verbs = grant.verbs;
    rule.paths = std::move(reading->scope.paths);
    rule.nets = std::move(reading->scope.nets);
    rule.source = entry.source;
    rule.reason = entry.reason;

    std::vector<Hole> holes;
    for (const Entry& except : entry.except) {
      auto hole = read(except);
      if (!hole) continue;
      if (const auto fits = check_exception(grant, hole->grant); !fits) {
        problem(except, fits.error());
        continue;
      }
      // "But not the metadata service" means by no protocol. An exception of a denial lets something pass:
      // there it is no more than what was written.
      if (effect != Effect::Deny && !hole->scope.names_transport) {
        for (checker::NetPattern& net : hole->scope.nets) net.transport.reset();
      }
      VerbSet verbs = hole->grant.verbs;
      if (verbs.contains(Verb::FileRead)) verbs |= Verb::FileList;
      holes.push_back({verbs, std::move(hole->scope)});
    }
    if (grant.kind == GrantClass::Net && rule.nets.empty()) return;  // warned already: matches nothing
    if (grant.kind == GrantClass::Env && effect != Effect::Deny && rule.paths.front() != "*" &&
        has_wildcard(rule.paths.front())) {
      static const std::vector<PathPattern> secrets = secret_names();
      rule.except_paths = secrets;
      // As text: "AWS_*" matches "AWS_S*", and with it every name that this stands for.
      if (std::ranges::any_of(secrets, [&](const PathPattern& secret) {
            return checker::glob_match(secret, rule.paths.front());
          }))
        problem(entry, Severity::Warning, "SBX-V192",
                "\"" + entry.source.text + "\" is about secrets alone, which wildcards never cover",
                "name each variable in full");
    }
    add_parts(std::move(rule), holes, entry.column);
  }

  struct Hole {
    VerbSet verbs;
    Scope scope;
  };

  void add_parts(Rule rule, const std::vector<Hole>& holes, int column) {
    const std::string id = rule.id;
    VerbSet left = rule.verbs;
    for (int part = 1; !left.empty(); ++part) {
      // The verbs that have the same exceptions as the first one left.
      VerbSet together;
      Rule next = rule;
      const Verb first = lowest(left);
      for (VerbSet rest = left; !rest.empty(); rest = rest - VerbSet(lowest(rest))) {
        const Verb verb = lowest(rest);
        if (std::ranges::all_of(holes, [&](const Hole& hole) {
              return hole.verbs.contains(verb) == hole.verbs.contains(first);
            }))
          together |= verb;
      }
      for (const Hole& hole : holes) {
        if (!hole.verbs.contains(first)) continue;
        next.except_paths.insert(next.except_paths.end(), hole.scope.paths.begin(), hole.scope.paths.end());
        next.except_nets.insert(next.except_nets.end(), hole.scope.nets.begin(), hole.scope.nets.end());
      }
      next.verbs = together;
      if (part > 1) next.id = id + "." + std::to_string(part);
      rules_.push_back(std::move(next));
      columns_.push_back(column);
      left = left - together;
    }
  }

  static Verb lowest(VerbSet verbs) { return static_cast<Verb>(verbs.bits() & (~verbs.bits() + 1U)); }

  // Where the plugin may make or change names, under every name that such a place has.
  void collect_changeable(const std::vector<Rule>& rules) {
    for (const Rule& rule : rules) {
      if (rule.effect == Effect::Deny) continue;
      for (const PathPattern& pattern : rule.paths) {
        if (is_everything(pattern) || pattern == "*") {  // "*": ipc:unix
          if (rule.except_paths.empty() && rule.effect == Effect::Allow) granted_everywhere_ |= rule.verbs;
          changes_everything_ = changes_everything_ || rule.verbs.intersects(kChanges);
          continue;
        }
        if (!rule.verbs.intersects(kChanges)) continue;
        changeable_.push_back(pattern);
        if (!pattern.starts_with('/')) continue;
        const std::string prefix = checker::literal_prefix(pattern);
        const std::string resolved = resolver_.resolve(prefix).path;
        if (resolved != prefix) changeable_.push_back(behind(resolved, pattern, prefix));
      }
    }
  }

  // `pattern` with the literal part that it begins with exchanged for what that leads to.
  static PathPattern behind(const std::string& resolved, const PathPattern& pattern,
                            const std::string& prefix) {
    const std::string rest = prefix == "/" ? pattern : pattern.substr(prefix.size());
    if (resolved == "/") return rest.empty() ? "/" : rest;
    return literal(resolved) + rest;
  }

  // The link itself, or a directory on the way to it: one that was put together elsewhere can be renamed into
  // its place.
  bool may_be_planted(const std::string& link) {
    const auto known = plantable_.find(link);
    if (known != plantable_.end()) return known->second;
    const bool plantable = std::ranges::any_of(changeable_, [&](const PathPattern& pattern) {
      for (std::string_view at = link; at.size() > 1; at = at.substr(0, at.rfind('/'))) {
        if (checker::glob_match(pattern, at)) return true;
      }
      return false;
    });
    return plantable_.emplace(link, plantable).first->second;
  }

  // A link of the distribution's, in the root directory, with the target that it has everywhere.
  bool is_merged(std::string_view link) { return std::ranges::find(merged(), link) != merged().end(); }

  bool is_untrusted(const Rule& rule, const std::string& link) {
    if (is_merged(link)) return false;
    if (may_be_planted(link)) return true;
    // Where everything may be changed, a link matters if it leads to more than is granted anyway. The names
    // of programs are sealed, see seal_programs().
    return changes_everything_ && !granted_everywhere_.contains(rule.verbs - VerbSet(Verb::ExecRun));
  }

  // A link of the plugin's own directories that leads out of them is its author's choice, not the operator's:
  // "${PLUGIN_DIR}/data" says nothing of /etc. Null where there is none on the way.
  const std::string* link_out_of_plugin(const ResolvedPrefix& resolved) {
    for (const std::string* place :
         {&options_.variables.plugin_dir, &options_.variables.plugin_data, &options_.variables.tmp}) {
      if (place->empty()) continue;
      const std::string root = resolver_.resolve(*place).path;
      if (is_inside(resolved.path, root)) continue;
      const auto link = std::ranges::find_if(
          resolved.hops, [&](const std::string& hop) { return hop != root && is_inside(hop, root); });
      if (link != resolved.hops.end()) return &*link;
    }
    return nullptr;
  }

  void warn_of_link(std::size_t at, const char* code, std::string message, std::string hint) {
    const checker::Source& source = rules_[at].source;
    diagnostics_.all.push_back({Severity::Warning, code, std::move(message), source.file, source.line,
                                columns_[at], source.pointer, std::move(hint)});
  }

  void follow_links() {
    names_.assign(rules_.size(), {});
    for (std::size_t i = 0; i < rules_.size(); ++i) add_aliases(i);
  }

  void add_aliases(std::size_t at) {
    Rule& rule = rules_[at];
    if (!rule.verbs.intersects(checker::kFileVerbs | Verb::ExecRun | Verb::UnixSocket)) return;
    alias(at, rule.paths, rule.effect != Effect::Deny);
    // An exception of a denial lets something pass, too.
    alias(at, rule.except_paths, rule.effect == Effect::Deny);
  }

  void alias(std::size_t at, std::vector<PathPattern>& patterns, bool widens) {
    const Rule& rule = rules_[at];
    for (std::size_t i = 0, count = patterns.size(); i < count; ++i) {
      const PathPattern pattern = patterns[i];
      if (!pattern.starts_with('/')) continue;
      const std::string prefix = checker::literal_prefix(pattern);
      const ResolvedPrefix& resolved = resolver_.resolve(prefix);
      if (resolved.path == prefix) continue;
      const auto untrusted = std::ranges::find_if(
          resolved.hops, [&](const std::string& hop) { return widens && is_untrusted(rule, hop); });
      if (untrusted != resolved.hops.end()) {
        if (rule.layer == Layer::Preset) continue;
        warn_of_link(at, "SBX-V203",
                     "\"" + rule.source.text + "\" goes through the link " + *untrusted +
                         ", which the plugin may change: it is not followed",
                     "name the place itself: " + resolved.path);
        continue;
      }
      if (const std::string* link =
              widens && rule.layer != Layer::Preset ? link_out_of_plugin(resolved) : nullptr) {
        const std::string target = behind(resolved.path, pattern, prefix);
        const std::size_t verbs = rule.source.text.find(':', rule.source.text.find(':') + 1);
        warn_of_link(at, "SBX-V204",
                     "\"" + rule.source.text + "\" goes through the link " + *link +
                         ", which came with the plugin, to " + resolved.path + ": it is not followed",
                     "if that is meant, grant it: " + rule.source.text.substr(0, verbs + 1) + target);
        continue;
      }
      push_unique(patterns, behind(resolved.path, pattern, prefix));
      names_[at].insert(names_[at].end(), resolved.hops.begin(), resolved.hops.end());
    }
    // Merged /usr: "/bin/x" is "/usr/bin/x" by another name, and programs use both.
    for (std::size_t i = 0, count = patterns.size(); i < count; ++i) {
      const PathPattern pattern = patterns[i];
      for (const std::string& top : merged()) {
        if (pattern == "/usr/**") push_unique(patterns, top + "/**");
        if (is_inside(pattern, "/usr" + top)) push_unique(patterns, pattern.substr(4));
        if (is_inside(pattern, top)) push_unique(patterns, "/usr" + pattern);
      }
    }
    std::erase_if(patterns, [](const PathPattern& pattern) { return pattern.size() > kLongestPattern; });
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

  // What may run may not be changed, and neither may the links by which it is called.
  void seal_programs() {
    int number = 0;
    std::vector<Rule> sealed;
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const Rule& rule = rules_[i];
      if (rule.effect != Effect::Allow || !rule.verbs.contains(Verb::ExecRun)) continue;
      Rule seal;
      for (const PathPattern& pattern : rule.paths) {
        // Would deny every change there is. The lint has warned where that matters.
        if (!is_everything(pattern)) seal.paths.push_back(pattern);
      }
      for (const std::string& name : names_[i]) push_unique(seal.paths, literal(name));
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
  std::vector<int> columns_;                     // one a rule
  std::vector<std::vector<std::string>> names_;  // one a rule: the links that lead to what it grants
  std::vector<PathPattern> changeable_;
  std::unordered_map<std::string, bool> plantable_;
  VerbSet granted_everywhere_;
  bool changes_everything_ = false;
  std::optional<std::vector<std::string>> merged_;
};

}  // namespace

std::vector<Rule> compile(const Manifest& manifest, const CompileOptions& options, Diagnostics& diagnostics) {
  return Compiler(manifest, options, diagnostics).run();
}

std::vector<ModuleRule> compile_modules(const Manifest& manifest, const CompileOptions& options,
                                        const std::vector<Rule>& rules, Diagnostics& diagnostics) {
  if (manifest.modules.empty()) return {};
  return Compiler(manifest, options, diagnostics).run_modules(rules);
}

}  // namespace secbox::manifest
