// rms_norm, quantize and norm_quant: one row at a time.
#include "codegen/generators/generator.h"
#include "codegen/generators/row_stages.h"

namespace bitnet::codegen {
using format::Op;
using Halide::Expr;

Generated generate_norm(const KernelSpec &spec) {
  KernelArgs args(spec);
  Halide::ImageParam &x = args["x"];
  RowStages stages(spec, args);
  RowValue value = [&](Expr i, Expr r) { return x(i, r); };
  if (spec.op != Op::quantize)
    value = stages.rms_norm(value, args["gain"], spec.dims.eps);
  return args.finish(spec.op == Op::rms_norm ? stages.store(value) : stages.quantize(value));
}

} // namespace bitnet::codegen
