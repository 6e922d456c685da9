#include "supervisor/checker/ruleset.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <set>

#include "supervisor/checker/index.h"

namespace secbox::checker {
namespace {

constexpr std::size_t kLongestPattern = 4096;  // PATH_MAX: nothing longer can match
constexpr std::size_t kFewExcepts = 8;         // scanning them is cheaper than looking them up

// What is wrong with `pattern`, or null. A pattern that can match nothing is refused as well: as a deny rule
// it would protect nothing without saying so.
const char* pattern_fault(std::string_view pattern, VerbSet verbs) {
  if (pattern.empty()) return "is empty";
  if (pattern.size() > kLongestPattern) return "is longer than a path can be";
  const bool abstract_name = pattern.starts_with('@');
  if (!abstract_name && pattern.find('\0') != std::string_view::npos) return "has a NUL byte";
  if (pattern == "**") return nullptr;

  if (!is_path_pattern(pattern)) {
    if (verbs.intersects(kPathVerbs)) return "is neither absolute nor begins with \"**/\"";
    for (std::size_t at = 0; at < pattern.size(); ++at) {
      if (pattern[at] != '[') continue;
      const std::size_t length = class_length(pattern, at);
      // An abstract name may have any byte; there an open '[' stands for itself.
      if (length == 0 && !abstract_name)
        return "has a '[' that is not closed; write [[] for the character itself";
      if (length != 0) at += length - 1;
    }
    return nullptr;
  }

  if (verbs.intersects(Verb::EnvRead | Verb::SignalSend)) return "must be a bare name";
  if (pattern.starts_with('/')) pattern.remove_prefix(1);
  for (Components at(pattern); !at.done(); at.next()) {
    const std::string_view component = at.current();
    if (component.empty())
      return "has an empty component; for everything below a directory end it in \"/**\"";
    if (component == "." || component == "..") return "has a \".\" or \"..\" component";
    for (std::size_t i = 0; i < component.size(); ++i) {
      if (component[i] != '[') continue;
      const std::size_t length = class_length(component, i);
      if (length == 0) return "has a '[' that is not closed; write [[] for the character itself";
      i += length - 1;
    }
  }
  return nullptr;
}

const char* net_fault(const NetPattern& pattern) {
  if (pattern.prefix_bits < 0 || pattern.prefix_bits > 128) return "has a prefix length outside 0..128";
  if (pattern.port_low > pattern.port_high) return "has an empty port range";
  return nullptr;
}

std::unexpected<Error> bad_rule(const Rule& rule, std::string_view pattern, std::string_view fault) {
  std::string where = rule.source.file;
  if (rule.source.line > 0) where += ":" + std::to_string(rule.source.line);
  std::string message = "rule " + rule.id;
  if (!where.empty()) message += " (" + where + ")";
  if (!pattern.empty()) message += ": pattern \"" + std::string(pattern) + "\"";
  return failure(message + " " + std::string(fault));
}

Result<bool> validate(const Rule& rule) {
  if (rule.verbs.empty()) return bad_rule(rule, "", "speaks of no permission");
  for (const auto* list : {&rule.paths, &rule.except_paths}) {
    for (const PathPattern& pattern : *list) {
      if (const char* fault = pattern_fault(pattern, rule.verbs)) return bad_rule(rule, pattern, fault);
    }
  }
  for (const auto* list : {&rule.nets, &rule.except_nets}) {
    for (const NetPattern& pattern : *list) {
      if (const char* fault = net_fault(pattern)) return bad_rule(rule, pattern.host, fault);
    }
  }
  return true;
}

NetEntry net_entry(std::size_t at, const Rule& rule) {
  NetEntry entry;
  entry.rule = static_cast<std::uint32_t>(at);
  entry.verbs = rule.verbs.bits() & kNetVerbs.bits();
  entry.tier = tier_of(rule);
  entry.has_excepts = !rule.except_nets.empty();
  return entry;
}

// What of `pattern` is left for names below the directory `path`, which has no trailing slash; "" where it
// could match nothing there.
std::string_view rest_below(std::string_view pattern, std::string_view path) {
  if (!pattern.starts_with('/')) return {};
  const std::string_view text = pattern.substr(1);
  Components p(text);
  for (Components t(path.substr(1)); !t.done(); t.next(), p.next()) {
    if (p.done()) return {};
    if (p.current() == "**") return text.substr(p.begin());
    if (!match_run(p.current(), t.current())) return {};
  }
  return p.done() ? std::string_view{} : text.substr(p.begin());
}

bool reaches_below(std::string_view pattern, std::string_view path) {
  return !rest_below(pattern, path).empty();
}

// True where `pattern` matches something below `to` by the very name of `to`. A pattern that begins "**/"
// does so where it has that name before its last component; its first one counts only if it is new.
bool reaches_anew(std::string_view pattern, std::string_view from, std::string_view to) {
  if (pattern.starts_with('/')) {
    const std::string_view rest = rest_below(pattern, to);
    return !rest.empty() && (from.empty() || rest != rest_below(pattern, from));
  }
  const auto leaf = [](std::string_view path) { return path.substr(path.rfind('/') + 1); };
  bool first = true;
  for (Components p(pattern); !p.done() && p.end() < pattern.size(); p.next()) {
    if (p.current() == "**") continue;
    if (match_run(p.current(), leaf(to)) && !(first && !from.empty() && match_run(p.current(), leaf(from))))
      return true;
    first = false;
  }
  return false;
}

bool is_directory_name(std::string_view path) { return path.starts_with('/') && !path.ends_with('/'); }

constexpr char kHex[] = "0123456789abcdef";

std::string net_text(const NetPattern& pattern) {
  std::string out;
  if (pattern.transport) out += *pattern.transport == Transport::Tcp ? "tcp/" : "udp/";
  if (!pattern.host.empty()) {
    append_quoted(out, pattern.host);
  } else {
    for (const std::uint8_t byte : masked(pattern.network, pattern.prefix_bits)) {
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    }
    out += '/' + std::to_string(pattern.prefix_bits);
  }
  return out + ':' + std::to_string(pattern.port_low) + '-' + std::to_string(pattern.port_high);
}

void append_list(std::string& line, std::string_view name, const std::vector<PathPattern>& paths,
                 const std::vector<NetPattern>& nets) {
  std::set<std::string> items;
  for (const PathPattern& path : paths) {
    std::string quoted;
    append_quoted(quoted, path);
    items.insert(std::move(quoted));
  }
  for (const NetPattern& net : nets) items.insert(net_text(net));
  if (items.empty()) return;
  line += name;
  for (const std::string& item : items) line += ' ' + item;
}

std::string canonical_line(const Rule& rule) {
  constexpr std::string_view kEffects[] = {"allow", "deny", "optional"};
  std::string line(kEffects[static_cast<std::size_t>(rule.effect)]);
  line += ' ';
  line += layer_name(rule.layer);
  for (std::uint32_t bits = rule.verbs.bits(); bits != 0; bits &= bits - 1) {
    line += ' ';
    line += verb_name(static_cast<Verb>(bits & (~bits + 1)));
  }
  append_list(line, " on", rule.paths, rule.nets);
  append_list(line, " except", rule.except_paths, rule.except_nets);
  return line;
}

}  // namespace

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    }
  }
  out += '"';
}

