// linear_f16: y[row, token] = Σ f32(w[row, k]) * x[k, token], and rescore_f16: the same for single rows of
// one token. A row's input i goes to lane i % kDotLanes, product and sum one after the other, then a halving
// tree (format/layouts.h): the same numbers whatever rows and tokens are computed side by side.
#include "codegen/generators/generator.h"
#include "codegen/generators/strict_math.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"
#include <algorithm>

namespace bitnet::codegen {

using namespace Halide;
using format::kDotLanes;
using format::kRowTile;

namespace {

const Var lane("lane"), stream("stream"), token("token");

/// The dot products of `streams` rows with `tokens` inputs, in lane 0 of the result (lane, stream, token,
/// where...), computed at `at`; row says which row of w a stream has at a place, place being the Vars of
/// `where`. All partial sums stay in registers; a weight is converted once for all tokens.
Func dots(const KernelSpec &spec, KernelArgs &args, int streams, int tokens, const std::vector<Var> &where,
          Expr row, const std::function<Expr(Expr i)> &x, const LoopLevel &at) {
  std::vector<Expr> here{lane, stream, token};
  here.insert(here.end(), where.begin(), where.end());
  std::vector<Var> vars{lane, stream, token};
  vars.insert(vars.end(), where.begin(), where.end());

  // Algorithm
  Func sums("sums");
  RDom k(0, spec.dims.k / kDotLanes, "k");
  const Expr i = k * kDotLanes + lane;
  sums(vars) = 0.0f;
  sums(vars) += f16_to_f32(args["w"](i, row), spec.cpu) * x(i);

  // Schedule
  const auto in_registers = [&](Func f, int lanes) {
    f.compute_at(at).store_in(MemoryType::Stack).bound(lane, 0, lanes).bound(stream, 0, streams);
    f.bound_extent(token, tokens).unroll(stream).unroll(token);
    if (lanes > 1)
      f.vectorize(lane);
  };
  in_registers(sums, kDotLanes);
  sums.update().reorder(lane, token, stream, k).vectorize(lane).unroll(token).unroll(stream);
  Func level = sums;
  for (int half = kDotLanes / 2; half >= 1; half /= 2) {
    Func next("sums_" + std::to_string(half));
    std::vector<Expr> high = here;
    high[0] = lane + half;
    next(vars) = level(here) + level(high);
    in_registers(next, half);
    level = next;
  }
  return level;
}

/// What is computed side by side: `per_stripe` rows of each of `stripes` stripes, for `tokens` tokens.
struct Tile {
  int stripes, per_stripe, tokens;
  int streams() const { return stripes * per_stripe; }
};

/// One token is bound by memory: two rows are read side by side, whose sums keep up with it (n=128256 k=2560
/// on Zen 4: 2 rows 23.3 ms, 8 rows 27.2 ms; two threads 4 % apart). More tokens take as many rows as leave
/// half of the registers free.
Tile tile_of(const KernelSpec &spec) {
  const int sums = vector_registers(spec.cpu) / 2 / (kDotLanes / vector_lanes(spec.cpu));
  Tile tile{1, 1, spec.rows == 0 ? std::min(4, sums) : std::min({4, sums, spec.rows})};
  const int streams = spec.rows == 1 ? 2 : std::min(8, sums / tile.tokens),
            of_matrix = format::weight_streams(spec.dims.n);
  for (int stripes = 1; stripes <= streams; ++stripes)
    if (of_matrix % stripes == 0)
      tile.stripes = stripes;
  while (tile.streams() * 2 <= streams)
    tile.per_stripe *= 2;
  if (spec.tile.stripes)
    tile.stripes = spec.tile.stripes;
  if (spec.tile.tokens)
    tile.tokens = spec.tile.tokens;
  return tile;
}

} // namespace

Generated generate_linear_f16(const KernelSpec &spec) {
  KernelArgs args(spec);
  ImageParam &x = args["x"];
  const Tile tile = tile_of(spec);
  const int stride = kRowTile / tile.per_stripe, units = format::stream_stripes(spec.dims.n);
  const int pad = spec.rows ? spec.rows : tile.tokens;
  const Expr tiles = (args.rows + (pad - 1)) / pad * (pad / tile.tokens);
  RDom o({{0, tile.streams()},
          {0, tile.tokens},
          {0, tiles},
          {0, stride},
          {args.begin, args.end - args.begin},
          {0, format::weight_streams(spec.dims.n) / tile.stripes}},
         "o");
  // A stream goes on where it was: its rows follow each other in memory.
  const auto row_of = [&](Expr s, Expr place, Expr unit, Expr panel) {
    const Expr stripe = (panel * tile.stripes + s / tile.per_stripe) * units + unit;
    return stripe * kRowTile + s % tile.per_stripe * stride + place;
  };

  Var i("i"), r("r"), place("place"), unit("unit"), panel("panel");
  Func y("y");
  y(i, r) = undef<float>();
  const Func dot = dots(
      spec, args, tile.streams(), tile.tokens, {place, unit, panel}, row_of(stream, place, unit, panel),
      [&](Expr k) { return x(k, token); }, LoopLevel(y, o[2]));
  const Expr t = o[2] * tile.tokens + o[1];
  y(row_of(o[0], o[3], o[4], o[5]), t) = dot(0, o[0], t, o[3], o[4], o[5]);
  y.update().allow_race_conditions().unroll(o[0]).unroll(o[1]);
  return args.finish({y});
}

Generated generate_rescore_f16(const KernelSpec &spec) {
  KernelArgs args(spec);
  ImageParam &x = args["x"], &index = args["index"];
  // The last rows are computed again where fewer than `streams` are left.
  const int streams = std::min(4, tile_of(spec).streams());
  RDom o({{0, streams}, {0, (args.end - args.begin + (streams - 1)) / streams}}, "o");
  const auto candidate = [&](Expr s, Expr place) {
    return min(args.begin + place * streams + s, args.end - 1);
  };

  Var c("c"), place("place");
  Func y("y");
  y(c) = undef<float>();
  const Func dot = dots(
      spec, args, streams, 1, {place},
      unsafe_promise_clamped(index(candidate(stream, place)), 0, spec.dims.n - 1),
      [&](Expr k) { return x(k); }, LoopLevel(y, o[1]));
  y(candidate(o[0], o[1])) = dot(0, o[0], 0, o[1]);
  y.update().allow_race_conditions().unroll(o[0]);
  return args.finish({y});
}

} // namespace bitnet::codegen
