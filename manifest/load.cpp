#include "manifest/load.h"

#include <algorithm>

#include "manifest/grammar.h"
#include "manifest/limit_words.h"
#include "manifest/preset.h"

namespace secbox::manifest {

namespace {

// One code point of UTF-8 (the document is valid), or nullopt at the end.
std::optional<char32_t> next_character(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t code = length == 1 ? lead : lead & (0x7fU >> length);
  for (std::size_t i = 1; i < std::min(length, text.size()); ++i)
    code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3fU);
  text.remove_prefix(std::min(length, text.size()));
  return code;
}

// Characters that make text look like something else: controls, those that reorder what is read, and those
// that are not seen at all (Unicode TR 36).
bool is_deceptive(std::string_view text) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {{0x00, 0x1f},     {0x7f, 0x9f},      {0xad, 0xad},
                                                       {0x61c, 0x61c},   {0x180e, 0x180e},  {0x200b, 0x200f},
                                                       {0x2028, 0x202e}, {0x2060, 0x206f},  {0xfeff, 0xfeff},
                                                       {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
  while (const auto code = next_character(text)) {
    for (const auto& [first, last] : kRanges) {
      if (*code >= first && *code <= last) return true;
    }
  }
  return false;
}

class Reader {
 public:
  Reader(const std::string& file, Diagnostics& diagnostics) : diagnostics_(diagnostics) {
    manifest_.file = file;
  }

  Manifest read(const Node& root) {
    if (root.kind != Node::Kind::Object) {
      problem(root, "", "SBX-V104", "a manifest is an object, not " + std::string(root.kind_name()),
              "secbox schema manifest prints its form");
      return manifest_;
    }
    check_keys(root, "",
               {"$schema", "id", "name", "version", "type", "description", "entry_point", "protocol",
                "presets", "permissions", "registers", "limits", "timeouts", "env", "modules"});
    read_schema(root);
    read_text(root, "id", manifest_.id);
    read_text(root, "name", manifest_.name);
    read_text(root, "version", manifest_.version);
    read_text(root, "type", manifest_.type);
    read_text(root, "description", manifest_.description);
    read_protocol(root);
    if (root.find("id") == nullptr && root.find("name") == nullptr) {
      problem(root, "", "SBX-V107", "the manifest names no plugin", "add \"id\" or \"name\"");
    }
    for (const char* key : {"id", "name"}) {
      const Node* node = root.find(key);
      if (node != nullptr && node->kind == Node::Kind::String && node->text.empty())
        problem(*node, std::string("/") + key, "SBX-V107", std::string("\"") + key + "\" is empty",
                "name the plugin, or leave it out");
    }
    if (const Node* entry = root.find("entry_point")) read_entry_point(*entry);
    if (const Node* presets = root.find("presets")) read_presets(*presets);
    if (const Node* permissions = root.find("permissions")) read_permissions(*permissions);
    if (const Node* env = root.find("env")) read_env(*env);
    if (const Node* modules = root.find("modules")) read_modules(*modules);
    read_limits(root);
    if (const Node* registers = root.find("registers")) read_registers(*registers);
    return manifest_;
  }

 private:
  void problem(const Node& node, const std::string& pointer, const char* code, const std::string& message,
               const std::string& hint) {
    if (++problems_ > kMostProblems) return;
    if (problems_ == kMostProblems) {
      diagnostics_.all.push_back({Severity::Error, "SBX-V104", "too many problems: the rest is not listed",
                                  manifest_.file, node.line, node.column, pointer, "mend these first"});
      return;
    }
    diagnostics_.all.push_back(
        {Severity::Error, code, message, manifest_.file, node.line, node.column, pointer, hint});
  }

  void warn(const Node& node, const std::string& pointer, const char* code, const std::string& message,
            const std::string& hint) {
    diagnostics_.all.push_back(
        {Severity::Warning, code, message, manifest_.file, node.line, node.column, pointer, hint});
  }

  // RFC 6901: "~" and "/" of a key are written "~0" and "~1".
  static std::string escape_pointer(std::string_view key) {
    std::string out;
    for (const char c : key) {
      if (c == '~') {
        out += "~0";
      } else if (c == '/') {
        out += "~1";
      } else {
        out += c;
      }
    }
    return out;
  }

  // `hint_for` has the hint for a key that is no mere slip, or "".
  void check_keys(
      const Node& object, const std::string& pointer, const std::vector<std::string_view>& known,
      const char* (*hint_for)(std::string_view) = [](std::string_view) { return ""; }) {
    for (const auto& [key, value] : object.members) {
      if (key.starts_with("x-") || std::find(known.begin(), known.end(), key) != known.end()) continue;
      const std::string near = nearest_word(key, known);
      std::string list;
      for (const std::string_view word : known) list += (list.empty() ? "" : ", ") + std::string(word);
      const std::string hint = hint_for(key);
      problem(value, pointer + "/" + escape_pointer(key), "SBX-V106", "unknown key \"" + key + "\"",
              !hint.empty()  ? hint
              : near.empty() ? "known here: " + list + "; keys that begin with x- are ignored"
                             : "did you mean \"" + near + "\"?");
    }
  }

  bool expect(const Node& node, Node::Kind kind, const std::string& pointer, const char* what) {
    if (node.kind == kind) return true;
    problem(node, pointer, "SBX-V105",
            "this is " + std::string(node.kind_name()) + ", where " + what + " belongs", "");
    return false;
  }

  void read_schema(const Node& root) {
    const Node* schema = root.find("$schema");
    if (schema == nullptr || !expect(*schema, Node::Kind::String, "/$schema", "a string")) return;
    if (schema->text != "urn:secbox:schema:manifest:1") {
      problem(*schema, "/$schema", "SBX-V109", "unknown schema \"" + schema->text + "\"",
              "this version reads urn:secbox:schema:manifest:1");
    }
  }

  void read_text(const Node& root, const char* key, std::string& out) {
    const Node* node = root.find(key);
    if (node == nullptr) return;
    const std::string pointer = std::string("/") + key;
    // "version: 1.2" in YAML is a number; it is meant as text.
    if (node->kind == Node::Kind::Number && std::string_view(key) == "version") {
      out = node->text;
      return;
    }
    if (!expect(*node, Node::Kind::String, pointer, "a string")) return;
    if (is_deceptive(node->text)) {
      problem(*node, pointer, "SBX-V110",
              std::string("\"") + key + "\" holds control or direction characters", "write plain text");
      return;
    }
    if (node->text.size() > 4096) {
      problem(*node, pointer, "SBX-V110", std::string("\"") + key + "\" is too long", "at most 4096 bytes");
      return;
    }
    out = node->text;
  }

  // What is shown to people, and is run as they read it.
  bool is_plain(const Node& word, const std::string& pointer) {
    if (!is_deceptive(word.text)) return true;
    problem(word, pointer, "SBX-V110", "a word may not hold control or direction characters",
            "put a script into a file of its own");
    return false;
  }

  std::vector<std::string> read_words(const Node& node, const std::string& pointer) {
    std::vector<std::string> words;
    if (!expect(node, Node::Kind::Array, pointer, "a list of strings")) return words;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Node& item = node.items[i];
      const std::string where = pointer + "/" + std::to_string(i);
      if (expect(item, Node::Kind::String, where, "a string") && is_plain(item, where))
        words.push_back(item.text);
    }
    return words;
  }

  void read_entry_point(const Node& node) {
    const bool one_word = node.kind == Node::Kind::String;
    if (node.kind == Node::Kind::Array || one_word) {
      const Node* program = one_word ? &node : node.items.empty() ? nullptr : &node.items.front();
      if (program == nullptr || (program->kind == Node::Kind::String && program->text.empty()))
        problem(node, "/entry_point", "SBX-V107", "\"entry_point\" names no program",
                "[\"python3\", \"main.py\"], or leave it out");
    }
    if (!one_word) {
      manifest_.entry_point = read_words(node, "/entry_point");
    } else if (is_plain(node, "/entry_point")) {
      manifest_.entry_point = {node.text};
    }
  }

  void read_protocol(const Node& root) {
    const Node* node = root.find("protocol");
    if (node == nullptr || !expect(*node, Node::Kind::String, "/protocol", "a string")) return;
    const std::vector<std::string_view> known{"none", "jsonrpc-stdio", "jsonrpc-socket", "mcp-stdio"};
    if (std::ranges::find(known, node->text) == known.end()) {
      const std::string near = nearest_word(node->text, known);
      problem(*node, "/protocol", "SBX-V119", "there is no protocol \"" + node->text + "\"",
              near.empty() ? "none, jsonrpc-stdio, jsonrpc-socket or mcp-stdio"
                           : "did you mean \"" + near + "\"?");
    }
    manifest_.protocol = node->text;
  }

  void read_presets(const Node& node) {
    manifest_.presets.clear();
    if (!expect(node, Node::Kind::Array, "/presets", "a list of names")) return;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Node& item = node.items[i];
      const std::string pointer = "/presets/" + std::to_string(i);
      if (!expect(item, Node::Kind::String, pointer, "a string")) continue;
      if (std::find(std::begin(kPresetNames), std::end(kPresetNames), item.text) == std::end(kPresetNames)) {
        const std::string near = nearest_word(item.text, {std::begin(kPresetNames), std::end(kPresetNames)});
        problem(item, pointer, "SBX-V108", "there is no preset \"" + item.text + "\"",
                near.empty() ? "secbox preset list names them" : "did you mean \"" + near + "\"?");
        continue;
      }
      manifest_.presets.push_back(item.text);
    }
  }

