#include "manifest/vocabulary.h"

#include <algorithm>
#include <cstdlib>

namespace secbox::manifest {

namespace {

constexpr VocabularyFile kFiles[] = {
#include "vocabularies.inc"
};

constexpr std::string_view kArgument = "${ARG}";

std::string with_argument(std::string_view text, std::string_view argument) {
  std::string out;
  while (true) {
    const std::size_t at = text.find(kArgument);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += argument;
    text.remove_prefix(at + kArgument.size());
  }
}

void set_argument(Node& node, std::string_view argument) {
  node.text = with_argument(node.text, argument);
  for (Node& item : node.items) set_argument(item, argument);
  for (auto& [key, value] : node.members) set_argument(value, argument);
}

// "" or what is wrong with it.
std::string read_meaning(const Node& node, Meaning& out) {
  if (node.kind != Node::Kind::Object) return "is no object";
  for (const auto& [key, value] : node.members) {
    if (key == "grants" || key == "deny") {
      if (value.kind != Node::Kind::Array) return "\"" + key + "\" is no list";
      (key == "deny" ? out.deny : out.grants) = value.items;
    } else if (key == "risk") {
      if (value.text != "low" && value.text != "medium" && value.text != "high")
        return "a risk is low, medium or high";
      out.risk = value.text;
    } else if (key == "text") {
      out.text = value.text;
    } else {
      return "has an unknown key \"" + key + "\"";
    }
  }
  return out.risk.empty() ? "has no risk" : "";
}

}  // namespace

std::expected<Vocabulary, std::string> Vocabulary::parse(std::string_view text, const std::string& file) {
  Diagnostics diagnostics;
  const auto root = parse_document(Format::Json, text, file, diagnostics);
  if (!root) return std::unexpected(file + ": " + diagnostics.all.front().message);
  if (root->kind != Node::Kind::Object) return std::unexpected(file + ": a vocabulary is an object");
  Vocabulary result;
  for (const auto& [word, node] : root->members) {
    Meaning meaning;
    if (const std::string problem = read_meaning(node, meaning); !problem.empty())
      return std::unexpected(file + ":" + std::to_string(node.line) + ": \"" + word + "\" " + problem);
    const bool takes_argument = word.ends_with(kArgument);
    const std::string name = takes_argument ? word.substr(0, word.size() - kArgument.size()) : word;
    (takes_argument ? result.prefixes_ : result.words_).emplace(name, std::move(meaning));
  }
  return result;
}

std::optional<Meaning> Vocabulary::find(std::string_view word) const {
  if (const auto whole = words_.find(word); whole != words_.end()) return whole->second;
  const std::pair<const std::string, Meaning>* longest = nullptr;
  for (const auto& entry : prefixes_) {
    const bool fits = word.starts_with(entry.first) && word.size() > entry.first.size();
    if (fits && (longest == nullptr || entry.first.size() > longest->first.size())) longest = &entry;
  }
  if (longest == nullptr) return std::nullopt;
  Meaning meaning = longest->second;
  const std::string_view argument = word.substr(longest->first.size());
  for (Node& grant : meaning.grants) set_argument(grant, argument);
  for (Node& denial : meaning.deny) set_argument(denial, argument);
  return meaning;
}

std::string Vocabulary::nearest(std::string_view word) const {
  // An argument is nobody's slip: "evn:HOME" is compared as "evn:".
  const std::size_t colon = word.find(':');
  const std::string_view argument =
      colon == std::string_view::npos ? std::string_view() : word.substr(colon + 1);
  std::vector<std::string> with_arguments;
  for (const auto& [prefix, meaning] : prefixes_) {
    if (colon != std::string_view::npos && prefix.ends_with(':'))
      with_arguments.push_back(prefix + std::string(argument));
  }
  std::vector<std::string_view> candidates(with_arguments.begin(), with_arguments.end());
  for (const auto& [name, meaning] : words_) candidates.push_back(name);
  return nearest_word(word, candidates);
}

std::string Vocabulary::known_words() const {
  std::string list;
  const auto add = [&](const std::string& word) { list += (list.empty() ? "" : ", ") + word; };
  for (const auto& [name, meaning] : words_) add(name);
  for (const auto& [prefix, meaning] : prefixes_) add(prefix + "...");
  return list;
}

std::span<const VocabularyFile> vocabulary_files() { return kFiles; }

const Vocabulary* vocabulary(std::string_view name) {
  static const auto all = [] {
    std::map<std::string, Vocabulary, std::less<>> parsed;
    for (const VocabularyFile& file : kFiles) {
      auto one = Vocabulary::parse(file.text, std::string(file.name));
      if (!one) std::abort();  // a part of the program: the tests read every one
      parsed.emplace(file.name, std::move(*one));
    }
    return parsed;
  }();
  const auto found = all.find(name);
  return found == all.end() ? nullptr : &found->second;
}

}  // namespace secbox::manifest
