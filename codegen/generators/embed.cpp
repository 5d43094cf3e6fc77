// Embedding lookup. The table is the head's (rows in tiles of 16, side by side), so one token's row is every
// 16th element: 2 bytes used of each 32 read. A step looks up a row or a few; the head streams the whole
// table.
#include "codegen/generators/generator.h"
#include "codegen/generators/strict_math.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {
using format::kRowTile;
using Halide::Expr;

Generated generate_embed(const KernelSpec &spec) {
  KernelArgs args(spec);
  Halide::Var i("i"), r("r");
  Halide::Func x("x");
  // The runtime checks tokens before a step.
  const Expr token = unsafe_promise_clamped(args["tokens"](r), 0, spec.dims.n - 1);
  x(i, r) = f16_to_f32(args["table"](token % kRowTile, i, token / kRowTile), spec.cpu);
  x.bound(i, 0, spec.dims.k).bound(r, args.begin, args.end - args.begin).vectorize(i, 16);
  return args.finish({x});
}

} // namespace bitnet::codegen
