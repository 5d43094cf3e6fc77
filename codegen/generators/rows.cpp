// add, gather_rows and group_sums: one pass over each row.
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

Generated generate_group_sums(const KernelSpec &spec) {
  KernelArgs args(spec);
  const int group = spec.dims.group;

  // Algorithm
  Halide::Var g("g"), r("r"), lane("lane");
  Halide::RDom at(0, spec.dims.k / group, args.begin, args.end - args.begin, "at"),
      step(0, group / 16, "step"), all(0, 16, "all");
  Halide::Func lanes("lanes"), sum("sum"), y("y"); // integers: their order is free
  lanes(lane, g, r) = 0;
  lanes(lane, g, r) += Halide::cast<int32_t>(args["q"](g * group + step * 16 + lane, r));
  sum(g, r) = 0;
  sum(g, r) += lanes(all, g, r);
  y(g, r) = Halide::undef<int32_t>();
  y(at.x, at.y) = sum(at.x, at.y);

  // Schedule
  lanes.compute_at(y, at.x).store_in(Halide::MemoryType::Stack).bound(lane, 0, 16).vectorize(lane);
  lanes.update().reorder(lane, step, g, r).vectorize(lane);
  sum.compute_at(y, at.x).store_in(Halide::MemoryType::Stack).update().atomic().vectorize(all);
  return args.finish({y});
}

} // namespace bitnet::codegen