  // Read for its form alone: nothing registers in this version.
  void read_registers(const Node& node) {
    if (!expect(node, Node::Kind::Object, "/registers", "an object of lists")) return;
    check_keys(node, "/registers", {"tools", "channels", "commands", "services", "hooks"});
    for (const auto& [key, value] : node.members) {
      if (!key.starts_with("x-")) (void)read_words(value, "/registers/" + escape_pointer(key));
    }
  }

  checker::Source source_of(const Node& node, const std::string& pointer, const std::string& text) {
    return {.file = manifest_.file, .line = node.line, .pointer = pointer, .text = text};
  }

  // All that can be said before the variables of a run are known, so that everything is reported at once.
  void check_grammar(const Node& node, const std::string& pointer, const std::string& text) {
    if (is_deceptive(text)) {
      // The denial messages propose no such grant either: what is approved must be what is read.
      problem(node, pointer, "SBX-V110", "a permission may not hold control or direction characters",
              "grant a directory above it, or match the character with ?");
      return;
    }
    const auto grant = parse_grant(text);
    if (!grant) {
      problem(node, pointer, grant.error().code.c_str(), grant.error().message, grant.error().hint);
      return;
    }
    if (!grant->not_enforced.empty()) {
      warn(node, pointer, "SBX-V190",
           "\"" + grant->not_enforced + "\" is not enforced by this version: it grants nothing",
           "file, net, exec, env, ipc and signal are");
    }
    if (const auto scope = read_scope(*grant, stand_in_variables()); !scope) {
      problem(node, pointer, scope.error().code.c_str(), scope.error().message, scope.error().hint);
    }
  }

