// What the fuzzers of the three manifest formats share.
#pragma once

#include <string_view>

#include "manifest/document.h"

namespace secbox::fuzz {

// Whatever a manifest holds: it is read or diagnosed, never both right and wrong; what it compiles to is a
// ruleset; and the same manifest written as plain JSON grants the same.
void check_manifest(manifest::Format format, std::string_view text);

}  // namespace secbox::fuzz
