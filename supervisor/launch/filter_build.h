// Makes the program with libseccomp. Run by the generator at build time: at 1-2 ms it is too slow for every
// start.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/launch/filter.h"

namespace secbox::launch {

[[nodiscard]] Result<std::vector<sock_filter>> build_filter(const FilterOptions& options);

}  // namespace secbox::launch
