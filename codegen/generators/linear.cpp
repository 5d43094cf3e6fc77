#include "codegen/generators/linear.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using format::kRowTile;
using Halide::Expr;
using Halide::RDom;

namespace {

/// Tokens that a call computes: rows, rounded up to the kernel's row tile.
int padded_to(const KernelSpec &spec) { return spec.rows ? spec.rows : format::kRowPad; }

/// `name` as the loops of LinearWalk, see linear.h.
RDom output_loops(const KernelSpec &spec, const KernelArgs &args, LinearTile tile) {
  const int pad = padded_to(spec), unit = format::stripes_per_unit(spec.dims.n);
  const Expr tiles = (args.rows + (pad - 1)) / pad * (pad / tile.tokens);
  return RDom({{0, kRowTile},
               {0, tile.stripes},
               {0, tile.tokens},
               {0, tiles},
               {0, unit / tile.stripes},
               {args.begin, args.end - args.begin}},
              "o");
}

} // namespace

LinearTile linear_tile(const KernelSpec &spec, int sums) {
  const int stripe_registers = kRowTile / vector_lanes(spec.cpu);
  LinearTile tile{format::stripes_per_unit(spec.dims.n), padded_to(spec)};
  while (tile.tokens * stripe_registers > sums)
    tile.tokens /= 2;
  while (format::stripes_per_unit(spec.dims.n) % tile.stripes ||
         (tile.stripes > 1 && tile.stripes * tile.tokens * stripe_registers > sums))
    --tile.stripes;
  return tile;
}

LinearWalk::LinearWalk(const KernelSpec &spec, const KernelArgs &args, LinearTile tile)
    : loops(output_loops(spec, args, tile)) {
  const int panels = format::stripes_per_unit(spec.dims.n) / tile.stripes;
  lane = loops[0];
  stripe = (loops[5] * panels + loops[4]) * tile.stripes + loops[1];
  row = stripe * kRowTile + lane;
  token = loops[3] * tile.tokens + loops[2];
}

void LinearWalk::write(Expr value) {
  Halide::Var i("i"), r("r");
  y(i, r) = Halide::undef(value.type());
  y(row, token) = value;
  // No two points of the domain write the same element, which Halide cannot see through the index arithmetic.
  y.update().allow_race_conditions().vectorize(loops[0]).unroll(loops[1]).unroll(loops[2]);
}

} // namespace bitnet::codegen
