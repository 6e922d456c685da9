// Whose manifest a file is: ours, or that of another plugin host, which is read as it is.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "manifest/document.h"

namespace secbox::manifest {

enum class Dialect : std::uint8_t { Native, PluginYaml, PluginToml, Nexus, Gql, ProjectAi, Mcpb, McpServers };

// By the name of the file, and by what is in it: a plugin.yaml may be a native one.
[[nodiscard]] Dialect dialect_of(std::string_view path, const Node& root);
// As in docs/manifest.md.
[[nodiscard]] std::string_view dialect_name(Dialect dialect);
// The vocabulary that its words are of; "" where it has no words.
[[nodiscard]] std::string_view dialect_vocabulary(Dialect dialect);
// What a manifest in a plugin's directory may be called, in the order in which they are looked for.
[[nodiscard]] std::span<const char* const> manifest_file_names();

}  // namespace secbox::manifest
