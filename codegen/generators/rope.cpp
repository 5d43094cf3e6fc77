// Rotary position embedding, half-split: element i of a head turns with element i + head_dim/2. x and y may
// be the same buffer. Halide and LLVM assume that they are not, so the kernel first copies x to y, which in
// place changes nothing in whatever order, and then turns y in place, each pair read before either element is
// written.
#include "codegen/generators/generator.h"

namespace bitnet::codegen {
using Halide::Expr;

Generated generate_rope(const KernelSpec &spec) {
  const int half = spec.dims.head_dim / 2;
  const int lanes = lanes_for(half);
  KernelArgs args(spec);

  // Algorithm
  Halide::Var d("d"), h("h"), r("r");
  Halide::RDom i(0, half, "i");
  Halide::Func y("y");
  y(d, h, r) = args["x"](d, h, r);
  // The runtime checks positions before a step.
  const Expr position = unsafe_promise_clamped(args["positions"](r), 0, spec.dims.context - 1);
  const Expr c = args["cos"](i, position), s = args["sin"](i, position);
  const Expr x0 = y(i, h, r), x1 = y(i + half, h, r);
  y(Halide::scatter(i, i + half), h, r) = Halide::gather(x0 * c - x1 * s, x1 * c + x0 * s);

  // Schedule
  y.bound(d, 0, spec.dims.head_dim).bound(h, 0, spec.dims.heads).bound(r, args.begin, args.end - args.begin);
  y.vectorize(d, lanes);
  y.update().allow_race_conditions().vectorize(i, lanes); // pairs of different i are apart
  return args.finish({y});
}

} // namespace bitnet::codegen
