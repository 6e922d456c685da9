#include "supervisor/launch/filter.h"

namespace secbox::launch {

namespace {
#include "filter_program.inc"
}  // namespace

std::span<const sock_filter> filter_program(const FilterOptions& options) {
  return options.can_read_undumpable ? std::span<const sock_filter>(kPrivileged)
                                     : std::span<const sock_filter>(kOrdinary);
}

}  // namespace secbox::launch