  void check_except(const Node& node, const std::string& pointer, const Entry& base, const Entry& entry) {
    const auto use = parse_grant(base.use);
    const auto except = parse_grant(entry.use);
    if (!use || !except) return;  // reported already
    if (const auto fits = check_exception(*use, *except); !fits)
      problem(node, pointer, fits.error().code.c_str(), fits.error().message, fits.error().hint);
  }

  // "file:read:..." or {use, except, reason}. `base` is set for the entries of an "except" list.
  std::optional<Entry> read_entry(const Node& node, const std::string& pointer, const Entry* base) {
    Entry entry;
    if (node.kind == Node::Kind::String) {
      entry.use = node.text;
    } else if (node.kind == Node::Kind::Object && base == nullptr) {
      check_keys(node, pointer, {"use", "except", "reason"});
      const Node* use = node.find("use");
      if (use == nullptr) {
        problem(node, pointer, "SBX-V107", "an entry without \"use\"",
                "{\"use\": \"file:read:/srv/**\", \"reason\": \"...\"}");
        return std::nullopt;
      }
      if (!expect(*use, Node::Kind::String, pointer + "/use", "a string")) return std::nullopt;
      entry.use = use->text;
      if (const Node* reason = node.find("reason");
          reason != nullptr && expect(*reason, Node::Kind::String, pointer + "/reason", "a string")) {
        if (is_deceptive(reason->text)) {
          problem(*reason, pointer + "/reason", "SBX-V110",
                  "\"reason\" holds control or direction characters", "write plain text");
        } else {
          entry.reason = reason->text;
        }
      }
    } else {
      problem(node, pointer, "SBX-V105",
              "this is " + std::string(node.kind_name()) + ", where a permission belongs",
              "\"file:read:/srv/**\"");
      return std::nullopt;
    }
    if (base != nullptr && !begins_with_class(entry.use)) {
      // A bare scope: of the same class and verbs.
      const std::size_t second = base->use.find(':', base->use.find(':') + 1);
      if (second != std::string::npos) entry.use = base->use.substr(0, second + 1) + entry.use;
    }
    entry.source = source_of(node, pointer, entry.use);
    entry.column = node.column;
    check_grammar(node, pointer, entry.use);
    if (base != nullptr) check_except(node, pointer, *base, entry);
    if (const Node* except = node.find("except"); node.kind == Node::Kind::Object && except != nullptr) {
      if (expect(*except, Node::Kind::Array, pointer + "/except", "a list")) {
        for (std::size_t i = 0; i < except->items.size(); ++i) {
          if (auto item = read_entry(except->items[i], pointer + "/except/" + std::to_string(i), &entry))
            entry.except.push_back(std::move(*item));
        }
      }
    }
    return entry;
  }

