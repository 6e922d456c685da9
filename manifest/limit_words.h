// Limits and time-outs as words: "limits/memory" = "500MB". The same for manifests, the command line and the
// administrator's configuration.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/limits.h"

namespace secbox::manifest {

// "limits" or "timeouts" -> the names in it.
[[nodiscard]] const std::vector<std::string_view>& limit_names(std::string_view group);

// Sets `group`/`name` from `value`; nullopt as value means no limit. True, or false with an example of what
// can stand there in `hint`.
[[nodiscard]] bool set_limit(std::string_view group, std::string_view name,
                             std::optional<std::string_view> value, Limits& limits, Timeouts& timeouts,
                             std::string& hint);
// Lowers what is above `most`, or missing where `most` has a value. The names of what was lowered.
std::vector<std::string> lower_to(const Limits& most, const Timeouts& most_time, Limits& limits,
                                  Timeouts& timeouts);

}  // namespace secbox::manifest