std::string_view layer_name(Layer layer) {
  switch (layer) {
    case Layer::Preset:
      return "preset";
    case Layer::Manifest:
      return "manifest";
    case Layer::Flag:
      return "flag";
    case Layer::Policy:
      return "policy";
    case Layer::Implied:
      return "implied";
    case Layer::Protected:
      return "protected";
  }
  return "unknown";
}

Ruleset::Ruleset() : index_(std::make_unique<Index>()) {}
Ruleset::Ruleset(Ruleset&&) noexcept = default;
Ruleset& Ruleset::operator=(Ruleset&&) noexcept = default;
Ruleset::~Ruleset() = default;

Result<Ruleset> Ruleset::make(std::vector<Rule> rules) {
  for (const Rule& rule : rules) {
    if (auto valid = validate(rule); !valid) return std::unexpected(std::move(valid.error()));
  }
  if (rules.size() >= std::numeric_limits<std::uint32_t>::max()) return failure("too many rules");

  auto core = std::make_shared<RulesetCore>();
  core->rules = std::move(rules);
  core->path_excepts.resize(core->rules.size());
  for (std::size_t at = 0; at < core->rules.size(); ++at) {
    const Rule& rule = core->rules[at];
    PathEntry entry;
    entry.rule = static_cast<std::uint32_t>(at);
    entry.verbs = (with_implied(rule.verbs) - kNetVerbs).bits();
    entry.tier = tier_of(rule);
    entry.has_excepts = !rule.except_paths.empty();
    if (entry.verbs != 0) {
      for (const PathPattern& pattern : rule.paths) core->paths.add(pattern, entry);
    }
    if (rule.except_paths.size() > kFewExcepts) {
      core->path_excepts[at] = std::make_unique<PathIndex>();
      for (const PathPattern& pattern : rule.except_paths) {
        PathEntry except;
        except.verbs = UINT32_MAX;
        core->path_excepts[at]->add(pattern, except);
      }
    }
    if (rule.verbs.intersects(kNetVerbs)) {
      for (const NetPattern& pattern : rule.nets) {
        if (pattern.host.empty()) core->nets.add(pattern, net_entry(at, rule));
      }
    }
  }
  Ruleset ruleset;
  ruleset.index_->core = std::move(core);
  return ruleset;
}

