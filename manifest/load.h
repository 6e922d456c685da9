// A manifest file -> the model, or everything that is wrong with it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "manifest/diagnostic.h"
#include "manifest/document.h"
#include "manifest/manifest.h"

namespace secbox::manifest {

struct Loaded {
  std::optional<Manifest> manifest;  // nullopt where there is any error
  Diagnostics diagnostics;           // warnings as well
  std::string text;                  // the file's bytes: what the digest is of
};

[[nodiscard]] Loaded load_manifest_file(const std::string& path);
// The same for text in memory; `file` is for messages.
[[nodiscard]] Loaded load_manifest_text(std::string_view text, Format format, const std::string& file);

}  // namespace secbox::manifest
