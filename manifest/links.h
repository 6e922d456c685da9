// Symbolic links on the way of a pattern: a grant means an object, whichever of its names is used.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace secbox::manifest {

// The file system, as far as links go.
class LinkReader {
 public:
  virtual ~LinkReader() = default;
  // The text of the link at an absolute path; nullopt where there is none.
  virtual std::optional<std::string> read_link(const std::string& path) = 0;
};

class FileSystemLinks final : public LinkReader {
 public:
  std::optional<std::string> read_link(const std::string& path) override;
};

struct ResolvedPrefix {
  std::string path;               // without links; what does not exist stays as written
  std::vector<std::string> hops;  // the links that were followed, by their own paths
};

// Follows links in absolute paths. Remembers every directory that it has come through: patterns share most of
// them.
class LinkResolver {
 public:
  explicit LinkResolver(LinkReader& links) : links_(links) {}
  [[nodiscard]] const ResolvedPrefix& resolve(const std::string& path);

 private:
  static constexpr std::size_t kMostLinks = 40;  // MAXSYMLINKS
  // Goes on from `result`, which has no links, by one component and the links that it leads to.
  void follow(ResolvedPrefix& result, const std::string& component);

  LinkReader& links_;
  std::unordered_map<std::string, ResolvedPrefix> known_;
};

}  // namespace secbox::manifest
