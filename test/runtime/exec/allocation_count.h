// Counts the allocations of the program it is linked into.
#pragma once

namespace bitnet::test {
/// Calls of operator new so far, by any thread.
long allocation_count();
} // namespace bitnet::test