const std::vector<Rule>& Ruleset::rules() const { return index_->core->rules; }

std::string Ruleset::canonical_text() const {
  std::vector<std::string> lines;
  lines.reserve(rules().size());
  for (const Rule& rule : rules()) lines.push_back(canonical_line(rule));
  std::ranges::sort(lines);
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

std::shared_ptr<const Ruleset> Ruleset::with_host_addresses(const HostAddresses& hosts) const {
  // The constructor is private; the copy shares the rules, so a Decision's rule is the same object in both.
  std::shared_ptr<Ruleset> copy(new Ruleset());
  Index& index = *copy->index_;
  index.core = index_->core;
  for (const auto& [host, addresses] : hosts) {
    const auto same = std::ranges::find(index.host_addresses, host, &HostEntry::host);
    HostEntry& entry = same == index.host_addresses.end() ? index.host_addresses.emplace_back(host) : *same;
    entry.addresses.insert(entry.addresses.end(), addresses.begin(), addresses.end());
  }
  std::ranges::sort(index.host_addresses, {}, &HostEntry::host);
  for (std::size_t at = 0; at < rules().size(); ++at) {
    const Rule& rule = rules()[at];
    if (!rule.verbs.intersects(kNetVerbs)) continue;
    for (const NetPattern& pattern : rule.nets) {
      if (pattern.host.empty()) continue;
      const auto found = std::ranges::lower_bound(index.host_addresses, pattern.host, {}, &HostEntry::host);
      if (found == index.host_addresses.end() || found->host != pattern.host) continue;
      NetPattern numeric = pattern;
      numeric.host.clear();
      numeric.prefix_bits = 128;
      for (const Address& address : found->addresses) {
        numeric.network = address;
        index.hosts.add(numeric, net_entry(at, rule));
      }
    }
  }
  return copy;
}

std::vector<std::string> Ruleset::host_names() const {
  std::set<std::string> names;
  for (const Rule& rule : rules()) {
    for (const auto* list : {&rule.nets, &rule.except_nets}) {
      for (const NetPattern& pattern : *list) {
        if (!pattern.host.empty()) names.insert(pattern.host);
      }
    }
  }
  return {names.begin(), names.end()};
}

const Rule* Ruleset::deny_below(VerbSet verbs, std::string_view path) const {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  if (!path.starts_with('/')) return nullptr;
  for (const Rule& rule : rules()) {
    if (rule.effect != Effect::Deny || !with_implied(rule.verbs).intersects(verbs)) continue;
    for (const PathPattern& pattern : rule.paths) {
      if (reaches_below(pattern, path)) return &rule;
    }
  }
  return nullptr;
}

const Rule* Ruleset::ban_gained_below(VerbSet verbs, std::string_view from, std::string_view to) const {
  if (!is_directory_name(to)) return nullptr;
  for (const Rule& rule : rules()) {
    if (rule.effect == Effect::Optional || !with_implied(rule.verbs).intersects(verbs)) continue;
    const auto& banned = rule.effect == Effect::Deny ? rule.paths : rule.except_paths;
    for (const PathPattern& pattern : banned) {
      if (reaches_anew(pattern, from, to)) return &rule;
    }
  }
  return nullptr;
}

const Rule* Ruleset::grant_gained_below(VerbSet verbs, std::string_view from, std::string_view to) const {
  const auto grants_all_below_from = [&](Verb verb) {
    return std::ranges::any_of(rules(), [&](const Rule& rule) {
      return rule.effect == Effect::Allow && with_implied(rule.verbs).contains(verb) &&
             rule.except_paths.empty() && std::ranges::any_of(rule.paths, [&](const PathPattern& pattern) {
               return pattern == "**" || rest_below(pattern, from) == "**";
             });
    });
  };
  if (!is_directory_name(from) || !is_directory_name(to)) return nullptr;
  for (const Rule& rule : rules()) {
    if (rule.effect != Effect::Allow) continue;
    VerbSet gained;
    for (std::uint32_t bits = with_implied(rule.verbs).bits() & verbs.bits(); bits != 0; bits &= bits - 1) {
      const auto verb = static_cast<Verb>(bits & (~bits + 1));
      if (!grants_all_below_from(verb)) gained |= verb;
    }
    if (gained.empty()) continue;
    const bool excepts = std::ranges::any_of(
        rule.except_paths, [&](const PathPattern& pattern) { return reaches_below(pattern, from); });
    for (const PathPattern& pattern : rule.paths) {
      const std::string_view rest = rest_below(pattern, to);
      if (!rest.empty() && (excepts || rest != rest_below(pattern, from))) return &rule;
    }
  }
  return nullptr;
}

}  // namespace secbox::checker
