// Published JSON Schemas, printed offline.
#pragma once

#include <string_view>

namespace secbox::manifest {

// The schema named `name` ("manifest"), or "" for a name that is none.
[[nodiscard]] std::string_view schema(std::string_view name);
inline constexpr std::string_view kSchemaNames[] = {"manifest"};

}  // namespace secbox::manifest
