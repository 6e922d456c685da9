#include "supervisor/audit/denial_message.h"

#include <algorithm>
#include <cstdlib>

#include "supervisor/audit/json_text.h"

namespace secbox::audit {
namespace {

constexpr std::size_t kMostSeen = 1024;      // different denials; more are only counted
constexpr std::size_t kLongestGrant = 1000;  // nobody would paste more
constexpr std::size_t kTop = 3;
constexpr std::string_view kIndent = "        ";

bool environment_says(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

// no-color.org and bixense.com/clicolors.
bool wants_colour(bool terminal) {
  const char* none = std::getenv("NO_COLOR");
  if (none != nullptr && *none != '\0') return false;
  return terminal || environment_says("CLICOLOR_FORCE");
}

// True where `text` can be shown and pasted as it is.
bool is_plain(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    char32_t code = 0;
    const std::size_t length = decode_utf8(text, at, code);
    if (length == 0 || is_unsafe_to_print(code)) return false;
    at += length;
  }
  return true;
}

// The pattern that matches `path` alone.
std::string literal_pattern(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == '*' || c == '?' || c == '[' || c == '{' || c == '}' || c == '$') {
      out += '[';
      out += c;
      out += ']';
    } else {
      out += c;
    }
  }
  return out;
}

bool is_rename_target(const Record& record) {
  return !record.target.path2.empty() && record.permission == "file:create";
}

std::string address_of(const TargetRef& target) {
  std::string text(target.host.empty() ? target.ip : target.host);
  if (text.find(':') != std::string::npos) text = '[' + text + ']';
  if (target.transport == "udp") text = "udp/" + text;
  if (target.port >= 0) text += ':' + std::to_string(target.port);
  return text;
}

// What was acted on, in one line; not yet safe to print.
std::string describe_target(const Record& record) {
  const TargetRef& target = record.target;
  if (is_rename_target(record)) return std::string(target.path2);
  if (!target.path.empty()) return std::string(target.path);
  if (!target.ip.empty() || !target.host.empty()) return address_of(target);
  if (!target.abstract_name.empty()) return '@' + std::string(target.abstract_name);
  if (target.pid != 0) return "process " + std::to_string(target.pid);
  return std::string(target.name);
}

std::string_view resolved_of(const Record& record) {
  return is_rename_target(record) ? record.resolved_target2 : record.resolved_target;
}

std::string what_was_asked(const Record& record) {
  const std::string target = describe_target(record);
  std::string text = printable(record.permission.empty() ? record.op : record.permission);
  if (!target.empty() && target != text) text += ' ' + printable(target);
  const std::string_view resolved = resolved_of(record);
  if (!record.target.path.empty() && !resolved.empty() && resolved != target)
    text += " -> " + printable(resolved);
  return text;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out += between;
    out += word;
  }
  return out;
}

std::string allow_flags(const std::vector<std::string>& grants) {
  std::vector<std::string> flags;
  for (const std::string& grant : grants) flags.push_back("--allow " + shell_word(grant));
  return joined(flags, " ");
}

std::string place_of(const RuleRef& rule) {
  std::string place = printable(rule.file);
  if (!place.empty() && rule.line > 0) place += ':' + std::to_string(rule.line);
  return place;
}

std::string reason_of(const Record& record) {
  std::string text = record.reason.empty() ? "not granted" : printable(record.reason);
  if (!record.rule || denial_code(record) == "SBX-D101") return text;
  const std::string rule = printable(record.rule->text.empty() ? record.rule->id : record.rule->text);
  const std::string place = place_of(*record.rule);
  text += ": " + rule;
  if (!place.empty()) text += " (" + place + ')';
  return text;
}

}  // namespace

std::string_view denial_code(const Record& record) {
  if (!record.rule || record.rule->id.empty() || record.rule->id == "default") return "SBX-D101";
  if (record.rule->id.starts_with("refused:")) return "SBX-D105";
  if (record.rule->layer == "protected") return "SBX-D103";
  // The wording of checker::reason_text(Reason::NeedsConsent); a record does not carry the reason as a
  // number.
  if (record.reason.find("consent") != std::string_view::npos) return "SBX-D104";
  return "SBX-D102";
}

std::string printable(std::string_view text, std::size_t most) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (out.size() >= most) return out + "...";
    char32_t code = 0;
    const std::size_t length = decode_utf8(text, at, code);
    if (length != 0 && !is_unsafe_to_print(code)) {
      out.append(text, at, length);
      at += length;
      continue;
    }
    for (const std::size_t end = at + std::max<std::size_t>(length, 1); at < end; ++at) {
      const auto byte = static_cast<unsigned char>(text[at]);
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    }
  }
  return out;
}

