// What the linear kernels share: the walk over their outputs and its tile sizes. From the inside out
//   16 output rows of a stripe (one vector of sums) · stripes of a panel · tokens of a tile     in registers
//   token tiles · panels of the work unit · work units [begin, end)                              loops
// so that weights stream once through the caches and every sum stays in a register for the whole of k.
#pragma once
#include "codegen/generators/generator.h"

namespace bitnet::codegen {

struct LinearTile {
  int stripes; ///< of a panel; divides stripes_per_unit
  int tokens;  ///< of a tile; divides kRowPad and the kernel's row tile
};

LinearTile linear_tile(const KernelSpec &spec);

/// The update that writes y, its loops, and the indices that its right-hand side needs.
class LinearWalk {
public:
  LinearWalk(const KernelSpec &spec, const KernelArgs &args, LinearTile tile);

  Halide::Func y{"y"};
  Halide::Expr lane;   ///< row in the stripe, 0..15
  Halide::Expr stripe; ///< of the matrix
  Halide::Expr row;    ///< output row (feature): 16 * stripe + lane
  Halide::Expr token;

  /// Defines y(row, token) = value and schedules it: the tile in registers, loops outside.
  void write(Halide::Expr value);
  /// Loops at which a tile's sums, and what all tiles of a panel share, are computed. After write().
  Halide::LoopLevel tile() const { return {y, loops[3]}; }
  Halide::LoopLevel panel() const { return {y, loops[4]}; }

private:
  Halide::RDom loops;
};

} // namespace bitnet::codegen