  void read_entries(const Node& object, const char* key, std::vector<Entry>& out) {
    const Node* list = object.find(key);
    if (list == nullptr) return;
    const std::string pointer = std::string("/permissions/") + key;
    if (!expect(*list, Node::Kind::Array, pointer, "a list of permissions")) return;
    for (std::size_t i = 0; i < list->items.size(); ++i) {
      if (auto entry = read_entry(list->items[i], pointer + "/" + std::to_string(i), nullptr))
        out.push_back(std::move(*entry));
    }
  }

  void read_permissions(const Node& node) {
    if (!expect(node, Node::Kind::Object, "/permissions", "an object with required, optional, deny")) return;
    check_keys(node, "/permissions", {"required", "optional", "deny"});
    read_entries(node, "required", manifest_.required);
    read_entries(node, "optional", manifest_.optional);
    read_entries(node, "deny", manifest_.deny);
  }

  void read_env(const Node& node) {
    if (!expect(node, Node::Kind::Object, "/env", "an object with allow and deny")) return;
    check_keys(node, "/env", {"allow", "deny"});
    for (const auto& [key, out] :
         {std::pair{"allow", &manifest_.env_allow}, std::pair{"deny", &manifest_.env_deny}}) {
      const Node* list = node.find(key);
      const std::string pointer = std::string("/env/") + key;
      if (list == nullptr || !expect(*list, Node::Kind::Array, pointer, "a list of names")) continue;
      for (std::size_t i = 0; i < list->items.size(); ++i) {
        const Node& item = list->items[i];
        const std::string where = pointer + "/" + std::to_string(i);
        if (!expect(item, Node::Kind::String, where, "a name")) continue;
        if (item.text.empty() || is_deceptive(item.text)) {
          problem(item, where, "SBX-V115", "\"" + item.text + "\" is no variable's name",
                  "a name or a glob, for example LC_*");
          continue;
        }
        check_grammar(item, where, "env:read:" + item.text);
        out->push_back({.use = item.text,
                        .except = {},
                        .reason = {},
                        .source = source_of(item, where, "env:read:" + item.text),
                        .column = item.column});
      }
    }
  }

  static const char* hint_for_module_key(std::string_view key) {
    for (const std::string_view grants : {"allow", "permissions", "required", "optional", "env", "use"}) {
      if (key == grants)
        return "rules by module never widen: an entry has \"match\", \"deny\" and \"reason\" alone";
    }
    return "";
  }

  void read_modules(const Node& node) {
    if (!expect(node, Node::Kind::Array, "/modules", "a list of objects")) return;
    for (std::size_t i = 0; i < node.items.size(); ++i)
      read_module(node.items[i], "/modules/" + std::to_string(i));
  }

  void read_module(const Node& node, const std::string& pointer) {
    if (!expect(node, Node::Kind::Object, pointer, "an object with match and deny")) return;
    check_keys(node, pointer, {"match", "deny", "reason"}, hint_for_module_key);
    for (const char* key : {"match", "deny"}) {
      if (node.find(key) == nullptr)
        problem(node, pointer, "SBX-V107", "a rule by module without \"" + std::string(key) + "\"",
                R"({"match": "*/libfoo.so*", "deny": ["net:connect:*"], "reason": "..."})");
    }
    ModuleEntry module;
    if (const Node* match = node.find("match")) read_match(*match, pointer + "/match", module.match);
    const Node* deny = node.find("deny");
    if (deny != nullptr && expect(*deny, Node::Kind::Array, pointer + "/deny", "a list of permissions")) {
      if (deny->items.empty())
        warn(*deny, pointer + "/deny", "SBX-V206", "this denies nothing", "name what the module may not do");
      for (std::size_t i = 0; i < deny->items.size(); ++i)
        read_module_denial(deny->items[i], pointer + "/deny/" + std::to_string(i), module.deny);
    }
    const Node* reason = node.find("reason");
    if (reason != nullptr && expect(*reason, Node::Kind::String, pointer + "/reason", "a string") &&
        is_plain(*reason, pointer + "/reason")) {
      for (Entry& entry : module.deny) {
        if (entry.reason.empty()) entry.reason = reason->text;
      }
    }
    manifest_.modules.push_back(std::move(module));
  }

