// skip_sum: the sums that skip_down kept apart, added and scaled. (skip_up and skip_down themselves are not
// Halide's, see codegen/intrinsics.)
#include "codegen/generators/generator.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {
using Halide::cast;
using Halide::Expr;
using Halide::RDom;

Generated generate_skip_sum(const KernelSpec &spec) {
  KernelArgs args(spec);
  const int n = spec.dims.n;

  // Algorithm
  Halide::Func y("y");
  Halide::Var i("i"), r("r");
  RDom at(0, n, args.begin, args.end - args.begin, "at");
  const Halide::ImageParam sums = args["sums"];
  const Expr few = args.rows <= format::kRowPad;
  Expr apart = sums(at.x, at.y);
  for (int range = 1; range < format::kSkipRanges; ++range)
    apart += sums(at.x + range * n, at.y);
  const Expr whole = sums(at.x + at.y % format::kSkipRanges * n, at.y / format::kSkipRanges);
  const Expr sum = select(few, apart, whole) - args["sum"](at.y);
  Expr value = cast<float>(sum) * (args["row_scale"](at.x) / args["s"](at.y));
  if (spec.dims.epilogue == format::Epilogue::residual)
    value = args["residual"](at.x, at.y) + value;
  y(i, r) = Halide::undef<float>();
  y(at.x, at.y) = value;

  // Schedule
  y.update().allow_race_conditions().vectorize(at.x, 16).specialize(few);
  return args.finish({y});
}

} // namespace bitnet::codegen
