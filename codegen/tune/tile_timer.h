// How fast the tiles of a linear kernel are on this CPU: runs compiled kernels in this process, on weights
// from memory that no cache holds, all tiles in turn. For bitnetc --tune; not a benchmark for people (see
// test/codegen/linear_bench.cpp) and no part of a bundle.
#pragma once
#include "codegen/compile.h"
#include "codegen/spec/kernel_spec.h"
#include <functional>
#include <string>
#include <vector>

namespace bitnet::codegen {

/// Tiles that are worth measuring for a spec that this CPU runs, the generator's own ({}) first; only that
/// one for ops without tiles.
std::vector<KernelTile> tile_candidates(const KernelSpec &spec);

/// Median nanoseconds of a call on one thread for each of the images, which hold the kernel of `spec` with
/// different tiles, the generator's own first. `rows`: of the step. False with a one-line *error where the
/// numbers of a tile differ from those of the first in any bit, or memory is short. `stop` is asked between
/// rounds: true ends early, with what was measured so far.
bool time_tiles(const KernelSpec &spec, int32_t rows, const std::vector<KernelImage> &images,
                const std::function<bool()> &stop, std::vector<double> *nanoseconds, std::string *error);

} // namespace bitnet::codegen
