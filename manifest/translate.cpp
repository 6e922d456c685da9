#include "manifest/translate.h"

#include <algorithm>
#include <filesystem>

#include "manifest/native_builder.h"
#include "manifest/vocabulary.h"

namespace secbox::manifest {

namespace {

void grant_own_directory(const Node& root, NativeBuilder& out) {
  out.grant(Need::Required, root, "file:read:${PLUGIN_DIR}/**", "its own files");
}

// "package.module:Class" or "package.module.Class".
bool is_class_name(std::string_view text) {
  constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  int parts = 1;
  bool at_start = true;
  bool after_colon = false;
  for (const char c : text) {
    if (c == '.' || c == ':') {
      if (at_start || after_colon) return false;
      after_colon = c == ':';
      at_start = true;
      ++parts;
    } else if (kFirst.find(c) == std::string_view::npos && (at_start || c < '0' || c > '9')) {
      return false;
    } else {
      at_start = false;
    }
  }
  return parts > 1 && !at_start;
}

// ---- plugin.yaml ----

void read_class_entry_point(const Node& entry, NativeBuilder& out) {
  if (entry.text.ends_with(".py")) {
    out.script(entry);
  } else if (is_class_name(entry.text)) {
    out.note(entry, "\"" + entry.text + "\" is loaded by its host: there is no command in it",
             "name the command that loads it behind --");
  } else {
    out.problem(entry, "SBX-V151", "Invalid entry point format: " + entry.text,
                "package.module:Class, or a script");
  }
}

// timeout_seconds, unless "timeouts" says it: the time to start for an agent, the whole run for a workflow.
void read_timeouts(const Node& root, NativeBuilder& out) {
  const Node* explicit_times = root.find("timeouts");
  const Node* seconds = root.find("timeout_seconds");
  Node timeouts = explicit_times != nullptr ? *explicit_times : Node{.kind = Node::Kind::Object};
  if (seconds != nullptr) {
    const Node* type = root.find("type");
    const char* name = type != nullptr && type->text == "workflow" ? "run" : "init";
    if (seconds->kind != Node::Kind::Number) {
      out.problem(*seconds, "SBX-V105", "\"timeout_seconds\" is " + std::string(seconds->kind_name()),
                  "a number of seconds");
    } else if (timeouts.find(name) == nullptr) {
      timeouts.members.emplace_back(name, *seconds);
    }
  }
  if (explicit_times != nullptr || seconds != nullptr) out.set("timeouts", std::move(timeouts));
}

bool read_plugin_yaml(const Node& root, NativeBuilder& out) {
  out.copy(root, {"id", "name", "version", "type", "description", "limits"});
  if (const Node* entry = out.text(root, "entry_point")) read_class_entry_point(*entry, out);
  grant_own_directory(root, out);
  out.words(Need::Required, out.list(root, "permissions"));
  read_timeouts(root, out);
  out.note_others(root, {"id", "name", "version", "type", "description", "limits", "entry_point",
                         "permissions", "timeouts", "timeout_seconds", "enabled"});
  const Node* enabled = root.find("enabled");
  if (enabled != nullptr && enabled->kind != Node::Kind::Bool)
    out.problem(*enabled, "SBX-V105", "\"enabled\" is " + std::string(enabled->kind_name()), "true or false");
  return enabled == nullptr || enabled->text != "false";
}

// ---- plugin.toml ----

void read_plugin_toml(const Node& root, const std::string& file, NativeBuilder& out) {
  const Node* about = root.find("plugin");
  const Node& named = about != nullptr && about->kind == Node::Kind::Object ? *about : root;
  out.copy(named, {"id", "name", "version", "type", "description"});
  if (named.find("name") == nullptr && named.find("id") == nullptr) {
    const std::string directory = std::filesystem::absolute(file).parent_path().filename().string();
    out.set("name", text_node(root, directory));
  }
  grant_own_directory(root, out);
  if (const Node* permissions = out.object(root, "permissions")) {
    out.words(Need::Required, out.list(*permissions, "required"));
    out.words(Need::Optional, out.list(*permissions, "optional"));
    out.note_others(*permissions, {"required", "optional"});
  }
  out.note_others(named, {"id", "name", "version", "type", "description", "permissions"});
  if (&named != &root) out.note_others(root, {"plugin", "permissions"});
}

// ---- nexus.plugin.json ----

struct Registration {
  const char *list, *kind;
};
constexpr Registration kRegistrations[] = {{"tools", "tool"},
                                           {"channels", "channel"},
                                           {"commands", "cli"},
                                           {"services", "service"},
                                           {"hooks", "hook"}};

// An allow-list that is empty or left out allows all, for registrations alone; so much as a capability of its
// kind is a list, too.
void read_registrations(const Node& root, const Node* capabilities, NativeBuilder& out) {
  const auto speaks_of = [&](std::string_view kind) {
    for (const char* need : {"required", "optional"}) {
      const Node* list = capabilities != nullptr ? capabilities->find(need) : nullptr;
      if (list != nullptr && std::ranges::any_of(list->items, [&](const Node& word) {
            return word.text.starts_with(std::string(kind) + ":");
          }))
        return true;
    }
    return false;
  };
  Node registers{.kind = Node::Kind::Object, .line = root.line, .column = root.column};
  for (const auto& [name, kind] : kRegistrations) {
    const Node* list = out.list(root, name);
    if (list != nullptr && !list->items.empty()) {
      std::vector<Node> words;
      for (const Node& item : list->items)
        words.push_back(item.kind == Node::Kind::String ? text_node(item, std::string(kind) + ":" + item.text)
                                                        : item);
      const Node named = list_node(*list, std::move(words));
      out.words(Need::Required, &named);
      registers.members.emplace_back(name, *list);
    } else if (!speaks_of(kind)) {
      out.grant(Need::Required, list != nullptr ? *list : root, "reg:" + std::string(kind) + ":*",
                "no list of its own: all are allowed");
    }
  }
  if (!registers.members.empty()) out.set("registers", std::move(registers));
}

void read_nexus(const Node& root, NativeBuilder& out) {
  out.copy(root, {"id", "name", "version", "description"});
  grant_own_directory(root, out);
  const Node* capabilities = out.object(root, "capabilities");
  read_registrations(root, capabilities, out);
  if (capabilities != nullptr) {
    out.words(Need::Required, out.list(*capabilities, "required"));
    out.words(Need::Optional, out.list(*capabilities, "optional"));
    out.note_others(*capabilities, {"required", "optional"});
  }
  out.note_others(root, {"id", "name", "version", "description", "capabilities", "tools", "channels",
                         "commands", "services", "hooks"});
}

// ---- package.json ----

void read_gql(const Node& root, NativeBuilder& out) {
  // What else is in it is npm's business.
  out.copy(root, {"name", "version", "description"});
  grant_own_directory(root, out);
  const Node* gql = out.object(root, "gql");
  if (gql == nullptr) {
    if (root.find("gql") == nullptr)
      out.problem(root, "SBX-V107", "this package.json has no \"gql\": it is no plugin's manifest",
                  "{\"gql\": {\"permissions\": [\"command\"]}}");
    return;
  }
  out.words(Need::Required, out.list(*gql, "permissions"));
  out.note_others(*gql, {"permissions"});
}

// ---- plugin.json ----

void read_project_ai(const Node& root, NativeBuilder& out) {
  out.copy(root, {"id", "name", "version", "description"});
  if (const Node* entry = out.text(root, "entry_point")) out.script(*entry);
  out.set("protocol", text_node(root, "jsonrpc-stdio"));
  grant_own_directory(root, out);
  out.words(Need::Required, out.list(root, "capabilities"));
  out.note_others(root, {"id", "name", "version", "description", "entry_point", "capabilities"});
}

// ---- MCP servers ----

// A word of a command of MCPB: its directory is ours; what else it may name has no value here.
Node bundle_word(const Node& word, NativeBuilder& out) {
  constexpr std::string_view kDirectory = "${__dirname}";
  Node result = word;
  result.text.clear();
  std::string_view rest = word.text;
  bool others = false;
  while (true) {
    const std::size_t at = rest.find("${");
    result.text += rest.substr(0, at);
    if (at == std::string_view::npos) break;
    rest.remove_prefix(at);
    const bool directory = rest.starts_with(kDirectory);
    result.text += directory ? "${PLUGIN_DIR}" : "${";
    rest.remove_prefix(directory ? kDirectory.size() : 2);
    others = others || !directory;
  }
  if (others)
    out.note(word, "\"" + word.text + "\" names what only its host has a value for",
             "write the value that is meant");
  return result;
}

// {command, args, env}: the command line, word by word as `read_word` has it.
template <typename ReadWord>
void read_command(const Node& server, const ReadWord& read_word, NativeBuilder& out) {
  std::vector<Node> command;
  const Node* program = out.text(server, "command");
  if (program != nullptr) command.push_back(read_word(*program));
  if (const Node* args = out.list(server, "args")) {
    for (const Node& word : args->items) command.push_back(read_word(word));
  }
  if (program != nullptr) out.set("entry_point", list_node(*program, std::move(command)));
  if (const Node* env = out.object(server, "env"); env != nullptr && !env->members.empty())
    out.note(*env, "\"env\" sets variables: a manifest only passes them on",
             "set them where secbox is started, and name them in env.allow");
}

void read_mcpb(const Node& root, NativeBuilder& out) {
  out.copy(root, {"name", "version", "description"});
  out.set("protocol", text_node(root, "mcp-stdio"));
  grant_own_directory(root, out);
  const Node& server = *root.find("server");
  if (const Node* config = out.object(server, "mcp_config")) {
    read_command(*config, [&](const Node& word) { return bundle_word(word, out); }, out);
    out.note_others(*config, {"command", "args", "env"});
  } else if (const Node* entry = out.text(server, "entry_point")) {
    out.script(*entry);
  }
  for (const char* key : {"user_config", "compatibility"}) {
    if (const Node* node = root.find(key))
      out.note(*node, "\"" + std::string(key) + "\" has no counterpart here: it is left out");
  }
}

void read_mcp_servers(const Node& root, const std::string& wanted, NativeBuilder& out) {
  const Node& servers = *root.find("mcpServers");
  // A file may hold any number of names, of any length: so many are shown and compared.
  constexpr std::size_t kMostShown = 50;
  std::string names;
  std::vector<std::string_view> known;
  for (const auto& [name, server] : servers.members) {
    if (known.size() == kMostShown || name.size() > 64) continue;
    names += (names.empty() ? "" : ", ") + name;
    known.push_back(name);
  }
  const auto chosen = std::ranges::find_if(servers.members, [&](const auto& member) {
    return wanted.empty() ? servers.members.size() == 1 : member.first == wanted;
  });
  if (chosen == servers.members.end()) {
    const std::string near = nearest_word(wanted, known);
    out.problem(servers, "SBX-V152",
                wanted.empty() ? std::to_string(servers.members.size()) + " servers stand here: one is read"
                               : "there is no server \"" + wanted + "\" here",
                !near.empty()   ? "did you mean \"" + near + "\"?"
                : names.empty() ? "{\"mcpServers\": {\"name\": {\"command\": \"...\"}}}"
                                : "secbox import --server NAME: " + names);
    return;
  }
  const auto& [name, server] = *chosen;
  out.set("name", text_node(server, name));
  out.set("protocol", text_node(server, "mcp-stdio"));
  if (server.kind != Node::Kind::Object || server.find("command") == nullptr) {
    out.problem(server, "SBX-V107", "the server \"" + name + "\" has no \"command\": nothing is started here",
                "a server behind an address is not secbox's to run");
    return;
  }
  read_command(server, [](const Node& word) { return word; }, out);
  out.note_others(server, {"command", "args", "env"});
}

}  // namespace

Translation translate(Dialect dialect, const Node& root, const std::string& file,
                      const TranslateOptions& options, Diagnostics& diagnostics) {
  const std::string_view own = dialect_vocabulary(dialect);
  const bool other = !options.vocabulary.empty() && !own.empty();
  NativeBuilder out(file, vocabulary(other ? std::string_view(options.vocabulary) : own), diagnostics);
  Translation result;
  switch (dialect) {
    case Dialect::Native:
      return {.native = root};
    case Dialect::PluginYaml:
      result.enabled = read_plugin_yaml(root, out);
      break;
    case Dialect::PluginToml:
      read_plugin_toml(root, file, out);
      break;
    case Dialect::Nexus:
      read_nexus(root, out);
      break;
    case Dialect::Gql:
      read_gql(root, out);
      break;
    case Dialect::ProjectAi:
      read_project_ai(root, out);
      break;
    case Dialect::Mcpb:
      read_mcpb(root, out);
      break;
    case Dialect::McpServers:
      read_mcp_servers(root, options.server, out);
      break;
  }
  result.native = std::move(out).finish();
  return result;
}

}  // namespace secbox::manifest
