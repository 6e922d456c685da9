// Diagnostics for people (stderr) and for tools (JSON).
#pragma once

#include <string>
#include <string_view>

#include "manifest/diagnostic.h"

namespace secbox::cli {

// FILE:LINE:COLUMN: error SBX-V106: message (at /pointer), then the hint. To stderr.
void print_diagnostics(const manifest::Diagnostics& diagnostics);
// Those alone for which `wanted` is true.
void print_diagnostics(const manifest::Diagnostics& diagnostics, bool (*wanted)(const manifest::Diagnostic&));
// {"valid":...,"errors":[...],"warnings":[...]}
[[nodiscard]] std::string diagnostics_json(const manifest::Diagnostics& diagnostics, bool valid);
// Text that came from a file, safe for a terminal.
[[nodiscard]] std::string printable_text(std::string_view text);

}  // namespace secbox::cli
