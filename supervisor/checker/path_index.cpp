#include "supervisor/checker/path_index.h"

namespace secbox::checker {

PathIndex::PathIndex() { nodes_.resize(kFirstPrefix); }

void PathIndex::List::add(const PathEntry& entry) {
  if (entry.glob == std::numeric_limits<std::uint32_t>::max() && !entry.has_excepts) {
    // An earlier rule already says the same of the same object, so this one can never be the first to match.
    for (const PathEntry& earlier : entries) {
      const bool same = earlier.tier == entry.tier && earlier.verbs == entry.verbs;
      if (same && !earlier.has_excepts && earlier.glob == entry.glob) return;
    }
  }
  verbs |= entry.verbs;
  entries.push_back(entry);
}

std::uint32_t PathIndex::node_for_prefix(std::string_view prefix) {
  if (prefix.empty()) return kRoot;
  std::uint64_t hash = kPrefixSeed;
  std::size_t depth = 0;
  for (Components at(prefix); !at.done(); at.next(), ++depth) hash = mix(hash, hash_bytes(at.current()));
  if (depth > deepest_) deepest_ = depth;
  const std::uint32_t node = prefixes_.insert(hash, 0, Prefix, prefix) + kFirstPrefix;
  if (node == nodes_.size()) nodes_.emplace_back();
  return node;
}

void PathIndex::add_key(std::uint32_t scope, Kind kind, std::string_view bytes, const PathEntry& entry) {
  const std::uint32_t id = keys_.insert(key_hash(scope, kind, hash_bytes(bytes)), scope, kind, bytes);
  if (id == lists_.size()) lists_.emplace_back();
  nodes_[scope].kinds |= 1U << kind;
  lists_[id].add(entry);
}

std::size_t PathIndex::filed_under(std::uint32_t scope, Kind kind, std::string_view bytes) const {
  const std::uint32_t id = keys_.find(key_hash(scope, kind, hash_bytes(bytes)), scope, kind, bytes);
  return id == KeyTable::kNone ? 0 : lists_[id].entries.size();
}

void PathIndex::add_glob(std::uint32_t scope, std::string_view pattern, bool over_components,
                         PathEntry entry) {
  entry.glob = static_cast<std::uint32_t>(globs_.size());
  globs_.push_back({std::string(pattern), over_components});

  // Whatever must be there for a match would do as the key. The one that fewest others use is taken, so that
  // neither many "cache/*.idx" nor many "*/cache12" end in one long list.
  Kind kind = Prefix;
  std::string_view key;
  std::size_t fewest = std::numeric_limits<std::size_t>::max();
  const auto offer = [&](Kind offered, std::string_view bytes) {
    const std::size_t others = filed_under(scope, offered, bytes);
    if (others >= fewest) return;
    kind = offered;
    key = bytes;
    fewest = others;
  };
  std::string_view last = pattern;
  if (over_components) last = pattern.substr(pattern.rfind('/') + 1);
  if (over_components && !has_wildcard(last)) offer(Last, last);
  if (over_components) {
    for (Components at(pattern); !at.done(); at.next()) {
      const bool is_last = at.end() == pattern.size();
      if (!is_last && !has_wildcard(at.current())) offer(Component, at.current());
    }
  }
  const std::string_view tail = literal_tail(last);
  const std::string_view head = literal_head(last);
  if (tail.size() >= 3) offer(Tail3, tail.substr(tail.size() - 3));
  if (head.size() >= 3) offer(Head3, head.substr(0, 3));
  if (tail.size() == 2) offer(Tail2, tail);
  if (head.size() == 2) offer(Head2, head);
  if (kind == Prefix) return nodes_[scope].others.add(entry);
  add_key(scope, kind, key, entry);
}

void PathIndex::add(std::string_view pattern, PathEntry entry) {
  if (pattern == "**") {
    nodes_[kRoot].subtree.add(entry);
    nodes_[kNames].others.add(entry);
    return;
  }
  if (!is_path_pattern(pattern)) {
    if (!has_wildcard(pattern)) return add_key(kNames, Name, pattern, entry);
    return add_glob(kNames, pattern, false, entry);
  }
  if (!pattern.starts_with('/')) return add_glob(kAnywhere, pattern, true, entry);

  pattern.remove_prefix(1);
  std::size_t literal_end = 0;  // of the leading components without a wildcard
  for (Components at(pattern); !at.done() && !has_wildcard(at.current()); at.next()) literal_end = at.end();
  const std::uint32_t node = node_for_prefix(pattern.substr(0, literal_end));
  if (literal_end == pattern.size()) return nodes_[node].exact.add(entry);
  const std::string_view rest = pattern.substr(literal_end == 0 ? 0 : literal_end + 1);
  if (rest == "**") return nodes_[node].subtree.add(entry);
  add_glob(node, rest, true, entry);
}

bool PathIndex::any(std::string_view text) const {
  bool found = false;
  for_candidates(text, UINT32_MAX, true, [&](const PathEntry& entry, std::string_view rest) {
    found = found || matches(entry, rest);
  });
  return found;
}

}  // namespace secbox::checker
