// Counts allocations, so that a test can see that decide() does without. A file of its own: the compiler must
// not see through the pair.
#include <cstdlib>
#include <new>

#include "tests/unit/checker/support.h"

namespace {
std::size_t allocations = 0;
}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

std::size_t secbox::checker::allocation_count() { return allocations; }
