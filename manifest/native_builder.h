// Builds a native manifest, as a tree, from what another host's manifest says. Every node keeps the place of
// what it was made from, so that what is found wrong with it later names the line that somebody wrote.
// Internal to the manifest library.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "manifest/diagnostic.h"
#include "manifest/document.h"
#include "manifest/vocabulary.h"

namespace secbox::manifest {

enum class Need : std::uint8_t { Required, Optional };

class NativeBuilder {
 public:
  // `vocabulary` may be null for a dialect without words.
  NativeBuilder(const std::string& file, const Vocabulary* vocabulary, Diagnostics& diagnostics)
      : file_(file), vocabulary_(vocabulary), diagnostics_(diagnostics) {}

  // Members that mean the same in both.
  void copy(const Node& from, std::initializer_list<std::string_view> keys);
  void set(std::string_view key, Node value);
  // One permission of our own, for `where`.
  void grant(Need need, const Node& where, const std::string& use, const std::string& reason);
  // Words of the vocabulary. Null: there are none.
  void words(Need need, const Node* list);
  // What the plugin is started with, of `entry`, a script or program in its directory.
  void script(const Node& entry);
  // What there is nothing for here (SBX-V194).
  void note(const Node& where, const std::string& message, const std::string& hint = {});
  // A note for every key that is not `known`.
  void note_others(const Node& object, const std::vector<std::string_view>& known);
  void problem(const Node& where, const char* code, const std::string& message, const std::string& hint);
  // A text, or null after a problem where it is something else; null where it is not there.
  const Node* text(const Node& object, std::string_view key);
  const Node* object(const Node& from, std::string_view key);
  const Node* list(const Node& from, std::string_view key);

  [[nodiscard]] Node finish() &&;

 private:
  static constexpr std::size_t kMostWords = 1000;
  static constexpr int kMostProblems = 200;
  const Node* of_kind(const Node& object, std::string_view key, Node::Kind kind, const char* what);
  void word(Need need, const Node& node);

  const std::string& file_;
  const Vocabulary* vocabulary_;
  Diagnostics& diagnostics_;
  Node manifest_{.kind = Node::Kind::Object};
  std::vector<Node> required_, optional_, deny_;
  int problems_ = 0;
};

[[nodiscard]] Node text_node(const Node& where, std::string text);
[[nodiscard]] Node list_node(const Node& where, std::vector<Node> items);

}  // namespace secbox::manifest
