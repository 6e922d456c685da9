#include "manifest/grammar.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>

#include "manifest/diagnostic.h"

namespace secbox::manifest {

namespace {

using checker::NetPattern;
using checker::Transport;
using checker::Verb;
using checker::VerbSet;

std::unexpected<GrammarError> error(std::string code, std::string message, std::string hint = {}) {
  return std::unexpected(GrammarError{std::move(code), std::move(message), std::move(hint)});
}

struct Word {
  std::string_view name;
  VerbSet verbs;
};
constexpr Word kFileWords[] = {{"read", Verb::FileRead},
                               {"write", Verb::FileWrite},
                               {"create", Verb::FileCreate},
                               {"delete", Verb::FileDelete},
                               {"list", Verb::FileList},
                               {"load", Verb::FileLoad},
                               {"rw", Verb::FileRead | Verb::FileWrite | Verb::FileCreate | Verb::FileDelete},
                               {"*", checker::kFileVerbs}};
constexpr Word kNetWords[] = {{"connect", Verb::NetConnect},
                              {"bind", Verb::NetBind},
                              {"resolve", {}},  // not in this version
                              {"*", Verb::NetConnect | Verb::NetBind}};
constexpr Word kExecWords[] = {{"run", Verb::ExecRun}};
constexpr Word kEnvWords[] = {{"read", Verb::EnvRead}};
constexpr Word kIpcWords[] = {{"unix", Verb::UnixSocket}};
constexpr Word kSignalWords[] = {{"send", Verb::SignalSend}};

struct Class {
  std::string_view name;
  GrantClass kind;
  std::span<const Word> words;
};
constexpr Class kClasses[] = {
    {"file", GrantClass::File, kFileWords}, {"net", GrantClass::Net, kNetWords},
    {"exec", GrantClass::Exec, kExecWords}, {"env", GrantClass::Env, kEnvWords},
    {"ipc", GrantClass::Unix, kIpcWords},   {"signal", GrantClass::Signal, kSignalWords},
    {"reg", GrantClass::Later, {}},         {"rpc", GrantClass::Later, {}},
    {"sys", GrantClass::Later, {}}};

// The '[...]' that starts at text[at], as the matcher sees it; 0 where it is not closed.
std::size_t class_length(std::string_view text, std::size_t at) {
  std::size_t i = at + 1;
  if (i < text.size() && (text[i] == '!' || text[i] == '^')) ++i;
  if (i < text.size() && text[i] == ']') ++i;
  const std::size_t close = text.find(']', i);
  return close == std::string_view::npos ? 0 : close + 1 - at;
}

bool has_open_class(std::string_view component) {
  for (std::size_t i = 0; i < component.size(); ++i) {
    if (component[i] != '[') continue;
    const std::size_t length = class_length(component, i);
    if (length == 0) return true;
    i += length - 1;
  }
  return false;
}

std::unexpected<GrammarError> open_class(std::string_view text) {
  return error("SBX-V129", "\"" + std::string(text) + "\" has a '[' that is not closed",
               "a literal '[' is written [[]");
}

constexpr std::size_t kLongestPattern = 4096;  // PATH_MAX: nothing longer can match

// "git[status|diff **]" is about arguments, "python3.[0-9]" about characters. A class has ranges and at most
// two single characters; all else is taken for arguments, because "git[status]" as a class is "gits".
bool is_argument_rule(std::string_view scope) {
  if (!scope.ends_with(']')) return false;
  for (std::size_t at = 0; at < scope.size(); ++at) {
    if (scope[at] != '[') continue;
    const std::size_t length = class_length(scope, at);
    if (length == 0) return false;
    if (at + length < scope.size()) {
      at += length - 1;
      continue;
    }
    std::string_view inside = scope.substr(at + 1, length - 2);
    if (inside.find_first_of(" |/") != std::string_view::npos || inside == "**") return true;
    if (inside.starts_with('!') || inside.starts_with('^')) inside.remove_prefix(1);
    int singles = 0;
    for (std::size_t i = 0; i < inside.size(); ++i) {
      if (i + 2 < inside.size() && inside[i + 1] == '-') {
        i += 2;
      } else {
        ++singles;
      }
    }
    return singles > 2;
  }
  return false;
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

std::expected<Grant, GrammarError> parse_grant(std::string_view text) {
  if (has_control_characters(text)) return error("SBX-V110", "a permission may not hold control characters");
  const std::size_t first = text.find(':');
  const std::string_view class_name = text.substr(0, first);
  const auto found = std::find_if(std::begin(kClasses), std::end(kClasses),
                                  [&](const Class& c) { return c.name == class_name; });
  if (found == std::end(kClasses) || first == std::string_view::npos) {
    std::vector<std::string_view> names;
    for (const Class& c : kClasses) names.push_back(c.name);
    const std::string near = nearest_word(class_name, names);
    return error("SBX-V111", "Invalid permission: " + std::string(text),
                 near.empty() || first == std::string_view::npos
                     ? "a permission is class:verb:scope, for example file:read:/srv/data/**"
                     : "did you mean \"" + near + "\"?");
  }
  if (found->kind == GrantClass::Later)
    return Grant{.kind = GrantClass::Later,
                 .verbs = {},
                 .scope = std::string(text.substr(first + 1)),
                 .not_enforced = std::string(text)};
  const std::size_t second = text.find(':', first + 1);
  std::string_view verbs =
      text.substr(first + 1, second == std::string_view::npos ? second : second - first - 1);
  Grant grant{.kind = found->kind, .verbs = {}, .scope = {}, .not_enforced = {}};
  while (true) {
    const std::size_t bar = verbs.find('|');
    const std::string_view verb = verbs.substr(0, bar);
    const auto word =
        std::find_if(found->words.begin(), found->words.end(), [&](const Word& w) { return w.name == verb; });
    if (word == found->words.end()) {
      std::vector<std::string_view> names;
      std::string list;
      for (const Word& w : found->words) {
        names.push_back(w.name);
        list += (list.empty() ? "" : ", ") + std::string(w.name);
      }
      const std::string near = nearest_word(verb, names);
      return error(
          "SBX-V112",
          "Invalid permission: " + std::string(text) + " (there is no verb \"" + std::string(verb) +
              "\" in " + std::string(class_name) + ")",
          near.empty() ? std::string(class_name) + " knows: " + list : "did you mean \"" + near + "\"?");
    }
    grant.verbs |= word->verbs;
    if (word->verbs.empty()) grant.not_enforced = word->name;
    if (bar == std::string_view::npos) break;
    verbs.remove_prefix(bar + 1);
  }
  if (second == std::string_view::npos || second + 1 == text.size()) {
    return error("SBX-V113", "Invalid permission: " + std::string(text) + " (the scope is missing)",
                 "say what it is about, for example " + std::string(text.substr(0, second)) + ":" +
                     (grant.kind == GrantClass::Net   ? "api.example.com:443"
                      : grant.kind == GrantClass::Env ? "LANG"
                                                      : "/srv/data/**"));
  }
  grant.scope = std::string(text.substr(second + 1));
  if (grant.verbs.empty()) grant.kind = GrantClass::Later;
  if (grant.kind == GrantClass::Exec && is_argument_rule(grant.scope)) {
    return error("SBX-V114",
                 "patterns of a program's arguments are not in this version: " + std::string(text),
                 "grant the program itself, or a wrapper script that takes no arguments; alternatives are "
                 "written {a,b}");
  }
  return grant;
}

bool begins_with_class(std::string_view text) {
  const std::string_view name = text.substr(0, text.find(':'));
  return name.size() < text.size() && std::any_of(
                                          std::begin(kClasses), std::end(kClasses),
                                          [&](const Class& known) { return known.name == name; });
}

std::expected<void, GrammarError> check_exception(const Grant& use, const Grant& except) {
  if (use.kind != except.kind)
    return error("SBX-V117", "the exception is of another class than the permission",
                 "an exception takes something out of its own permission");
  VerbSet covered = except.verbs;
  if (covered.contains(Verb::FileRead)) covered |= Verb::FileList;
  if (use.kind != GrantClass::Later && !covered.intersects(use.verbs))
    return error("SBX-V117", "the exception is about none of the permission's verbs",
                 "leave class and verbs out, and it counts for all of them");
  return {};
}

const Variables& stand_in_variables() {
  static const Variables values{.home = "/home",
                                .cwd = "/cwd",
                                .tmp = "/tmp",
                                .plugin_dir = "/plugin",
                                .plugin_data = "/data",
                                .host = {},
                                .unknown_host = UnknownHostValue::StandIn};
  return values;
}

namespace {

// An alternative "{a,b}", as opposed to a variable.
bool has_braces(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{' && (i == 0 || text[i - 1] != '$')) return true;
  }
  return false;
}

void append_value(std::string& out, std::string_view value, std::string_view special) {
  for (const char c : value) {
    if (special.find(c) != std::string_view::npos) {
      out += '[';
      out += c;
      out += ']';
    } else {
      out += c;
    }
  }
}

}  // namespace

std::expected<std::string, GrammarError> expand_variables(std::string_view text, const Variables& variables,
                                                          Quoting quoting,
                                                          std::vector<std::string>& stand_ins) {
  // A value is a name, not a pattern: its own wildcards mean themselves.
  const std::string_view special = quoting == Quoting::Plain ? "" : has_braces(text) ? "*?[{}," : "*?[{}";
  std::string out;
  while (true) {
    const std::size_t at = text.find("${");
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    const std::size_t end = text.find('}', at);
    if (end == std::string_view::npos)
      return error("SBX-V120", "\"${\" without \"}\"", "close the variable's name");
    const std::string name(text.substr(at + 2, end - at - 2));
    text.remove_prefix(end + 1);
    const std::string* value = nullptr;
    if (name == "HOME") value = &variables.home;
    if (name == "CWD") value = &variables.cwd;
    if (name == "TMP") value = &variables.tmp;
    if (name == "PLUGIN_DIR") value = &variables.plugin_dir;
    if (name == "PLUGIN_DATA") value = &variables.plugin_data;
    if (name.starts_with("HOST:")) {
      for (const auto& [key, path] : variables.host) {
        if (key == name.substr(5)) value = &path;
      }
      if (value == nullptr && variables.unknown_host == UnknownHostValue::StandIn) {
        stand_ins.push_back(name);
        out += quoting == Quoting::Plain ? "host.invalid" : "/nonexistent";
        continue;
      }
      if (value == nullptr)
        return error("SBX-V122", "the host gives no value for ${" + name + "}",
                     "say it in config.toml, under [host]: " + name.substr(5) + " = \"/absolute/path\"");
    }
    if (value == nullptr) {
      const std::string near = nearest_word(name, {"HOME", "CWD", "TMP", "PLUGIN_DIR", "PLUGIN_DATA"});
      return error("SBX-V121", "there is no variable ${" + name + "}",
                   near.empty() ? "known: HOME, CWD, TMP, PLUGIN_DIR, PLUGIN_DATA, HOST:name"
                                : "did you mean ${" + near + "}?");
    }
    if (value->empty())
      return error("SBX-V123", "${" + name + "} has no value here",
                   name == "HOME" ? "set HOME to a directory of its own (absolute, not /)"
                   : name == "PLUGIN_DATA"
                       ? "set HOME or XDG_DATA_HOME to a directory of its own; the id must be a file's name"
                       : "write the path that is meant");
    append_value(out, *value, special);
  }
}

std::expected<std::vector<std::string>, GrammarError> expand_braces(std::string_view text) {
  std::vector<std::string> todo{std::string(text)};
  std::vector<std::string> done;
  // The next of `wanted` that does not stand for itself inside [...].
  const auto next_of = [](const std::string& current, std::string_view wanted, std::size_t from) {
    for (std::size_t i = from; i < current.size(); ++i) {
      if (current[i] == '[') {
        const std::size_t length = class_length(current, i);
        if (length != 0) i += length - 1;
      } else if (wanted.find(current[i]) != std::string_view::npos) {
        return i;
      }
    }
    return std::string::npos;
  };
  while (!todo.empty()) {
    std::string current = std::move(todo.back());
    todo.pop_back();
    const std::size_t open = next_of(current, "{", 0);
    if (open == std::string::npos) {
      if (next_of(current, "}", 0) != std::string::npos)
        return error("SBX-V124", "\"}\" without \"{\"", "a literal '}' is written [}]");
      done.push_back(std::move(current));
      continue;
    }
    int depth = 0;
    std::vector<std::size_t> cuts{open};
    std::size_t close = std::string::npos;
    for (std::size_t i = open; i != std::string::npos && close == std::string::npos;
         i = next_of(current, "{},", i + 1)) {
      if (current[i] == '{') ++depth;
      if (current[i] == ',' && depth == 1) cuts.push_back(i);
      if (current[i] == '}' && --depth == 0) close = i;
    }
    if (close == std::string::npos)
      return error("SBX-V124", "\"{\" without \"}\"", "a literal '{' is written [{]");
    cuts.push_back(close);
    for (std::size_t i = cuts.size() - 1; i > 0; --i) {
      todo.push_back(current.substr(0, open) + current.substr(cuts[i - 1] + 1, cuts[i] - cuts[i - 1] - 1) +
                     current.substr(close + 1));
    }
    if (todo.size() + done.size() > 256)
      return error("SBX-V125", "more than 256 alternatives in one permission", "write several");
  }
  return done;
}

std::expected<std::vector<checker::PathPattern>, GrammarError> path_patterns(std::string_view scope) {
  auto expanded = expand_braces(scope);
  if (!expanded) return std::unexpected(expanded.error());
  std::vector<checker::PathPattern> patterns;
  for (std::string& text : *expanded) {
    if (text.find('\0') != std::string::npos) return error("SBX-V110", "a path may not hold a NUL");
    if (text == "**") text = "/**";
    if (!text.starts_with('/') && !text.starts_with("**/")) {
      return error("SBX-V126", "the path \"" + text + "\" is not absolute",
                   text.starts_with('~') ? "write ${HOME} instead of ~"
                                         : "begin it with /, ${PLUGIN_DIR}/, ${HOME}/ or **/");
    }
    // By text alone: "." and "//" mean nothing in a pattern, ".." would be a lie where a link is on the way.
    std::string clean;
    std::size_t at = 0;
    const bool subtree = text.ends_with('/');
    while (at < text.size()) {
      const std::size_t end = std::min(text.find('/', at), text.size());
      const std::string part = text.substr(at, end - at);
      at = end + 1;
      if (part.empty() || part == ".") continue;
      if (part == "..")
        return error("SBX-V127", "\"..\" in the pattern \"" + text + "\"", "write the path that is meant");
      if (part.find("**") != std::string::npos && part != "**") {
        return error("SBX-V128", "\"**\" must be a component of its own in \"" + text + "\"",
                     "write /**/ or *");
      }
      if (has_open_class(part)) return open_class(text);
      clean += clean.empty() && text.starts_with("**/") ? part : "/" + part;
    }
    if (subtree) clean += "/**";
    if (clean.empty()) clean = "/";
    patterns.push_back(std::move(clean));
  }
  return patterns;
}

namespace {

using Address = std::array<std::uint8_t, 16>;

struct Network {
  Address address{};
  int bits = 128;
};

bool parse_address(const std::string& text, Network& out) {
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    out.address = {};
    out.address[10] = out.address[11] = 0xff;
    std::memcpy(out.address.data() + 12, &v4, 4);
    out.bits = 128;
    return true;
  }
  if (::inet_pton(AF_INET6, text.c_str(), out.address.data()) == 1) {
    out.bits = 128;
    return true;
  }
  return false;
}

bool is_v4(const Address& address) {
  return std::all_of(address.begin(), address.begin() + 10, [](std::uint8_t b) { return b == 0; }) &&
         address[10] == 0xff && address[11] == 0xff;
}

// An IPv6 network that has the IPv4-mapped addresses in it means IPv6 alone: what is left when ::ffff:0:0/96
// is taken out, one network for each bit in which an address can differ from it.
std::vector<Network> without_mapped(const Network& network) {
  Address mapped{};
  mapped[10] = mapped[11] = 0xff;
  const auto bit = [](const Address& address, int at) {
    return address[static_cast<std::size_t>(at / 8)] >> (7 - at % 8) & 1;
  };
  for (int at = 0; at < std::min(network.bits, 96); ++at) {
    if (bit(network.address, at) != bit(mapped, at)) return {network};
  }
  if (network.bits >= 96) return {network};
  std::vector<Network> rest;
  for (int at = network.bits; at < 96; ++at) {
    Network part{.address = mapped, .bits = at + 1};
    part.address[static_cast<std::size_t>(at / 8)] ^= static_cast<std::uint8_t>(1U << (7 - at % 8));
    for (int clear = at + 1; clear < 128; ++clear)
      part.address[static_cast<std::size_t>(clear / 8)] &=
          static_cast<std::uint8_t>(~(1U << (7 - clear % 8)));
    rest.push_back(part);
  }
  return rest;
}

// "10.0.0.0/8", "fd00::/8", or one address.
std::expected<Network, GrammarError> parse_network(std::string_view text) {
  Network network;
  const std::size_t slash = text.find('/');
  if (!parse_address(std::string(text.substr(0, slash)), network))
    return error("SBX-V131", "\"" + std::string(text) + "\" is no address", "");
  if (slash == std::string_view::npos) return network;
  int bits = -1;
  const std::string_view length = text.substr(slash + 1);
  const auto [end, problem] = std::from_chars(length.data(), length.data() + length.size(), bits);
  const int most = is_v4(network.address) ? 32 : 128;
  if (problem != std::errc{} || end != length.data() + length.size() || bits < 0 || bits > most) {
    return error("SBX-V132", "\"/" + std::string(length) + "\" is no prefix length",
                 "0 to " + std::to_string(most));
  }
  network.bits = most == 32 ? 96 + bits : bits;
  for (int bit = network.bits; bit < 128; ++bit) {
    if ((network.address[static_cast<std::size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0) {
      return error("SBX-V133", "\"" + std::string(text) + "\" has bits behind its prefix",
                   "did you mean a single address, without /" + std::string(length) + "?");
    }
  }
  return network;
}

constexpr std::array kLoopback{"127.0.0.0/8", "::1"};
constexpr std::array kPrivate{"10.0.0.0/8",     "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                              "169.254.0.0/16", "fc00::/7",      "fe80::/10"};
// The instance metadata services of the large clouds: credentials for the asking.
constexpr std::array kMetadata{"169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200",
                               "192.0.0.192",     "fd00:ec2::254", "fd20:ce::254"};

bool is_host_name(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  std::size_t label = 0;
  for (const char c : text) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      continue;
    }
    const bool good =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!good || ++label > 63) return false;
  }
  return true;
}

struct Ports {
  std::uint16_t low, high;
};
std::expected<std::vector<Ports>, GrammarError> parse_ports(std::string_view text) {
  if (text.empty() || text == "*") return std::vector<Ports>{{0, 65535}};
  std::vector<Ports> ports;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const std::size_t dash = item.find('-');
    const auto number = [&](std::string_view digits, int& out) {
      const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
      return problem == std::errc{} && end == digits.data() + digits.size() && out >= 0 && out <= 65535;
    };
    int low = 0;
    int high = 0;
    if (!number(item.substr(0, dash), low))
      return error("SBX-V134", "\"" + std::string(item) + "\" is no port",
                   "0 to 65535, ranges as 8000-8080, lists as 80,443");
    high = low;
    if (dash != std::string_view::npos && (!number(item.substr(dash + 1), high) || high < low)) {
      return error("SBX-V134", "\"" + std::string(item) + "\" is no range of ports", "for example 8000-8080");
    }
    ports.push_back({static_cast<std::uint16_t>(low), static_cast<std::uint16_t>(high)});
    if (comma == std::string_view::npos) return ports;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

std::expected<std::vector<NetPattern>, GrammarError> net_patterns(std::string_view scope,
                                                                  std::string& warning) {
  const std::string whole(scope);
  NetPattern base;
  base.transport = Transport::Tcp;
  if (scope.starts_with("tcp/")) scope.remove_prefix(4);
  if (scope.starts_with("udp/")) {
    base.transport = Transport::Udp;
    scope.remove_prefix(4);
  }
  std::string_view host = scope;
  std::string_view port_text;
  std::string network_text;
  if (scope.starts_with('[')) {
    const std::size_t close = scope.find(']');
    if (close == std::string_view::npos)
      return error("SBX-V130", "\"[\" without \"]\" in \"" + whole + "\"",
                   "IPv6 addresses stand in brackets: [::1]:443");
    host = scope.substr(1, close - 1);
    std::string_view rest = scope.substr(close + 1);
    if (host.find(':') == std::string_view::npos)
      return error("SBX-V131", "\"" + std::string(host) + "\" is no IPv6 address",
                   "brackets are for IPv6 alone: [::1]:443");
    if (rest.starts_with('/')) {  // [fd00::]/8
      const std::size_t colon = rest.find(':');
      network_text = std::string(host) + std::string(rest.substr(0, colon));
      host = network_text;
      rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon);
    }
    if (rest.empty()) {
      // all ports
    } else if (rest.starts_with(':') && rest.size() > 1) {
      port_text = rest.substr(1);
    } else if (rest == ":") {
      return error("SBX-V134", "\"" + whole + "\" ends in a colon", "name a port, or leave the colon out");
    } else {
      return error("SBX-V130", "\"" + whole + "\" has something between the address and the port",
                   "[::1]:443");
    }
  } else if (std::count(scope.begin(), scope.end(), ':') == 1) {
    const std::size_t colon = scope.find(':');
    host = scope.substr(0, colon);
    port_text = scope.substr(colon + 1);
    if (port_text.empty())
      return error("SBX-V134", "\"" + whole + "\" ends in a colon", "name a port, or leave the colon out");
  } else if (scope.find(':') != std::string_view::npos && scope.find('/') == std::string_view::npos) {
    // "2001:db8::1:443" would be an address of its own: nobody means that.
    return error("SBX-V130", "\"" + whole + "\" is an IPv6 address without brackets",
                 "[" + std::string(scope) + "], or [address]:port");
  }
  auto ports = parse_ports(port_text);
  if (!ports) return std::unexpected(ports.error());

  std::vector<NetPattern> hosts;
  const auto add_network = [&](std::string_view text) -> std::expected<void, GrammarError> {
    const auto network = parse_network(text);
    if (!network) return std::unexpected(network.error());
    for (const Network& part : without_mapped(*network)) {
      NetPattern pattern = base;
      pattern.network = part.address;
      pattern.prefix_bits = part.bits;
      hosts.push_back(pattern);
    }
    return {};
  };
  const auto add_all = [&](std::span<const char* const> list) {
    for (const char* text : list) (void)add_network(text);
  };
  if (host == "*") {
    hosts.push_back(base);
  } else if (host == "@loopback") {
    add_all(kLoopback);
  } else if (host == "@private") {
    add_all(kPrivate);
  } else if (host == "@metadata") {
    add_all(kMetadata);
  } else if (host.starts_with('@')) {
    const std::string near = nearest_word(host, {"@loopback", "@private", "@metadata"});
    return error("SBX-V135", "there is no group \"" + std::string(host) + "\"",
                 near.empty() ? "@loopback, @private, @metadata" : "did you mean \"" + near + "\"?");
  } else if (host.find('/') != std::string_view::npos || host.find(':') != std::string_view::npos ||
             (!host.empty() && host.find_first_not_of("0123456789.") == std::string_view::npos)) {
    if (auto added = add_network(host); !added) return std::unexpected(added.error());
  } else {
    std::string_view name = host;
    const bool subdomains = name.starts_with("*.");
    if (subdomains || name.starts_with('.')) {
      // "*.com" would be half the world.
      const std::string_view domain = name.substr(subdomains ? 2 : 1);
      if (is_host_name(domain) && domain.substr(0, domain.size() - 1).find('.') == std::string_view::npos)
        return error("SBX-V136", "\"" + std::string(host) + "\" is not below a domain of two parts or more",
                     "*.example.com, .example.com, or the name itself");
    }
    if (subdomains) {
      warning = "\"" + std::string(host) +
                "\" matches nothing in this version: the supervisor cannot know every name below a domain";
      name.remove_prefix(2);
      if (!is_host_name(name)) return error("SBX-V136", "\"" + std::string(host) + "\" is no host name", "");
      return std::vector<NetPattern>{};
    }
    if (name.starts_with('.')) {
      name.remove_prefix(1);
      warning = "\"" + std::string(host) + "\" matches \"" + std::string(name) +
                "\" alone in this version: the supervisor cannot know every name below it";
    }
    if (!is_host_name(name))
      return error("SBX-V136", "\"" + std::string(host) + "\" is no host name or address",
                   "HOST[:PORTS], for example api.example.com:443 or 10.0.0.0/8:5432");
    NetPattern pattern = base;
    pattern.host = std::string(name);
    std::transform(pattern.host.begin(), pattern.host.end(), pattern.host.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    hosts.push_back(pattern);
  }
  std::vector<NetPattern> patterns;
  for (const NetPattern& pattern : hosts) {
    for (const Ports& range : *ports) {
      patterns.push_back(pattern);
      patterns.back().port_low = range.low;
      patterns.back().port_high = range.high;
    }
  }
  return patterns;
}

std::expected<std::vector<std::string>, GrammarError> module_patterns(std::string_view match,
                                                                      const Variables& variables,
                                                                      std::vector<std::string>& stand_ins) {
  const auto text = expand_variables(match, variables, Quoting::Pattern, stand_ins);
  if (!text) return std::unexpected(text.error());
  auto expanded = expand_braces(*text);
  if (!expanded) return std::unexpected(expanded.error());
  for (std::string& pattern : *expanded) {
    const auto matches_nothing = [&](const char* why, std::string hint) {
      return error("SBX-V140", "\"" + pattern + "\" matches no module: " + why, std::move(hint));
    };
    if (has_open_class(pattern)) return open_class(pattern);
    // "." and "//" are in no path that the kernel tells.
    std::string clean;
    for (std::size_t at = 0; at <= pattern.size();) {
      const std::size_t end = std::min(pattern.find('/', at), pattern.size());
      const std::string part = pattern.substr(at, end - at);
      if (part == "..")
        return error("SBX-V127", "\"..\" in the pattern \"" + pattern + "\"", "write the path that is meant");
      const bool is_noise = (part.empty() && at != 0 && end != pattern.size()) || part == ".";
      if (!is_noise) clean += part + (end < pattern.size() ? "/" : "");
      at = end + 1;
    }
    if (clean.empty() || clean == "/")
      return matches_nothing("it names none", "*/libfoo.so*, or /usr/lib/**");
    if (clean.ends_with('/'))
      return matches_nothing("a module is a file, and this a directory", clean + "**, for all that is in it");
    if (clean.size() > kLongestPattern)
      return error("SBX-V118", "a pattern of " + std::to_string(clean.size()) + " bytes", "at most 4096");
    if (clean.find('/') != std::string::npos &&
        std::string_view("/*?[").find(clean[0]) == std::string_view::npos)
      return matches_nothing("it is compared with the whole path, which begins with \"/\"", "*/" + clean);
    pattern = std::move(clean);
  }
  return expanded;
}

std::expected<Scope, GrammarError> read_scope(const Grant& grant, const Variables& variables) {
  Scope scope;
  const auto name_error = [&](const char* hint) {
    return error("SBX-V115", "\"" + grant.scope + "\" cannot be matched", hint);
  };
  const auto is_path = [](std::string_view text) { return text.starts_with('/') || text.starts_with("**/"); };
  switch (grant.kind) {
    case GrantClass::Later:
      return scope;
    case GrantClass::Env:
      if (is_path(grant.scope) || grant.scope.find_first_of("=:{}$ ") != std::string::npos)
        return name_error("the name of one variable, or a glob over names: LC_*");
      if (has_open_class(grant.scope)) return open_class(grant.scope);
      scope.paths = {grant.scope};
      break;
    case GrantClass::Signal:
      if (grant.scope.find_first_not_of("0123456789*?[]-!") != std::string::npos)
        return name_error("* or the number of a process");
      if (has_open_class(grant.scope)) return open_class(grant.scope);
      scope.paths = {grant.scope};
      break;
    case GrantClass::Net: {
      const auto text = expand_variables(grant.scope, variables, Quoting::Plain, scope.stand_ins);
      if (!text) return std::unexpected(text.error());
      scope.names_transport = text->starts_with("tcp/") || text->starts_with("udp/");
      auto nets = net_patterns(*text, scope.warning);
      if (!nets) return std::unexpected(nets.error());
      scope.nets = std::move(*nets);
      break;
    }
    case GrantClass::Unix:
    case GrantClass::File:
    case GrantClass::Exec: {
      const auto text = expand_variables(grant.scope, variables, Quoting::Pattern, scope.stand_ins);
      if (!text) return std::unexpected(text.error());
      if (grant.kind == GrantClass::Unix && (*text == "*" || text->starts_with('@'))) {
        scope.paths = {*text};
        break;
      }
      auto paths = path_patterns(*text);
      if (!paths) return std::unexpected(paths.error());
      scope.paths = std::move(*paths);
      break;
    }
  }
  for (const checker::PathPattern& pattern : scope.paths) {
    if (pattern.size() > kLongestPattern)
      return error("SBX-V118", "a scope of " + std::to_string(pattern.size()) + " bytes", "at most 4096");
  }
  return scope;
}

}  // namespace secbox::manifest
