// A manifest file, ours or another plugin host's, -> the model, or everything that is wrong with it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "manifest/diagnostic.h"
#include "manifest/dialect.h"
#include "manifest/document.h"
#include "manifest/manifest.h"
#include "manifest/translate.h"

namespace secbox::manifest {

struct Loaded {
  std::optional<Manifest> manifest;  // nullopt where there is any error
  Diagnostics diagnostics;           // warnings as well
  std::string text;                  // the file's bytes: what the digest is of
  Dialect dialect = Dialect::Native;
  Node native;          // the native manifest as a tree, where there is no error
  bool enabled = true;  // what it says of itself
};

[[nodiscard]] Loaded load_manifest_file(const std::string& path, const TranslateOptions& options = {});
// The same for text in memory; `file` is for messages.
[[nodiscard]] Loaded load_manifest_text(std::string_view text, Format format, const std::string& file,
                                        const TranslateOptions& options = {});

}  // namespace secbox::manifest
