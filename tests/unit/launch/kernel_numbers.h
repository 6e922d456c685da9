// The numbers of the kernel headers of this machine; see tests/support/kernel_numbers.cmake.
#pragma once

#include <string_view>
#include <vector>

namespace secbox {

struct KernelNumber {
  std::string_view name;
  int number;
};

// Empty where this machine has no header for that architecture.
std::vector<KernelNumber> kernel_numbers_x86_64();
std::vector<KernelNumber> kernel_numbers_aarch64();

}  // namespace secbox
