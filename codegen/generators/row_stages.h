// The parts that row-wise kernels are made of: values of a row by index, an rms_norm over them, and the two
// ways out (store as f32, or quantise to int8). A fused kernel chains parts; each part's numbers are those of
// the function of the same name in codegen/reference/row_math.h, so fused and unfused kernels give the same
// bits.
#pragma once
#include "codegen/generators/generator.h"
#include <functional>

namespace bitnet::codegen {

/// Value i of row r. Recomputed by each pass over the row that asks for it, unless kept.
using RowValue = std::function<Halide::Expr(Halide::Expr i, Halide::Expr r)>;

class RowStages {
public:
  RowStages(const KernelSpec &spec, const KernelArgs &args);

  /// The same values, computed once a row into scratch on the stack when the row is short enough for that.
  RowValue keep(const RowValue &value);
  /// (value * rs) * gain.
  RowValue rms_norm(const RowValue &value, Halide::ImageParam gain, float eps);
  /// Output y[r, :].
  std::vector<Halide::Func> store(const RowValue &value);
  /// Outputs q[r, :], s[r], sum[r].
  std::vector<Halide::Func> quantize(const RowValue &value);

private:
  /// A Func of (lane, r): `combine` over the elements of each lane in order, from 0.
  Halide::Func
  lane_reduction(const std::string &name, const RowValue &value,
                 const std::function<Halide::Expr(Halide::Expr so_far, Halide::Expr x)> &combine);

  int k, lanes, vector, n_kept = 0;
  Halide::Expr begin, n_rows;
  Halide::Var i{"i"}, r{"r"}, lane{"lane"};
  Halide::LoopLevel row_loop; ///< of the output; set when the output is made
};

} // namespace bitnet::codegen
