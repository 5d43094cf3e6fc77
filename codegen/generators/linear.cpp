#include "codegen/generators/linear.h"
#include "codegen/generators/coding.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"
#include <algorithm>

namespace bitnet::codegen {

using format::kRowTile;
using Halide::cast;
using Halide::Expr;
using Halide::RDom;

namespace {

/// The loops of LinearWalk, innermost first, see linear.h.
RDom output_loops(const KernelSpec &spec, const KernelArgs &args, LinearTile tile) {
  const int pad = spec.rows ? spec.rows : tile.tokens;
  const Expr tiles = (args.rows + (pad - 1)) / pad * (pad / tile.tokens);
  return RDom({{0, kRowTile},
               {0, tile.stripes},
               {0, tile.tokens},
               {0, tiles},
               {args.begin, args.end - args.begin},
               {0, format::weight_streams(spec.dims.n) / tile.stripes}},
              "o");
}

} // namespace

LinearTile linear_tile(const KernelSpec &spec) {
  const int streams = format::weight_streams(spec.dims.n),
            stripe_registers = kRowTile / vector_lanes(spec.cpu);
  // One token is bound by memory, and what counts is how many stripes stream side by side: on avx2, 8 instead
  // of 4 gain 44 % although 16 registers of sums spill (Zen 5: 405 us instead of 585 for n=13824 k=2560).
  // More tokens take a square tile whose sums fill half of the registers: 4 x 4 with 32 of them (8 rows of
  // that matrix: 847 us; 8 tokens x 2 stripes: 998 us).
  const int sums = (spec.rows == 1 ? 16 : vector_registers(spec.cpu) / 2) / stripe_registers;
  LinearTile tile{streams, spec.rows == 1 ? 1 : std::min(4, sums)};
  while (streams % tile.stripes || (tile.stripes > 1 && tile.stripes * tile.tokens > sums))
    --tile.stripes;
  if (spec.tile.stripes)
    tile.stripes = spec.tile.stripes;
  if (spec.tile.tokens)
    tile.tokens = spec.tile.tokens;
  return tile;
}

LinearWalk::LinearWalk(const KernelSpec &spec, const KernelArgs &args, LinearTile tile)
    : loops(output_loops(spec, args, tile)) {
  lane = loops[0];
  stream = loops[5] * tile.stripes + loops[1];
  unit = loops[4];
  row = (stream * format::stream_stripes(spec.dims.n) + unit) * kRowTile + lane;
  token = loops[3] * tile.tokens + loops[2];
}

void LinearWalk::write(Expr value) {
  Halide::Var i("i"), r("r");
  y(i, r) = Halide::undef(value.type());
  y(row, token) = value;
  // No two points of the domain write the same element, which Halide cannot see through the index arithmetic.
  y.update().allow_race_conditions().vectorize(loops[0]).unroll(loops[1]).unroll(loops[2]);
}

Expr linear_output(const KernelSpec &spec, KernelArgs &args, Expr row, Expr token, Expr sum_of_codes) {
  const Expr sum = sum_of_codes - coding_of(spec.op).offset * args["sum"](token);
  const Expr value = cast<float>(sum) * (args["row_scale"](row) / args["s"](token));
  return spec.dims.add ? args["residual"](row, token) + value : value;
}

} // namespace bitnet::codegen
