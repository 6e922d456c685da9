#include "manifest/schema.h"

namespace secbox::manifest {

namespace {
constexpr std::string_view kManifest =
#include "manifest_schema.inc"
    ;
}  // namespace

std::string_view schema(std::string_view name) { return name == "manifest" ? kManifest : std::string_view{}; }

}  // namespace secbox::manifest
