#include "tests/fuzz/manifest_reader.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <vector>

#include "manifest/compile.h"
#include "manifest/load.h"
#include "supervisor/audit/json_text.h"
#include "supervisor/checker/decide.h"
#include "tests/fuzz/require.h"

namespace secbox::fuzz {

namespace {

using manifest::Node;

class NoLinks final : public manifest::LinkReader {
 public:
  std::optional<std::string> read_link(const std::string& path) override {
    if (path == "/link") return "/target";
    if (path == "/loop") return "loop";
    return std::nullopt;
  }
};

// RFC 8259, section 6, and written as our own reader writes it back: "1", "-1.5", not "01", "+1", "-0",
// "1E5".
bool is_plain_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 15 || (text[0] == '0' && digits > 1) || text == "0")
    return text == "0" && digits == 1;
  if (digits == text.size()) return true;
  const std::string_view fraction = text.substr(digits + 1);
  return text[digits] == '.' && !fraction.empty() && fraction.size() < 15 &&
         fraction.find_first_not_of("0123456789") == std::string_view::npos;
}

// The tree as plain JSON. False where it holds a number that JSON has no such spelling for.
bool append_json(const Node& node, std::string& out) {
  switch (node.kind) {
    case Node::Kind::Null:
      out += "null";
      return true;
    case Node::Kind::Bool:
      out += node.text;
      return true;
    case Node::Kind::Number:
      out += node.text;
      return is_plain_number(node.text);
    case Node::Kind::String:
      out += '"';
      require(audit::append_json_text(out, node.text), "every text is UTF-8");
      out += '"';
      return true;
    case Node::Kind::Array: {
      out += '[';
      for (const Node& item : node.items) {
        if (&item != &node.items.front()) out += ',';
        if (!append_json(item, out)) return false;
      }
      out += ']';
      return true;
    }
    case Node::Kind::Object: {
      out += '{';
      for (const auto& member : node.members) {
        if (&member != &node.members.front()) out += ',';
        out += '"';
        require(audit::append_json_text(out, member.first), "every key is UTF-8");
        out += "\":";
        if (!append_json(member.second, out)) return false;
      }
      out += '}';
      return true;
    }
  }
  return false;
}

int depth_of(const Node& node) {
  int deepest = 0;
  for (const Node& item : node.items) deepest = std::max(deepest, depth_of(item));
  for (const auto& member : node.members) deepest = std::max(deepest, depth_of(member.second));
  return deepest + 1;
}

bool same(const Node& a, const Node& b) {
  return a.kind == b.kind && a.text == b.text && std::ranges::equal(a.items, b.items, same) &&
         std::ranges::equal(a.members, b.members, [](const auto& x, const auto& y) {
           return x.first == y.first && same(x.second, y.second);
         });
}

bool same_net(const checker::NetPattern& a, const checker::NetPattern& b) {
  return a.transport == b.transport && a.network == b.network && a.prefix_bits == b.prefix_bits &&
         a.port_low == b.port_low && a.port_high == b.port_high && a.host == b.host;
}

// In all but where it was written.
bool same_rule(const checker::Rule& a, const checker::Rule& b) {
  return a.id == b.id && a.effect == b.effect && a.layer == b.layer && a.verbs == b.verbs &&
         a.paths == b.paths && a.except_paths == b.except_paths && a.reason == b.reason &&
         std::ranges::equal(a.nets, b.nets, same_net) &&
         std::ranges::equal(a.except_nets, b.except_nets, same_net);
}

bool same_module(const checker::ModuleRule& a, const checker::ModuleRule& b) {
  return a.text == b.text && a.match == b.match && std::ranges::equal(a.deny, b.deny, same_rule);
}

void require_positions(const Node& node, int lines) {
  require(node.line >= 0 && node.line <= lines && node.column >= 0, "a position inside of the file");
  for (const Node& item : node.items) require_positions(item, lines);
  for (const auto& member : node.members) require_positions(member.second, lines);
}

// nullopt: not to be written as JSON.
std::optional<std::string> check_document(manifest::Format format, std::string_view text) {
  manifest::Diagnostics diagnostics;
  const auto root = manifest::parse_document(format, text, "fuzz", diagnostics);
  require(root.has_value() != diagnostics.has_errors(), "a document, or errors");
  if (!root) return std::nullopt;
  require_positions(*root, 1 + static_cast<int>(std::ranges::count(text, '\n')) +
                               static_cast<int>(std::ranges::count(text, '\r')));
  std::string plain;
  if (!append_json(*root, plain) || depth_of(*root) >= manifest::kMaxDepth) return std::nullopt;
  const auto again = manifest::parse_document(manifest::Format::Json, plain, "plain", diagnostics);
  require(again.has_value(), "plain JSON is read");
  require(same(*root, *again), "and is the same document");
  return plain;
}

struct Compiled {
  std::vector<checker::Rule> rules;
  std::vector<checker::ModuleRule> modules;
};

std::optional<Compiled> check_load(manifest::Format format, std::string_view text) {
  const manifest::Loaded loaded = manifest::load_manifest_text(text, format, "fuzz");
  require(loaded.manifest.has_value() != loaded.diagnostics.has_errors(), "a manifest, or errors");
  if (!loaded.manifest) return std::nullopt;
  NoLinks links;
  manifest::CompileOptions options;
  options.variables = {
      .home = "/home/[a]*", .cwd = "/c", .tmp = "/tmp/t", .plugin_dir = "/p", .plugin_data = "", .host = {}};
  options.links = &links;
  manifest::Diagnostics diagnostics;
  Compiled compiled;
  compiled.rules = manifest::compile(*loaded.manifest, options, diagnostics);
  compiled.modules = manifest::compile_modules(*loaded.manifest, options, compiled.rules, diagnostics);
  if (diagnostics.has_errors()) return std::nullopt;
  return compiled;
}

}  // namespace

void check_manifest(manifest::Format format, std::string_view text) {
  const auto plain = check_document(format, text);
  const auto compiled = check_load(format, text);
  if (plain) {
    const auto again = check_load(manifest::Format::Json, *plain);
    require(compiled.has_value() == again.has_value(), "right or wrong in any format");
    if (compiled) {
      require(std::ranges::equal(compiled->rules, again->rules, same_rule), "and it grants the same");
      require(std::ranges::equal(compiled->modules, again->modules, same_module), "and denies the same");
    }
  }
  if (!compiled) return;

  const auto modules = checker::ModuleRules::make(compiled->modules);
  require(modules.has_value(), "what compiles without an error can be looked up");
  for (const char* module : {"", "libfoo.so", "/usr/lib/libfoo.so.1"}) {
    const auto denied = modules->denies(
        module,
        {.verbs = checker::Verb::FileRead, .as_written = "/etc/x", .resolved = "/etc/x", .endpoint = {}});
    require(!denied || (!denied->allowed() && denied->rule() != nullptr),
            "a module is denied, never allowed");
  }
  const auto ruleset = checker::Ruleset::make(compiled->rules);
  require(ruleset.has_value(), "what compiles without an error is a ruleset");
  // Spellings that no grant may ever cover.
  for (const char* path : {"", "relative", "/a/../b", "/.."}) {
    const auto decision = checker::decide(
        *ruleset, {.verbs = checker::Verb::FileRead, .as_written = path, .resolved = path, .endpoint = {}});
    require(!decision.allowed(), "only absolute, folded paths are granted");
  }
}

}  // namespace secbox::fuzz
