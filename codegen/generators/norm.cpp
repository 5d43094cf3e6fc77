// rms_norm, quantize and norm_quant: one row at a time; head_norm: one head of a row at a time.
#include "codegen/generators/generator.h"
#include "codegen/generators/row_stages.h"
#include "codegen/generators/strict_math.h"
#include "runtime/format/layouts.h"

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

// x and y may be one buffer: each element is read for the sum of its head and once more where it is written.
Generated generate_head_norm(const KernelSpec &spec) {
  const int dim = spec.dims.head_dim, lanes = format::norm_lanes(dim);
  KernelArgs args(spec);
  Halide::ImageParam &x = args["x"], &gain = args["gain"];

  // Algorithm
  Halide::Var d("d"), h("h"), r("r"), lane("lane");
  Halide::RDom step(0, dim / lanes, "step");
  Halide::RDom at(0, dim, 0, spec.dims.heads, args.begin, args.end - args.begin, "at");
  Halide::Func squares("squares"), rs("rs"), y("y");
  const Expr element = x(step * lanes + lane, h, r);
  squares(lane, h, r) = 0.0f;
  squares(lane, h, r) = squares(lane, h, r) + element * element;
  Halide::LoopLevel head_loop; // of the output
  Halide::Func sum = halving_tree(squares, lanes, {h, r}, plus, head_loop);
  rs(h, r) = 1.0f / sqrt(sum(0, h, r) / float(dim) + spec.dims.eps);
  y(d, h, r) = Halide::undef<float>();
  y(at.x, at.y, at.z) = (x(at.x, at.y, at.z) * rs(at.y, at.z)) * gain(at.x);

  // Schedule
  squares.compute_at(head_loop).store_in(Halide::MemoryType::Register).bound(lane, 0, lanes).vectorize(lane);
  squares.update().reorder(lane, step, h, r).vectorize(lane);
  rs.compute_at(head_loop).store_in(Halide::MemoryType::Register);
  y.update().reorder(at.x, at.y, at.z).vectorize(at.x, 16);
  head_loop.set({y, at.y});
  return args.finish({y});
}

} // namespace bitnet::codegen
