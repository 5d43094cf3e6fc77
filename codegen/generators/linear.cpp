#include "codegen/generators/linear.h"
#include "codegen/generators/coding.h"
#include "codegen/generators/strict_math.h"
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

int sums_of_output(const KernelSpec &spec) {
  const Coding c = coding_of(spec.op);
  if (!has_dot4(spec.cpu) || 8 % c.planes != 0) // codes of base 3 are no bits
    return 1;
  const int64_t largest = int64_t(c.top << (8 - 8 / c.planes)) * 128 * inputs_of_sum(spec); // in its place
  return largest <= INT32_MAX ? c.planes : 1;
}

LinearTile linear_tile(const KernelSpec &spec) {
  const int streams = format::weight_streams(spec.dims.n);
  const int halves = spec.op == format::Op::screen_q4 && spec.rows == 1 ? 2 : 1; // sums of a token
  const int sums =
      vector_registers(spec.cpu) / 2 * vector_lanes(spec.cpu) / kRowTile / halves / sums_of_output(spec);
  // One token is bound by memory: what counts is that each stripe's stream goes on without a jump, and few
  // enough of them for the prefetchers to follow. n=2560 k=6912 on Zen 4: 4 streams 26.9 GB/s, 96 % of plain
  // loads; 8 streams 22.3; with avx2 (n=13824 k=2560) 22.7 and 17.4.
  LinearTile tile{std::min(4, sums), 1};
  // More tokens are bound by dot products: a tile whose sums fill half of the registers, first of tokens, so
  // that a code is unpacked once for as many as can be (n=13824 k=2560 from memory on Zen 4, 2, 4 and 8 rows:
  // 0.36, 0.64 and 1.27 ms; 0.30, 0.60 and 1.20 at the dot products' peak).
  if (spec.rows != 1) {
    tile.tokens = std::min(sums, spec.rows ? spec.rows : format::kRowPad);
    tile.stripes = std::clamp(sums / tile.tokens, 1, 4);
  }
  tile.stripes = std::min(tile.stripes, streams);
  while (streams % tile.stripes)
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

namespace {

/// Σ_g f32(sum of group g) * its scale, group by group; the float sums wait where the integer ones leave
/// room.
Expr sum_of_groups(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk, const SumOfCodes &sums,
                   Halide::LoopLevel level) {
  const Halide::Var lane("lane"), stream("stream"), unit("unit"), token("token");
  const int groups = spec.dims.k / spec.dims.group;
  const RDom g(0, groups, "g");
  Halide::Func scaled("scaled");

  // Algorithm
  const Expr sum =
      sums({lane, stream, unit, token, g}) - coding_of(spec.op).offset * args["group_sums"](g, token);
  scaled(lane, stream, unit, token) = 0.0f;
  scaled(lane, stream, unit, token) +=
      cast<float>(sum) * args["group_scale"](lane, unit * groups + g, stream);

  // Schedule
  scaled.compute_at(walk.tile()).store_in(Halide::MemoryType::Stack);
  scaled.vectorize(lane).unroll(stream).unroll(token);
  scaled.update().reorder(lane, stream, token, unit, g).vectorize(lane).unroll(stream).unroll(token);
  level.set({scaled, g});
  return scaled(walk.lane, walk.stream, walk.unit, walk.token);
}

} // namespace

int inputs_of_sum(const KernelSpec &spec) { return spec.dims.group ? spec.dims.group : spec.dims.k; }

Expr linear_output(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk, const SumOfCodes &sums,
                   Halide::LoopLevel level) {
  Expr value;
  if (spec.dims.group) {
    value = sum_of_groups(spec, args, walk, sums, level) / args["s"](walk.token);
  } else {
    level.set(walk.tile());
    const Expr sum = sums({walk.lane, walk.stream, walk.unit, walk.token, 0}) -
                     coding_of(spec.op).offset * args["sum"](walk.token);
    value = cast<float>(sum) * (args["row_scale"](walk.row) / args["s"](walk.token));
  }
  switch (spec.dims.epilogue) {
  case format::Epilogue::residual:
    return args["residual"](walk.row, walk.token) + value;
  case format::Epilogue::gate:
    return activation(spec.dims.act, args["gate"](walk.row, walk.token)) * value;
  default:
    return value;
  }
}

} // namespace bitnet::codegen
