#include "manifest/links.h"

#include <unistd.h>

#include <array>

namespace secbox::manifest {

std::optional<std::string> FileSystemLinks::read_link(const std::string& path) {
  std::array<char, 4096> buffer{};
  const ssize_t got = ::readlink(path.c_str(), buffer.data(), buffer.size());
  if (got <= 0) return std::nullopt;
  return std::string(buffer.data(), static_cast<std::size_t>(got));
}

namespace {
bool is_below_own_process(const std::string& path) {
  return path.starts_with("/proc/self/") || path.starts_with("/proc/thread-self/");
}
}  // namespace

const ResolvedPrefix& LinkResolver::resolve(const std::string& path) {
  int budget = 40;  // MAXSYMLINKS
  const auto known = known_.find(path);
  if (known != known_.end()) return known->second;
  ResolvedPrefix result = follow(path, budget);
  return known_.emplace(path, std::move(result)).first->second;
}

ResolvedPrefix LinkResolver::follow(const std::string& path, int& budget) {
  if (const auto known = known_.find(path); known != known_.end()) return known->second;
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return {"/", {}};
  const std::size_t slash = path.rfind('/', end);
  const std::string leaf = path.substr(slash + 1, end - slash);
  const std::string parent = slash == 0 ? "/" : path.substr(0, slash);
  ResolvedPrefix result = follow(parent, budget);
  known_.emplace(parent, result);
  if (leaf == ".") return result;
  if (leaf == "..") {
    const std::size_t cut = result.path.rfind('/');
    result.path.resize(cut == 0 ? 1 : cut);
    return result;
  }
  const std::string name = result.path == "/" ? "/" + leaf : result.path + "/" + leaf;
  // Another place for each process that asks: rules call the plugin's own by these names.
  const bool own_process = name == "/proc/self" || name == "/proc/thread-self" || is_below_own_process(name);
  const auto text = budget > 0 && !own_process ? links_.read_link(name) : std::nullopt;
  if (!text) {
    result.path = name;
    return result;
  }
  --budget;
  result.hops.push_back(name);
  ResolvedPrefix target = follow(text->starts_with('/') ? *text : result.path + "/" + *text, budget);
  result.path = std::move(target.path);
  result.hops.insert(result.hops.end(), target.hops.begin(), target.hops.end());
  return result;
}

}  // namespace secbox::manifest
