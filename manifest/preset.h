// Built-in presets: what ordinary programs need to start at all. Printable: `secbox preset show base`.
#pragma once

#include <span>
#include <string_view>

namespace secbox::manifest {

struct PresetGrant {
  std::string_view use;
  std::string_view why;
};

// Empty for a name that is no preset.
[[nodiscard]] std::span<const PresetGrant> preset(std::string_view name);
inline constexpr std::string_view kPresetNames[] = {"base"};

}  // namespace secbox::manifest
