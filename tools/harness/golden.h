// A whole audit log to compare with: without what differs from run to run and from machine to machine.
#pragma once

#include <string>
#include <string_view>

#include "tools/harness/variables.h"

namespace secbox::harness {

// One JSON object a line. Process ids, times, ports of servers and temporary directories become <PID>,
// <TIME>, <PORT> and <TMP>; digests, sessions, durations and the host are left out, and so are records of
// what presets and secbox itself allow. `directory` is that of the run. The log must be a whole one.
[[nodiscard]] std::string normalise_log(std::string_view log, const std::string& directory,
                                        const Variables& variables);
// The first line in which they differ, in words; "" where they are the same.
[[nodiscard]] std::string golden_difference(std::string_view golden, std::string_view log);

}  // namespace secbox::harness
