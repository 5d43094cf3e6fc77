// screen_q4: what a head row is about worth, from 4-bit codes of its weights and 15 bits of the input.
//   y[row, token] = (f32(Σ code*(128*high + low)) * map[0, token] + map[1, token]) * row_scale[row] + Σ
//   outlier*x
// The dot products are linear_int's; the input comes as two int8 halves, whose sums are kept apart.
#include "codegen/generators/linear.h"
#include "codegen/generators/strict_math.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using namespace Halide;
using format::kScreenOutliers;

Generated generate_screen_q4(const KernelSpec &spec) {
  KernelArgs args(spec);
  const LinearTile tile = linear_tile(spec);
  LinearWalk walk(spec, args, tile);
  const SumOfCodes sums = sums_of_codes(spec, args, walk, tile, 2, walk.tile());
  const auto half = [&](int i) { return sums({walk.lane, walk.stream, walk.unit, walk.token * 2 + i, 0}); };

  // The outliers one after the other, each for 16 rows at once.
  ImageParam &x = args["x"], &map = args["map"], &outliers = args["outliers"];
  const Var lane("lane"), stream("stream"), unit("unit"), token("token");
  Func exact("exact");
  RDom o(0, kScreenOutliers, "outlier");
  const Expr stripe = stream * format::stream_stripes(spec.dims.n) + unit;
  const Expr word = reinterpret<uint32_t>(outliers(lane, o, stripe));
  const Expr column =
      unsafe_promise_clamped(cast<int32_t>(word & Expr(uint32_t(0xffff))), 0, spec.dims.k - 1);
  exact(lane, stream, unit, token) = 0.0f;
  exact(lane, stream, unit, token) +=
      f16_to_f32(cast<uint16_t>(word >> Expr(uint32_t(16))), spec.cpu) * x(column, token);

  const Expr scaled = cast<float>(half(0) * 128 + half(1)) * map(0, walk.token) + map(1, walk.token);
  walk.write(scaled * args["row_scale"](walk.row) + exact(walk.lane, walk.stream, walk.unit, walk.token));
  exact.compute_at(walk.tile()).store_in(MemoryType::Stack).vectorize(lane);
  exact.update().reorder(lane, o, stream, unit, token).vectorize(lane);
  return args.finish({walk.y});
}

} // namespace bitnet::codegen
