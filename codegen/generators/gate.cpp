// gate, gate_quant and gate_norm_quant: act(gate) * up, one row at a time, and what follows it.
#include "codegen/generators/generator.h"
#include "codegen/generators/row_stages.h"
#include "codegen/generators/strict_math.h"

namespace bitnet::codegen {
using format::Op;
using Halide::Expr;

Generated generate_gate(const KernelSpec &spec) {
  KernelArgs args(spec);
  const Halide::ImageParam gate = args["gate"], up = args["up"];
  RowStages stages(spec, args);
  RowValue h = [=](Expr i, Expr r) { return activation(spec.dims.act, gate(i, r)) * up(i, r); };
  if (spec.op == Op::gate)
    return args.finish(stages.store(h));
  h = stages.keep(h);
  if (spec.op == Op::gate_norm_quant)
    h = stages.rms_norm(h, args["gain"], spec.dims.eps);
  return args.finish(stages.quantize(h));
}

} // namespace bitnet::codegen
