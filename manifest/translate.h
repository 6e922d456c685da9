// Another host's manifest -> the tree of a native one: one reader a dialect.
#pragma once

#include <string>

#include "manifest/diagnostic.h"
#include "manifest/dialect.h"
#include "manifest/document.h"

namespace secbox::manifest {

struct TranslateOptions {
  std::string vocabulary;  // another than the dialect's own
  std::string server;      // of several MCP servers
};

struct Translation {
  Node native;
  bool enabled = true;  // what the manifest itself says of it
};

// What cannot be read, and what there is nothing for here, goes to `diagnostics`; with errors there the tree
// is not complete.
[[nodiscard]] Translation translate(Dialect dialect, const Node& root, const std::string& file,
                                    const TranslateOptions& options, Diagnostics& diagnostics);

}  // namespace secbox::manifest
