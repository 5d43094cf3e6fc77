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

struct TileTimes {
  std::vector<double> nanoseconds; ///< of a call with each image, medians
  size_t fastest = 0;              ///< image
  double ratio = 1;                ///< its time over that of the first image; 1 for the first itself
  bool complete = false;           ///< false: `stop` ended it early, and the rest is a guess
};

/// Runs, on one thread, images that hold the kernel of `spec` with different tiles, the generator's own
/// first. The fastest is found in rounds of all of them, and its ratio, which so many chances to be lucky do
/// not flatter, in many short turns against the first alone. `rows`: of the step. False with a one-line
/// *error where the numbers of a tile differ from those of the first in any bit, or memory is short. `stop`
/// is asked between rounds.
bool time_tiles(const KernelSpec &spec, int32_t rows, const std::vector<KernelImage> &images,
                const std::function<bool()> &stop, TileTimes *times, std::string *error);

} // namespace bitnet::codegen
