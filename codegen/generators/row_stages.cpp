// See row_stages.h.
#include "codegen/generators/row_stages.h"
#include "codegen/generators/strict_math.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {
using Halide::Expr;
using Halide::Func;
using Halide::MemoryType;
using Halide::RDom;
namespace {

/// Stack that one kept row may take. Longer rows are recomputed by each pass. (MemoryType::Register is the
/// stack too, but Stack allocations over 16 KiB end up on the heap.)
constexpr int kMaxKeptBytes = 64 << 10;

} // namespace

RowStages::RowStages(const KernelSpec &spec, const KernelArgs &args)
    : k(spec.dims.k), lanes(format::norm_lanes(spec.dims.k)), vector(16), begin(args.begin),
      n_rows(args.end - args.begin) {}

RowValue RowStages::keep(const RowValue &value) {
  const Expr element = value(i, r);
  if (k * element.type().bytes() > kMaxKeptBytes)
    return value;
  Func kept("kept" + std::to_string(n_kept++));
  kept(i, r) = element;
  kept.compute_at(row_loop).store_in(MemoryType::Register).bound(i, 0, k).vectorize(i, vector);
  return [kept](Expr i, Expr r) { return kept(i, r); };
}

Func RowStages::lane_reduction(const std::string &name, const RowValue &value,
                               const std::function<Expr(Expr, Expr)> &combine) {
  RDom step(0, k / lanes, name + "_step");
  Func f(name);
  f(lane, r) = 0.0f;
  f(lane, r) = combine(f(lane, r), value(step * lanes + lane, r));
  f.compute_at(row_loop).store_in(MemoryType::Register).bound(lane, 0, lanes).vectorize(lane);
  f.update().reorder(lane, step, r).vectorize(lane);
  return f;
}

RowValue RowStages::rms_norm(const RowValue &value, Halide::ImageParam gain, float eps) {
  Func squares = lane_reduction("squares", value, [](Expr sum, Expr x) { return sum + x * x; });
  Func sum = halving_tree(squares, lanes, {r}, plus, row_loop);
  Func rs("rs");
  rs(r) = 1.0f / sqrt(sum(0, r) / float(k) + eps);
  rs.compute_at(row_loop).store_in(MemoryType::Register);
  return [=](Expr i, Expr r) { return (value(i, r) * rs(r)) * gain(i); };
}

std::vector<Func> RowStages::store(const RowValue &value) {
  RDom at(0, n_rows, 0, k, "at");
  Func y("y");
  y(i, r) = Halide::undef<float>();
  y(at.y, begin + at.x) = value(at.y, begin + at.x);
  y.update().reorder(at.y, at.x).vectorize(at.y, vector);
  row_loop.set({y, at.x});
  return {y};
}

std::vector<Func> RowStages::quantize(const RowValue &value) {
  Func absmax =
      halving_tree(lane_reduction("absmax", value, [](Expr most, Expr x) { return sel_max(abs(x), most); }),
                   lanes, {r}, sel_max, row_loop);
  Func scale("scale");
  scale(r) = 127.0f / sel_max(absmax(0, r), 1e-5f);
  const RowValue code = keep([=](Expr i, Expr r) { return round_to_int8(value(i, r) * scale(r)); });
  RDom step(0, k / vector, "total_step"), all(0, vector, "total_lane");
  Func totals("totals"), total("total"); // integers: their order is free
  totals(lane, r) = 0;
  totals(lane, r) += Halide::cast<int32_t>(code(step * vector + lane, r));
  total(r) = 0;
  total(r) += totals(all, r);

  // The three outputs share one loop over rows, which asks that the loops have one name.
  RDom at(0, n_rows, 0, k, "at"), at_row(0, n_rows, "at");
  Func q("q"), s("s"), sum("sum");
  q(i, r) = Halide::undef<int8_t>();
  q(at.y, begin + at.x) = code(at.y, begin + at.x);
  s(r) = Halide::undef<float>();
  s(begin + at_row) = scale(begin + at_row);
  sum(r) = Halide::undef<int32_t>();
  sum(begin + at_row) = total(begin + at_row);

  scale.compute_at(row_loop).store_in(MemoryType::Register);
  totals.compute_at(row_loop).store_in(MemoryType::Register).bound(lane, 0, vector).vectorize(lane);
  totals.update().reorder(lane, step, r).vectorize(lane);
  total.compute_at(row_loop).store_in(MemoryType::Register);
  total.update().atomic().vectorize(all);
  q.update().reorder(at.y, at.x).vectorize(at.y, vector).partition(at.x, Halide::Partition::Never);
  for (Func f : {s, sum})
    f.update().partition(at_row, Halide::Partition::Never).compute_with(q.update(), at_row);
  row_loop.set({q, at.x});
  return {q, s, sum};
}

} // namespace bitnet::codegen
