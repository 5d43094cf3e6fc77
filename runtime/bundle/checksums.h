// Compares the sections' bytes with their recorded checksums, on all CPUs: it is the only pass over the
// weights at load, and brings them into memory on the way.
#pragma once
#include "runtime/bundle/bundle.h"

namespace bitnet::runtime {

/// Names the first section (in order) that differs.
Status verify_checksums(const std::vector<Section> &sections);

} // namespace bitnet::runtime