  void read_match(const Node& node, const std::string& pointer, Entry& match) {
    if (!expect(node, Node::Kind::String, pointer, "a pattern") || !is_plain(node, pointer)) return;
    match.use = node.text;
    match.source = source_of(node, pointer, node.text);
    match.column = node.column;
    std::vector<std::string> stand_ins;
    if (const auto patterns = module_patterns(node.text, stand_in_variables(), stand_ins); !patterns)
      problem(node, pointer, patterns.error().code.c_str(), patterns.error().message, patterns.error().hint);
  }

  void read_module_denial(const Node& node, const std::string& pointer, std::vector<Entry>& out) {
    auto entry = read_entry(node, pointer, nullptr);
    if (!entry) return;
    if (const auto grant = parse_grant(entry->use); grant && grant->kind == GrantClass::Env) {
      problem(node, pointer, "SBX-V142",
              "\"" + entry->use +
                  "\": the environment is one for all modules, and filled before any of them runs",
              "deny it for the plugin, in env.deny");
    }
    out.push_back(std::move(*entry));
  }

  void read_limits(const Node& root) {
    for (const char* group : {"limits", "timeouts"}) {
      const Node* node = root.find(group);
      if (node == nullptr) continue;
      const std::string pointer = std::string("/") + group;
      if (node->kind == Node::Kind::Null && std::string_view(group) == "limits") {
        manifest_.limits = Limits::none();
        for (const std::string_view name : limit_names(group))
          manifest_.limits_set.insert("limits/" + std::string(name));
        continue;
      }
      if (!expect(*node, Node::Kind::Object, pointer,
                  std::string_view(group) == "limits" ? "an object, or null for none" : "an object"))
        continue;
      const auto& names = limit_names(group);
      check_keys(*node, pointer, {names.begin(), names.end()});
      for (const std::string_view name : names) {
        const Node* entry = node->find(name);
        if (entry != nullptr) read_limit(group, name, *entry, pointer);
      }
    }
  }

  void read_limit(std::string_view group, std::string_view name, const Node& node,
                  const std::string& pointer) {
    const bool scalar = node.kind == Node::Kind::Number || node.kind == Node::Kind::String;
    std::optional<std::string_view> value;
    if (node.kind != Node::Kind::Null) value = scalar ? std::string_view(node.text) : std::string_view();
    std::string hint;
    if (!set_limit(group, name, value, manifest_.limits, manifest_.timeouts, hint)) {
      problem(node, pointer + "/" + std::string(name), "SBX-V116",
              "\"" + node.text + "\" cannot be read here", hint);
      return;
    }
    manifest_.limits_set.insert(std::string(group) + "/" + std::string(name));
    if (value && (name == "hook" || name == "heartbeat")) {
      warn(node, pointer + "/" + std::string(name), "SBX-V193",
           "\"" + std::string(name) + "\" is read, and not enforced by this version", "timeouts.run is");
    }
  }

  static constexpr int kMostProblems = 200;
  Diagnostics& diagnostics_;
  Manifest manifest_;
  int problems_ = 0;
};

void read_model(Node root, const std::string& file, const TranslateOptions& options, Loaded& loaded) {
  loaded.dialect = dialect_of(file, root);
  const bool foreign = loaded.dialect != Dialect::Native;
  if (foreign) {
    Translation translation = translate(loaded.dialect, root, file, options, loaded.diagnostics);
    root = std::move(translation.native);
    loaded.enabled = translation.enabled;
  }
  Manifest manifest = Reader(file, loaded.diagnostics).read(root);
  if (foreign) {
    // Pointers go into the native tree: nobody has written that.
    for (Diagnostic& d : loaded.diagnostics.all) d.pointer.clear();
  }
  if (loaded.diagnostics.has_errors()) return;
  loaded.manifest = std::move(manifest);
  loaded.native = std::move(root);
}

}  // namespace

Loaded load_manifest_file(const std::string& path, const TranslateOptions& options) {
  Loaded loaded;
  if (auto root = read_document(path, loaded.text, loaded.diagnostics))
    read_model(std::move(*root), path, options, loaded);
  return loaded;
}

Loaded load_manifest_text(std::string_view text, Format format, const std::string& file,
                          const TranslateOptions& options) {
  Loaded loaded;
  loaded.text = std::string(text);
  if (auto root = parse_document(format, text, file, loaded.diagnostics))
    read_model(std::move(*root), file, options, loaded);
  return loaded;
}

}  // namespace secbox::manifest
