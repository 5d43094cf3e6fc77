// add and gather_rows: one pass over each row.
#include "codegen/generators/generator.h"

namespace bitnet::codegen {

Generated generate_rows(const KernelSpec &spec) {
  KernelArgs args(spec);
  Halide::Var i("i"), r("r");
  Halide::Func y("y");
  if (spec.op == format::Op::add) {
    y(i, r) = args["a"](i, r) + args["b"](i, r);
  } else {
    Halide::ImageParam &x = args["x"];
    // The runtime checks the indices before a step.
    y(i, r) = x(i, unsafe_promise_clamped(args["logit_rows"](r), 0, x.dim(1).extent() - 1));
  }
  y.bound(i, 0, spec.dims.k).bound(r, args.begin, args.end - args.begin).vectorize(i, 16);
  return args.finish({y});
}

} // namespace bitnet::codegen
