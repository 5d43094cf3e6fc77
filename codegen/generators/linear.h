// What the linear kernels share: the walk over their outputs, its tile sizes, and what becomes of a sum. From
// the inside out
//   16 output rows of a stripe (one vector of sums) · stripes of a panel · tokens of a tile     in registers
//   token tiles · work units [begin, end) · panels                                              loops
// A panel's stripes belong to as many streams (format/layouts.h): each stream is read without a jump while
// the units go by. Weights pass through the caches once, and every sum stays in a register for the whole of
// k.
#pragma once
#include "codegen/generators/generator.h"
#include <functional>

namespace bitnet::codegen {

struct LinearTile {
  int stripes; ///< of a panel; divides weight_streams(n)
  int tokens;  ///< of a tile; divides kRowPad and the kernel's row tile
};

/// Vectors of sums that 16 outputs of a token take (linear_int.cpp: one for each code of a byte, where it is
/// multiplied in its place).
int sums_of_output(const KernelSpec &spec);

/// The spec's own tile where it has one.
LinearTile linear_tile(const KernelSpec &spec);

/// The update that writes y, its loops, and the indices that its right-hand side needs.
class LinearWalk {
public:
  LinearWalk(const KernelSpec &spec, const KernelArgs &args, LinearTile tile);

  Halide::Func y{"y"};
  Halide::Expr lane;   ///< row in the stripe, 0..15
  Halide::Expr stream; ///< of the matrix
  Halide::Expr unit;   ///< stripe in the stream
  Halide::Expr row;    ///< output row (feature): 16 * (stream * units + unit) + lane
  Halide::Expr token;

  /// Defines y(row, token) = value and schedules it: the tile in registers, loops outside.
  void write(Halide::Expr value);
  /// Loops at which a tile's sums, and what all tiles of a panel share, are computed. After write().
  Halide::LoopLevel tile() const { return {y, loops[3]}; }
  Halide::LoopLevel panel() const { return {y, loops[4]}; }

private:
  Halide::RDom loops;
};

/// Which sum is meant: of an output (as in LinearWalk) over the inputs of one group.
struct SumPlace {
  Halide::Expr lane, stream, unit, token, group;
};
/// Σ code*q over the inputs of a group: all k of them, where the matrix has no groups (group 0).
using SumOfCodes = std::function<Halide::Expr(const SumPlace &)>;

/// Inputs that go into one sum.
int inputs_of_sum(const KernelSpec &spec);

/// What codes are multiplied with: for each sum the inputs of so many lines.
struct LineInputs {
  std::function<Halide::Expr(Halide::Expr i, Halide::Expr token)> q; ///< `halves` tokens for one of the tile
  int lines;
  std::function<Halide::Expr(Halide::Expr n, Halide::Expr token)> line; ///< the n-th
  int halves = 1;
  bool in_order = true; ///< else the lines were read before
};
/// All inputs, in order.
LineInputs inputs_in_order(const KernelSpec &spec, KernelArgs &args);

/// The sums of a tile, in registers, by the dot product that the variant has an instruction for. They are
/// computed at `level`, which may be set later.
SumOfCodes sums_of_codes(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk, LinearTile tile,
                         const LineInputs &inputs, Halide::LoopLevel level);

/// What linear_t2, linear_t3 and linear_s8 write at the walk's place, wherever the sums come from; sets the
/// level at which they are wanted.
///   epilogue(f32(Σ code*q - offset*sum[token]) * (row_scale[row] / s[token])), or with groups g, in order,
///   epilogue((Σ_g f32(Σ code*q - offset*group_sums[g, token]) * group_scale[g, row]) / s[token])
Halide::Expr linear_output(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk,
                           const SumOfCodes &sums, Halide::LoopLevel level);

/// The form for many rows (linear_panel.cpp), and whether there is one for this spec.
bool has_panel(const KernelSpec &spec);
Generated generate_linear_panel(const KernelSpec &spec);

} // namespace bitnet::codegen