std::string shell_word(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::vector<std::string> grants_for(const Record& record) {
  const std::string_view code = denial_code(record);
  if (record.permission.empty() || (code != "SBX-D101" && code != "SBX-D104")) return {};
  const TargetRef& target = record.target;
  std::vector<std::string> grants;
  const auto add = [&](std::string scope) {
    grants.push_back(std::string(record.permission) + ':' + std::move(scope));
  };
  if (!target.path.empty()) {
    // Both the name as written and the object must be granted.
    const std::string written = describe_target(record);
    const std::string_view resolved = resolved_of(record);
    add(literal_pattern(written));
    if (!resolved.empty() && resolved != written) add(literal_pattern(resolved));
  } else if (!target.abstract_name.empty()) {
    add('@' + literal_pattern(target.abstract_name));
  } else if (!target.ip.empty() || !target.host.empty()) {
    add(address_of(target));
  } else if (target.pid != 0) {
    add(std::to_string(target.pid));
  } else if (!target.name.empty()) {
    add(literal_pattern(target.name));
  }
  if (std::ranges::any_of(grants,
                          [](const std::string& g) { return g.size() > kLongestGrant || !is_plain(g); }))
    return {};
  return grants;
}

std::string explanation(const Record& record, std::size_t most) {
  std::string text = "secbox: denied " + what_was_asked(record) + ": " + reason_of(record) + " (" +
                     std::string(denial_code(record)) + ")";
  const std::vector<std::string> grants = grants_for(record);
  const std::string fix = grants.empty() ? std::string() : "; " + allow_flags(grants);
  if (text.size() + fix.size() < most) text += fix;
  if (text.size() >= most) text.replace(most - 4, std::string::npos, "...");
  return text + '\n';
}

DenialReporter::DenialReporter(ReporterOptions options)
    : options_(std::move(options)), colour_(wants_colour(options_.colour)) {}

// "; nearest is GRANT (FILE:LINE)", or "".
std::string DenialReporter::nearest(const Record& record) const {
  if (!options_.nearest_grant || denial_code(record) != "SBX-D101") return {};
  const bool has_path = !record.target.path.empty();
  const auto rule = options_.nearest_grant(record, has_path ? describe_target(record) : "",
                                           has_path ? resolved_of(record) : "");
  if (!rule) return {};
  const std::string place = place_of(*rule);
  return "; nearest is " + printable(rule->text) + (place.empty() ? "" : " (" + place + ')');
}

std::string DenialReporter::report(const Record& record, std::uint64_t seq) {
  ++total_;
  std::string key(record.permission.empty() ? record.op : record.permission);
  key += '\0';
  key += describe_target(record);
  if (const auto found = seen_.find(key); found != seen_.end()) {
    ++found->second.count;
    return {};
  }
  if (seen_.size() >= kMostSeen) return {};
  Seen& seen = seen_[std::move(key)];
  seen.count = 1;
  seen.order = seen_.size();
  seen.label = what_was_asked(record);
  seen.grants = grants_for(record);
  if (shown_ >= options_.most_shown) {
    if (said_enough_) return {};
    said_enough_ = true;
    return "secbox: more denials are counted but not shown; the audit log has them all\n";
  }
  ++shown_;

  const std::string_view verb = record.verdict == Verdict::WouldDeny ? "WOULD DENY" : "DENIED";
  std::string text = "secbox: ";
  text += colour_ ? "\x1b[1;31m" + std::string(verb) + "\x1b[0m" : std::string(verb);
  text += ' ' + printable(options_.plugin);
  if (!options_.version.empty()) text += ' ' + printable(options_.version);
  if (record.pid != 0) {
    text += " (pid " + std::to_string(record.pid);
    if (!record.comm.empty()) text += ' ' + printable(record.comm);
    text += ')';
  }
  text += ' ' + seen.label + '\n';

  const std::string_view code = denial_code(record);
  text += kIndent;
  text += "why: " + reason_of(record) + nearest(record) + "   rule " + std::string(code) + "  event " +
          printable(options_.session) + '-' + std::to_string(seq) + '\n';

  text += kIndent;
  text += "fix: ";
  const std::string manifest = printable(options_.manifest_path);
  if (code == "SBX-D105") {
    text += "none; no permission covers this system call";
  } else if (code == "SBX-D103") {
    text += "none; no grant reaches this";
  } else if (code == "SBX-D102" && record.rule) {
    const std::string place = place_of(*record.rule);
    text += "a grant does not override a deny; change the rule";
    if (!place.empty()) text += " in " + place;
  } else if (seen.grants.empty()) {
    text += "grant a directory above it: the name cannot be written down safely";
  } else {
    std::vector<std::string> quoted;
    for (const std::string& grant : seen.grants) quoted.push_back(json_string(grant));
    if (!manifest.empty()) {
      text += code == "SBX-D104" ? "move the grant from permissions.optional to permissions.required in "
                                 : "add " + joined(quoted, " and ") + " to permissions.required in ";
      text += manifest + ", or run again with ";
    } else {
      text += "run again with ";
    }
    text += allow_flags(seen.grants);
  }
  return text + '\n';
}

std::string DenialReporter::footer() const {
  if (total_ < 2) return {};
  std::vector<const Seen*> top;
  for (const auto& [key, seen] : seen_) top.push_back(&seen);
  std::ranges::sort(top, [](const Seen* a, const Seen* b) {
    return a->count != b->count ? a->count > b->count : a->order < b->order;
  });
  if (top.size() > kTop) top.resize(kTop);

  std::string text = "secbox: " + std::to_string(total_) + " calls denied, " +
                     (seen_.size() >= kMostSeen ? "at least " : "") + std::to_string(seen_.size()) +
                     (seen_.size() == 1 ? " kind" : " kinds") + "; most often:\n";
  std::vector<std::string> grants;
  for (const Seen* seen : top) {
    text += kIndent;
    text += std::to_string(seen->count) + "x  " + seen->label + '\n';
    for (const std::string& grant : seen->grants) {
      if (std::ranges::find(grants, grant) == grants.end()) grants.push_back(grant);
    }
  }
  if (grants.empty()) return text;
  text += kIndent;
  text += "fix: secbox run ";
  if (!options_.manifest_path.empty() && is_plain(options_.manifest_path)) {
    text += "-m " + shell_word(options_.manifest_path) + ' ';
  }
  return text + allow_flags(grants) + " -- COMMAND\n";
}

}  // namespace secbox::audit
