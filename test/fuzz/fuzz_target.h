// What every fuzz target provides. Under BITNET_FUZZ, libFuzzer drives it; otherwise standalone_main.cpp
// does, with a fixed number of seeded mutations of the seeds, so that the same target runs in every ctest.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// Feeds one input to the reader under test. Must return 0; anything the reader does wrong is a crash, a
/// sanitizer report or an abort() of the target itself.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace bitnet::fuzz {
/// Good inputs (bytes) to mutate, made in code or read from BITNET_SHARED_DATA when that is there. At least
/// one.
std::vector<std::string> seeds();
} // namespace bitnet::fuzz
