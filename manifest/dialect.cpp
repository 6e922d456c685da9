#include "manifest/dialect.h"

namespace secbox::manifest {

namespace {

struct Row {
  Dialect dialect;
  std::string_view name, vocabulary;
};
constexpr Row kRows[] = {{Dialect::Native, "secbox", ""},
                         {Dialect::PluginYaml, "plugin.yaml", "gao"},
                         {Dialect::PluginToml, "plugin.toml", "ragged"},
                         {Dialect::Nexus, "nexus.plugin.json", "nexus"},
                         {Dialect::Gql, "package.json", "gql"},
                         {Dialect::ProjectAi, "plugin.json", "project-ai"},
                         {Dialect::Mcpb, "MCPB", ""},
                         {Dialect::McpServers, "mcpServers", ""}};

constexpr const char* kFileNames[] = {
    "secbox.json",       "secbox.jsonc",         "secbox.yaml", "secbox.yml",  "secbox.toml",
    "nexus.plugin.json", "plugin.yaml",          "plugin.yml",  "plugin.toml", "plugin.json",
    "manifest.json",     "clawdbot.plugin.json", "package.json"};

bool has(const Node& root, std::string_view key, Node::Kind kind) {
  const Node* node = root.find(key);
  return node != nullptr && node->kind == kind;
}

const Row& row_of(Dialect dialect) {
  for (const Row& row : kRows) {
    if (row.dialect == dialect) return row;
  }
  return kRows[0];
}

}  // namespace

Dialect dialect_of(std::string_view path, const Node& root) {
  using Kind = Node::Kind;
  if (root.kind != Kind::Object) return Dialect::Native;
  const Node* schema = root.find("$schema");
  if (schema != nullptr && schema->text.starts_with("urn:secbox:")) return Dialect::Native;
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (name == "nexus.plugin.json" || name == "clawdbot.plugin.json") return Dialect::Nexus;
  if (name == "package.json") return Dialect::Gql;
  if (name == "plugin.toml") return Dialect::PluginToml;
  if ((name == "plugin.yaml" || name == "plugin.yml") && !has(root, "permissions", Kind::Object))
    return Dialect::PluginYaml;
  if (name == "plugin.json" && !has(root, "permissions", Kind::Object)) return Dialect::ProjectAi;
  // No native manifest has these keys, so that the name of the file does not matter.
  if (has(root, "mcpServers", Kind::Object)) return Dialect::McpServers;
  if (has(root, "server", Kind::Object) &&
      (root.find("manifest_version") != nullptr || root.find("dxt_version") != nullptr))
    return Dialect::Mcpb;
  return Dialect::Native;
}

std::string_view dialect_name(Dialect dialect) { return row_of(dialect).name; }
std::string_view dialect_vocabulary(Dialect dialect) { return row_of(dialect).vocabulary; }
std::span<const char* const> manifest_file_names() { return kFileNames; }

}  // namespace secbox::manifest
