// secbox import: another host's manifest, written as one of ours.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "manifest/load.h"
#include "manifest/vocabulary.h"
#include "supervisor/audit/json_text.h"
#include "tools/secbox/diagnostics.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

namespace {

using manifest::Node;

constexpr const char* kHelp =
    "usage: secbox import [options] FILE\n"
    "\n"
    "Prints the native manifest, as JSON, of another host's: plugin.yaml, plugin.toml, nexus.plugin.json, "
    "package.json\n"
    "with \"gql\", plugin.json, an MCPB manifest.json, or a file with \"mcpServers\". What has no "
    "counterpart "
    "is named on\n"
    "stderr and under \"x-notes\". Exit code 122: it is not valid.\n"
    "\n"
    "  -o, --output FILE    write it there (beside the plugin: ${PLUGIN_DIR} is the manifest's directory)\n"
    "      --vocabulary V   read its words as those of V: gao, gql, mcp.ac, nexus, project-ai, ragged\n"
    "      --server NAME    of several MCP servers this one\n";

// JSON takes "12", and not all that YAML and TOML call a number; a text means the same to the reader.
bool is_whole_number(std::string_view text) {
  return !text.empty() && text.size() < 16 &&
         text.find_first_not_of("0123456789") == std::string_view::npos &&
         (text.size() == 1 || text[0] != '0');
}

void append_json(const Node& node, int depth, std::string& out) {
  const std::string indent(static_cast<std::size_t>(depth + 1) * 2, ' ');
  const auto list = [&](const auto& members, char open, char close, const auto& append) {
    out += open;
    for (const auto& member : members) {
      out += (&member == &members.front() ? "\n" : ",\n") + indent;
      append(member);
    }
    if (!members.empty()) out += '\n' + indent.substr(2);
    out += close;
  };
  switch (node.kind) {
    case Node::Kind::Null:
      out += "null";
      break;
    case Node::Kind::Bool:
      out += node.text;
      break;
    case Node::Kind::Number:
      out += is_whole_number(node.text) ? node.text : audit::json_string(node.text);
      break;
    case Node::Kind::String:
      out += audit::json_string(node.text);
      break;
    case Node::Kind::Array:
      list(node.items, '[', ']', [&](const Node& item) { append_json(item, depth + 1, out); });
      break;
    case Node::Kind::Object:
      list(node.members, '{', '}', [&](const auto& member) {
        out += audit::json_string(member.first) + ": ";
        append_json(member.second, depth + 1, out);
      });
      break;
  }
}

Node text_node(std::string text) { return {.kind = Node::Kind::String, .text = std::move(text)}; }

std::string native_json(const manifest::Loaded& loaded) {
  Node root = loaded.native;
  if (root.find("$schema") == nullptr)
    root.members.emplace(root.members.begin(), "$schema", text_node("urn:secbox:schema:manifest:1"));
  if (loaded.dialect != manifest::Dialect::Native) {
    root.members.emplace_back("x-imported-from",
                              text_node(std::string(manifest::dialect_name(loaded.dialect))));
    Node notes{.kind = Node::Kind::Array};
    for (const manifest::Diagnostic& d : loaded.diagnostics.all) {
      if (d.code == "SBX-V194")
        notes.items.push_back(text_node("line " + std::to_string(d.line) + ": " + d.message));
    }
    if (!notes.items.empty()) root.members.emplace_back("x-notes", std::move(notes));
  }
  std::string out;
  append_json(root, 0, out);
  return out + "\n";
}

int usage_error(const std::string& text) {
  std::fprintf(stderr, "secbox import: %s\nhint: secbox import --help\n", printable_text(text).c_str());
  return kExitInvalid;
}

}  // namespace

int verb_import(const Args& args) {
  manifest::TranslateOptions options;
  std::string file;
  std::string output;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "-h" || arg == "--help") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    std::string* value = arg == "-o" || arg == "--output" ? &output
                         : arg == "--vocabulary"          ? &options.vocabulary
                         : arg == "--server"              ? &options.server
                                                          : nullptr;
    if (value != nullptr) {
      if (i + 1 >= args.size()) return usage_error(arg + " needs a value");
      *value = args[++i];
    } else if (arg.starts_with('-') && arg != "-") {
      return usage_error("unknown option '" + arg + "'");
    } else if (file.empty()) {
      file = arg;
    } else {
      return usage_error("one file at a time");
    }
  }
  if (file.empty()) return usage_error("name the file");
  if (!options.vocabulary.empty() && manifest::vocabulary(options.vocabulary) == nullptr)
    return usage_error("there is no vocabulary '" + options.vocabulary + "'");
  const manifest::Loaded loaded = manifest::load_manifest_file(file, options);
  print_diagnostics(loaded.diagnostics);
  if (!loaded.manifest) return kExitInvalid;
  const std::string text = native_json(loaded);
  if (output.empty()) {
    std::fputs(text.c_str(), stdout);
    return std::fflush(stdout) == 0 ? 0 : kExitFailed;
  }
  std::ofstream out(output, std::ios::binary);
  if (!(out << text).flush()) {
    std::fprintf(stderr, "secbox import: cannot write %s\n", printable_text(output).c_str());
    return kExitFailed;
  }
  return 0;
}

}  // namespace secbox::cli
