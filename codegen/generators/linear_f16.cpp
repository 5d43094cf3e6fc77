// linear_f16: y[row, token] = Σ f32(w[row, k]) * x[k, token], one product and one sum after the other in the
// order of k. The order is part of the result, so k is never split: the lanes of a vector are 16 output rows.
#include "codegen/generators/linear.h"
#include "codegen/generators/strict_math.h"

namespace bitnet::codegen {

using namespace Halide;

Generated generate_linear_f16(const KernelSpec &spec) {
  KernelArgs args(spec);
  ImageParam &w = args["w"], &x = args["x"];
  LinearWalk walk(spec, args, linear_tile(spec));

  // Algorithm
  Var lane("lane"), stripe("stripe"), token("token");
  Func sums("sums");
  RDom k(0, spec.dims.k, "k");
  sums(lane, stripe, token) = 0.0f;
  sums(lane, stripe, token) += f16_to_f32(w(lane, k, stripe), spec.cpu) * x(k, token);

  // Schedule
  walk.write(sums(walk.lane, walk.stripe, walk.token));
  sums.compute_at(walk.tile()).store_in(MemoryType::Stack);
  sums.vectorize(lane).unroll(stripe).unroll(token);
  sums.update().reorder(lane, stripe, token, k).vectorize(lane).unroll(stripe).unroll(token);
  return args.finish({walk.y});
}

} // namespace bitnet::codegen
