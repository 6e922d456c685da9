// Finds the few patterns that a path could match, without looking at the others. Internal to the checker.
//
// A pattern is filed under its literal leading directory. Below that, one without wildcards is that object
// and one that ends there in "/**" is the subtree; any other glob is filed once more, by a component that
// must be there, or by what its last one must be, begin or end with. A path is looked up by walking its
// ancestors, so the cost follows its depth and not the number of rules.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/checker/glob.h"
#include "supervisor/checker/key_table.h"

namespace secbox::checker {

// What an index entry would do when it matches; in order of precedence.
enum class Tier : std::uint8_t { Protected, Deny, Allow, Optional };

struct PathEntry {
  std::uint32_t rule = 0;
  std::uint32_t verbs = 0;  // with what they imply
  Tier tier = Tier::Allow;
  bool has_excepts = false;
  std::uint32_t glob = std::numeric_limits<std::uint32_t>::max();  // max: no further test
};

class PathIndex {
 public:
  PathIndex();

  // Entries must come in the order of their rules.
  void add(std::string_view pattern, PathEntry entry);

  // Calls visit(entry, rest) for every entry that speaks of one of `verbs` and could match `text`; it does
  // match where matches(entry, rest) says so. `names_too`: patterns over bare names are tried on an absolute
  // path as well.
  template <typename Visit>
  void for_candidates(std::string_view text, std::uint32_t verbs, bool names_too, Visit&& visit) const;

  [[nodiscard]] bool matches(const PathEntry& entry, std::string_view rest) const {
    if (entry.glob == std::numeric_limits<std::uint32_t>::max()) return true;
    const Glob& glob = globs_[entry.glob];
    return glob.over_components ? match_components(glob.pattern, rest) : match_run(glob.pattern, rest);
  }

  // True where any entry matches.
  [[nodiscard]] bool any(std::string_view text) const;

 private:
  enum Kind : std::uint8_t { Prefix, Component, Last, Tail3, Tail2, Head3, Head2, Name };
  static constexpr std::uint32_t kRoot = 0;      // "/..."
  static constexpr std::uint32_t kAnywhere = 1;  // "**/..."
  static constexpr std::uint32_t kNames = 2;     // bare names
  static constexpr std::uint32_t kFirstPrefix = 3;
  static constexpr std::uint64_t kPrefixSeed = 0x736563626f78U;

  struct List {
    std::uint32_t verbs = 0;  // of all entries
    std::vector<PathEntry> entries;
    void add(const PathEntry& entry);
    template <typename Visit>
    void each(std::uint32_t wanted, std::string_view rest, Visit& visit) const {
      if ((verbs & wanted) == 0) return;
      for (const PathEntry& entry : entries) {
        if ((entry.verbs & wanted) != 0) visit(entry, rest);
      }
    }
  };
  struct Node {
    std::uint32_t kinds = 0;  // bits of Kind that have keys in this scope
    List exact;
    List subtree;
    List others;  // globs that nothing literal narrows down
  };
  struct Glob {
    std::string pattern;
    bool over_components;
  };

  static std::uint64_t key_hash(std::uint32_t scope, Kind kind, std::uint64_t bytes_hash) {
    return mix(bytes_hash, (std::uint64_t{scope} << 8) | kind);
  }
  [[nodiscard]] std::uint32_t node_for_prefix(std::string_view prefix);
  void add_glob(std::uint32_t scope, std::string_view pattern, bool over_components, PathEntry entry);
  [[nodiscard]] std::size_t filed_under(std::uint32_t scope, Kind kind, std::string_view bytes) const;
  void add_key(std::uint32_t scope, Kind kind, std::string_view bytes, const PathEntry& entry);

  template <typename Visit>
  void lookup(std::uint32_t scope, Kind kind, std::string_view bytes, std::uint32_t verbs,
              std::string_view rest, Visit& visit) const {
    if ((nodes_[scope].kinds & (1U << kind)) == 0) return;
    const std::uint32_t id = keys_.find(key_hash(scope, kind, hash_bytes(bytes)), scope, kind, bytes);
    if (id != KeyTable::kNone) lists_[id].each(verbs, rest, visit);
  }
  // Globs of one scope. `last` is the last component of `rest`.
  template <typename Visit>
  void lookup_globs(std::uint32_t scope, std::string_view rest, std::string_view last, std::uint32_t verbs,
                    Visit& visit) const;

  KeyTable prefixes_;  // -> nodes_[id + kFirstPrefix]
  KeyTable keys_;      // -> lists_[id]
  std::vector<Node> nodes_;
  std::vector<List> lists_;
  std::vector<Glob> globs_;
  std::size_t deepest_ = 0;  // components of the longest prefix: no need to look further down
};

template <typename Visit>
void PathIndex::lookup_globs(std::uint32_t scope, std::string_view rest, std::string_view last,
                             std::uint32_t verbs, Visit& visit) const {
  const Node& node = nodes_[scope];
  node.others.each(verbs, rest, visit);
  if (node.kinds == 0) return;
  if ((node.kinds & (1U << Component)) != 0) {
    for (Components at(rest); !at.done(); at.next())
      lookup(scope, Component, at.current(), verbs, rest, visit);
  }
  lookup(scope, Last, last, verbs, rest, visit);
  if (last.size() >= 3) {
    lookup(scope, Tail3, last.substr(last.size() - 3), verbs, rest, visit);
    lookup(scope, Head3, last.substr(0, 3), verbs, rest, visit);
  }
  if (last.size() >= 2) {
    lookup(scope, Tail2, last.substr(last.size() - 2), verbs, rest, visit);
    lookup(scope, Head2, last.substr(0, 2), verbs, rest, visit);
  }
}

template <typename Visit>
void PathIndex::for_candidates(std::string_view text, std::uint32_t verbs, bool names_too,
                               Visit&& visit) const {
  const bool is_path = text.starts_with('/');
  if (!is_path || names_too) {
    lookup(kNames, Name, text, verbs, text, visit);
    lookup_globs(kNames, text, text, verbs, visit);
  }
  if (!is_path) return;

  const std::string_view rest = text.substr(1);
  const std::string_view last = text.substr(text.rfind('/') + 1);
  if (rest.empty()) nodes_[kRoot].exact.each(verbs, rest, visit);
  nodes_[kRoot].subtree.each(verbs, rest, visit);
  lookup_globs(kRoot, rest, last, verbs, visit);
  lookup_globs(kAnywhere, rest, last, verbs, visit);

  std::uint64_t hash = kPrefixSeed;
  std::size_t depth = 0;
  for (Components at(rest); !at.done() && depth < deepest_; at.next(), ++depth) {
    hash = mix(hash, hash_bytes(at.current()));
    const std::uint32_t id = prefixes_.find(hash, 0, Prefix, rest.substr(0, at.end()));
    if (id == KeyTable::kNone) continue;
    const Node& node = nodes_[id + kFirstPrefix];
    const std::string_view below = at.end() == rest.size() ? std::string_view{} : rest.substr(at.end() + 1);
    if (at.end() == rest.size()) node.exact.each(verbs, below, visit);
    node.subtree.each(verbs, below, visit);
    lookup_globs(id + kFirstPrefix, below, below.empty() ? below : last, verbs, visit);
  }
}

}  // namespace secbox::checker
