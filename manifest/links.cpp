#include "manifest/links.h"

#include <unistd.h>

#include <algorithm>
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
  if (const auto known = known_.find(path); known != known_.end()) return known->second;
  // From the nearest directory that is known, component by component. By iteration: both the path and what
  // links hold may have thousands of components.
  std::size_t at = path.size();
  ResolvedPrefix result{"/", {}};
  while (at > 1) {
    at = path.rfind('/', at - 1);
    if (at == 0 || at == std::string::npos) {
      at = 0;
      break;
    }
    if (const auto known = known_.find(path.substr(0, at)); known != known_.end()) {
      result = known->second;
      break;
    }
  }
  while (at < path.size()) {
    const std::size_t begin = at + 1;
    at = std::min(path.find('/', begin), path.size());
    follow(result, path.substr(begin, at - begin));
    if (at < path.size()) known_.emplace(path.substr(0, at), result);
  }
  return known_.emplace(path, std::move(result)).first->second;
}

void LinkResolver::follow(ResolvedPrefix& result, const std::string& component) {
  std::vector<std::string> todo{component};  // the next one last
  while (!todo.empty()) {
    const std::string leaf = std::move(todo.back());
    todo.pop_back();
    if (leaf.empty() || leaf == ".") continue;
    if (leaf == "..") {
      const std::size_t cut = result.path.rfind('/');
      result.path.resize(cut == 0 ? 1 : cut);
      continue;
    }
    std::string name = result.path == "/" ? "/" + leaf : result.path + "/" + leaf;
    // Another place for each process that asks: rules call the plugin's own by these names.
    const bool own_process =
        name == "/proc/self" || name == "/proc/thread-self" || is_below_own_process(name);
    const auto text = result.hops.size() < kMostLinks && !own_process ? links_.read_link(name) : std::nullopt;
    if (!text) {
      result.path = std::move(name);
      continue;
    }
    result.hops.push_back(std::move(name));
    if (text->starts_with('/')) result.path = "/";
    for (std::size_t end = text->size(); end != std::string::npos;) {
      const std::size_t slash = end == 0 ? std::string::npos : text->rfind('/', end - 1);
      const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
      todo.push_back(text->substr(begin, end - begin));
      end = slash;
    }
  }
}

}  // namespace secbox::manifest
