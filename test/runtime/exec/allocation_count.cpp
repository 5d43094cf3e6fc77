// Replaces operator new and delete. In a file of its own, so that compilers do not see through them.
#include "test/runtime/exec/allocation_count.h"
#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<long> allocations{0};
}

void *operator new(size_t n) {
  ++allocations;
  if (void *p = std::malloc(n))
    return p;
  throw std::bad_alloc();
}
void operator delete(void *p) noexcept { std::free(p); }
void operator delete(void *p, size_t) noexcept { std::free(p); }

long bitnet::test::allocation_count() { return allocations; }
