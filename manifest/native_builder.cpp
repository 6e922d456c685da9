#include "manifest/native_builder.h"

#include <algorithm>

namespace secbox::manifest {

namespace {

void put_at(Node& node, const Node& where) {
  node.line = where.line;
  node.column = where.column;
  for (Node& item : node.items) put_at(item, where);
  for (auto& [key, value] : node.members) put_at(value, where);
}

// {use, except, reason}, of a permission or of an entry without a reason.
Node entry_of(Node grant, const Node& where, const std::string& reason) {
  Node entry = std::move(grant);
  if (entry.kind == Node::Kind::String) {
    Node use = std::move(entry);
    entry = {.kind = Node::Kind::Object};
    entry.members.emplace_back("use", std::move(use));
  }
  if (!reason.empty()) entry.members.emplace_back("reason", text_node(where, reason));
  put_at(entry, where);
  return entry;
}

}  // namespace

Node text_node(const Node& where, std::string text) {
  return {.kind = Node::Kind::String, .text = std::move(text), .line = where.line, .column = where.column};
}

Node list_node(const Node& where, std::vector<Node> items) {
  return {.kind = Node::Kind::Array, .items = std::move(items), .line = where.line, .column = where.column};
}

void NativeBuilder::copy(const Node& from, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (const Node* node = from.find(key)) set(key, *node);
  }
}

void NativeBuilder::set(std::string_view key, Node value) {
  manifest_.members.emplace_back(std::string(key), std::move(value));
}

void NativeBuilder::grant(Need need, const Node& where, const std::string& use, const std::string& reason) {
  (need == Need::Required ? required_ : optional_).push_back(entry_of(text_node(where, use), where, reason));
}

void NativeBuilder::words(Need need, const Node* list) {
  if (list == nullptr) return;
  if (list->items.size() > kMostWords) {
    problem(*list, "SBX-V104", "more than 1000 permissions", "name what it is about as a whole");
    return;
  }
  for (const Node& item : list->items) word(need, item);
}

void NativeBuilder::word(Need need, const Node& node) {
  if (node.kind != Node::Kind::String) {
    problem(node, "SBX-V105", "this is " + std::string(node.kind_name()) + ", where a permission belongs",
            "known: " + vocabulary_->known_words());
    return;
  }
  auto meaning = vocabulary_->find(node.text);
  if (!meaning) {
    const std::string near = vocabulary_->nearest(node.text);
    problem(node, "SBX-V150", "Invalid permission: " + node.text,
            near.empty() ? "known: " + vocabulary_->known_words() : "did you mean \"" + near + "\"?");
    return;
  }
  if (meaning->grants.empty() && meaning->deny.empty()) note(node, "\"" + node.text + "\": " + meaning->text);
  const auto add = [&](std::vector<Node>& grants, std::vector<Node>& out) {
    for (Node& grant : grants) {
      Node entry = entry_of(std::move(grant), node, meaning->text);
      entry.members.emplace_back("x-word", text_node(node, node.text));
      entry.members.emplace_back("x-risk", text_node(node, meaning->risk));
      out.push_back(std::move(entry));
    }
  };
  add(meaning->grants, need == Need::Required ? required_ : optional_);
  add(meaning->deny, deny_);
}

void NativeBuilder::script(const Node& entry) {
  const std::string& path = entry.text;
  const bool leads_out = path.starts_with('/') || path == ".." || path.starts_with("../") ||
                         path.ends_with("/..") || path.find("/../") != std::string::npos;
  if (path.empty() || leads_out || path.find("${") != std::string::npos) {
    problem(entry, "SBX-V151", "Invalid entry point format: " + path,
            "a file in the plugin's own directory, for example main.py");
    return;
  }
  std::vector<Node> command;
  if (path.ends_with(".py")) command.push_back(text_node(entry, "python3"));
  if (path.ends_with(".js") || path.ends_with(".mjs") || path.ends_with(".cjs"))
    command.push_back(text_node(entry, "node"));
  command.push_back(text_node(entry, "${PLUGIN_DIR}/" + path));
  set("entry_point", list_node(entry, std::move(command)));
}

void NativeBuilder::note(const Node& where, const std::string& message, const std::string& hint) {
  if (++problems_ > kMostProblems) return;
  diagnostics_.all.push_back(
      {Severity::Warning, "SBX-V194", message, file_, where.line, where.column, "", hint});
}

void NativeBuilder::note_others(const Node& object, const std::vector<std::string_view>& known) {
  for (const auto& [key, value] : object.members) {
    if (std::ranges::find(known, key) == known.end() && !key.starts_with("x-"))
      note(value, "\"" + key + "\" has no counterpart here: it is left out");
  }
}

void NativeBuilder::problem(const Node& where, const char* code, const std::string& message,
                            const std::string& hint) {
  // (The first is never left out: notes alone would make it a valid manifest.)
  if (++problems_ > kMostProblems && diagnostics_.has_errors()) return;
  diagnostics_.all.push_back({Severity::Error, code, message, file_, where.line, where.column, "", hint});
}

const Node* NativeBuilder::of_kind(const Node& object, std::string_view key, Node::Kind kind,
                                   const char* what) {
  const Node* node = object.find(key);
  if (node == nullptr || node->kind == kind) return node;
  problem(
      *node, "SBX-V105",
      "\"" + std::string(key) + "\" is " + std::string(node->kind_name()) + ", where " + what + " belongs",
      "");
  return nullptr;
}

const Node* NativeBuilder::text(const Node& object, std::string_view key) {
  return of_kind(object, key, Node::Kind::String, "a string");
}
const Node* NativeBuilder::object(const Node& from, std::string_view key) {
  return of_kind(from, key, Node::Kind::Object, "an object");
}
const Node* NativeBuilder::list(const Node& from, std::string_view key) {
  return of_kind(from, key, Node::Kind::Array, "a list");
}

Node NativeBuilder::finish() && {
  Node permissions{.kind = Node::Kind::Object};
  for (auto& [key, entries] :
       {std::pair{"required", &required_}, std::pair{"optional", &optional_}, std::pair{"deny", &deny_}}) {
    if (!entries->empty()) permissions.members.emplace_back(key, list_node(Node{}, std::move(*entries)));
  }
  if (!permissions.members.empty()) set("permissions", std::move(permissions));
  return std::move(manifest_);
}

}  // namespace secbox::manifest
