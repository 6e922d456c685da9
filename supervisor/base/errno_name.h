// "EACCES" for 13: what records and messages say instead of a number.
#pragma once

#include <string_view>

namespace secbox {

// "ok" for 0, "unknown" for a number that Linux does not use. Knows the kernel's own ERESTARTSYS family as
// well. The text lives for ever.
[[nodiscard]] std::string_view errno_name(int error);

}  // namespace secbox
