// linear_f16: y[row, token] = Σ f32(w[row, k]) * x[k, token], one product and one sum after the other in the
// order of k. The order is part of the result, so k is never split: the lanes of a vector are 16 output rows.
#include "codegen/generators/linear.h"
#include "codegen/generators/strict_math.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using namespace Halide;

Generated generate_linear_f16(const KernelSpec &spec) {
  KernelArgs args(spec);
  ImageParam &w = args["w"], &x = args["x"];
  LinearWalk walk(spec, args, linear_tile(spec));

  // Algorithm
  Var lane("lane"), stream("stream"), unit("unit"), token("token");
  const Expr stripe = stream * format::stream_stripes(spec.dims.n) + unit;
  Func sums("sums");
  RDom k(0, spec.dims.k, "k");
  sums(lane, stream, unit, token) = 0.0f;
  sums(lane, stream, unit, token) += f16_to_f32(w(lane, k, stripe), spec.cpu) * x(k, token);

  // Schedule
  walk.write(sums(walk.lane, walk.stream, walk.unit, walk.token));
  sums.compute_at(walk.tile()).store_in(MemoryType::Stack);
  sums.vectorize(lane).unroll(stream).unroll(token);
  sums.update().reorder(lane, stream, token, k).vectorize(lane).unroll(stream).unroll(token);
  return args.finish({walk.y});
}

} // namespace bitnet::codegen
