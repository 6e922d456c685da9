#include "manifest/links.h"

#include <unistd.h>

#include <array>

namespace secbox::manifest {

std::optional<std::string> FileSystemLinks::read_link(const std::string& path) {
  const auto known = cache_.find(path);
  if (known != cache_.end()) return known->second;
  std::array<char, 4096> buffer{};
  const ssize_t got = ::readlink(path.c_str(), buffer.data(), buffer.size());
  std::optional<std::string> text;
  if (got > 0) text = std::string(buffer.data(), static_cast<std::size_t>(got));
  cache_.emplace(path, text);
  return text;
}

ResolvedPrefix resolve_links(LinkReader& links, const std::string& path) {
  ResolvedPrefix result;
  std::string pending = path;
  std::string current;  // "" is the root
  int budget = 40;
  std::size_t at = 0;
  while (at < pending.size()) {
    const std::size_t end = std::min(pending.find('/', at), pending.size());
    const std::string part = pending.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      current.resize(current.empty() ? 0 : current.rfind('/'));
      continue;
    }
    const std::string next = current + "/" + part;
    const auto text = budget > 0 ? links.read_link(next) : std::nullopt;
    if (!text) {
      current = next;
      continue;
    }
    --budget;
    result.hops.push_back(next);
    const std::string rest =
        at <= pending.size() ? pending.substr(std::min(at, pending.size())) : std::string();
    if (text->starts_with('/')) current.clear();
    pending = *text + "/" + rest;
    at = 0;
  }
  result.path = current.empty() ? "/" : current;
  return result;
}

}  // namespace secbox::manifest
