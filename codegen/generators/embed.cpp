// Embedding lookup: one row of the table, which is the head's, for each token.
#include "codegen/generators/generator.h"
#include "codegen/generators/strict_math.h"

namespace bitnet::codegen {
using Halide::Expr;

Generated generate_embed(const KernelSpec &spec) {
  KernelArgs args(spec);
  Halide::Var i("i"), r("r");
  Halide::Func x("x");
  // The runtime checks tokens before a step.
  const Expr token = unsafe_promise_clamped(args["tokens"](r), 0, spec.dims.n - 1);
  x(i, r) = f16_to_f32(args["table"](i, token), spec.cpu);
  x.bound(i, 0, spec.dims.k).bound(r, args.begin, args.end - args.begin).vectorize(i, 16);
  return args.finish({x});
}

} // namespace bitnet::codegen
