// screen_q4: what a head row is about worth, from 4-bit codes of its weights and 15 bits of the input.
//   y[row, token] = (f32(Σ code*(128*high + low)) * map[0, token] + map[1, token]) * row_scale[row] + Σ
//   outlier*x
// Like linear_int (one vector of sums is 16 rows, many stripes side by side), but each unpacked code meets
// two int8 halves of the input, whose sums are kept apart, so that a tile has half as many stripes.
#include "codegen/generators/linear.h"
#include "codegen/generators/strict_math.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using namespace Halide;
using format::kRowTile;
using format::kScreenOutliers;

namespace {

constexpr int kLine = 8; ///< inputs of a line: 4 in the low halves of its bytes, 4 in the high halves

const Var lane("lane"), stream("stream"), unit("unit"), token("token"), half("half"), plane("plane"),
    line("line"), j("j");

/// x, with what Halide could prove about its range forgotten, so that it stays an unsigned operand.
Expr opaque(Expr x) {
  return Internal::Call::make(x.type(), Internal::Call::return_second, {Expr(0), x},
                              Internal::Call::PureIntrinsic);
}
Expr code_of(Expr byte, Expr plane) { return opaque((byte >> cast<uint8_t>(plane * 4)) & cast<uint8_t>(15)); }

void hold_in_registers(Func sums, const LinearWalk &walk) {
  sums.compute_at(walk.tile()).store_in(MemoryType::Stack).bound(half, 0, 2);
  sums.vectorize(lane).unroll(stream).unroll(token).unroll(half);
}

/// vpdpbusd: four u8 x i8 products added to an i32 lane.
Func sums_by_dot4(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const int lines = format::q4_lines(spec.dims.k);
  ImageParam &w = args["w"], &q = args["q"];

  // Algorithm
  Func sums("sums"), codes("codes");
  codes(j, lane, plane, line, stream) = code_of(w(j, lane, line, stream), plane);
  RDom k(0, 4, 0, 2, 0, lines, "k");
  sums(lane, stream, unit, token, half) = 0;
  sums(lane, stream, unit, token, half) +=
      cast<int32_t>(codes(k.x, lane, k.y, unit * lines + k.z, stream)) *
      cast<int32_t>(q(half * spec.dims.k + k.z * kLine + k.y * 4 + k.x, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, half, token, stream, k.y, k.z)
      .unroll(half)
      .unroll(stream)
      .unroll(token)
      .unroll(k.y);
  update.atomic().vectorize(k.x).vectorize(lane);
  return sums;
}

/// vpmaddubsw: u8 x i8 products added in pairs to i16 lanes, then in pairs to i32 lanes. A pair gives at most
/// 2*15*127, a line's two planes 7620: nothing saturates.
Func sums_by_pair_dot(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const int lines = format::q4_lines(spec.dims.k);
  ImageParam &w = args["w"], &q = args["q"];
  Var pair("pair");

  // Algorithm
  Func sums("sums"), pairs("pairs");
  RDom p(0, 2, 0, 2, "p");
  pairs(pair, lane, line, stream, unit, token, half) = cast<int16_t>(0);
  pairs(pair, lane, line, stream, unit, token, half) = saturating_add(
      pairs(pair, lane, line, stream, unit, token, half),
      cast<int16_t>(code_of(w(pair * 2 + p.x, lane, unit * lines + line, stream), p.y)) *
          cast<int16_t>(q(half * spec.dims.k + line * kLine + p.y * 4 + pair * 2 + p.x, token)));
  RDom k(0, 2, 0, lines, "k");
  sums(lane, stream, unit, token, half) = 0;
  sums(lane, stream, unit, token, half) += cast<int32_t>(pairs(k.x, lane, k.y, stream, unit, token, half));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, half, token, stream, k.y).unroll(half).unroll(stream).unroll(token);
  update.atomic().vectorize(k.x).vectorize(lane);
  pairs.compute_at(sums, half).bound(pair, 0, 2).bound(lane, 0, kRowTile);
  pairs.reorder(pair, lane, line, stream, unit, token, half).vectorize(lane).vectorize(pair);
  // Saturation makes the sum not associative in general; here it never happens.
  Stage products = pairs.update();
  products.reorder(p.x, pair, lane, p.y, line, stream, unit, token, half).unroll(p.y);
  products.atomic(true).vectorize(p.x).vectorize(pair).vectorize(lane);
  return sums;
}

/// pmaddwd: i16 products added in pairs to an i32 lane; bytes are read as words and never moved between
/// lanes.
Func sums_by_words(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const int lines = format::q4_lines(spec.dims.k);
  ImageParam w = args.dense_as(
      "w", UInt(16),
      {2, kRowTile, format::stream_lines(spec.dims.n, lines), format::weight_streams(spec.dims.n)});
  ImageParam &q = args["q"];
  Var word("word"), high("high");

  // Algorithm
  Func sums("sums"), wide("wide");
  wide(word, high, plane, line, half, token) =
      cast<int16_t>(q(half * spec.dims.k + line * kLine + plane * 4 + word * 2 + high, token));
  RDom k(0, 2, 0, 2, 0, 2, 0, lines, "k");
  const Expr shift = cast<uint16_t>(k.y * 8 + k.z * 4);
  const Expr code = cast<int16_t>((w(k.x, lane, unit * lines + k.w, stream) >> shift) & cast<uint16_t>(15));
  sums(lane, stream, unit, token, half) = 0;
  sums(lane, stream, unit, token, half) +=
      cast<int32_t>(code) * cast<int32_t>(wide(k.x, k.y, k.z, k.w, half, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, half, token, stream, k.y, k.z, k.w).unroll(half).unroll(stream).unroll(token);
  update.unroll(k.y).unroll(k.z).atomic().vectorize(k.x).vectorize(lane);
  wide.compute_at(walk.tile()).store_in(MemoryType::Register); // up to 16 * k bytes of stack
  wide.bound(word, 0, 2).bound(high, 0, 2).bound(plane, 0, 2).bound(line, 0, lines).bound(half, 0, 2);
  wide.vectorize(word).vectorize(high).unroll(plane);
  return sums;
}

} // namespace

Generated generate_screen_q4(const KernelSpec &spec) {
  KernelArgs args(spec);
  LinearTile tile = linear_tile(spec);
  const int registers = tile.tokens * 2 * kRowTile / vector_lanes(spec.cpu); // of a stripe's sums
  while (!spec.tile.stripes && tile.stripes > 1 && tile.stripes * registers > vector_registers(spec.cpu) / 2)
    tile.stripes = tile.stripes % 2 ? 1 : tile.stripes / 2;
  LinearWalk walk(spec, args, tile);
  const Func dots = has_dot4(spec.cpu)       ? sums_by_dot4(spec, args, walk)
                    : has_pair_dot(spec.cpu) ? sums_by_pair_dot(spec, args, walk)
                                             : sums_by_words(spec, args, walk);

  // The outliers one after the other, each for 16 rows at once.
  ImageParam &x = args["x"], &map = args["map"], &outliers = args["outliers"];
  Func exact("exact");
  RDom o(0, kScreenOutliers, "outlier");
  const Expr stripe = stream * format::stream_stripes(spec.dims.n) + unit;
  const Expr word = reinterpret<uint32_t>(outliers(lane, o, stripe));
  const Expr column =
      unsafe_promise_clamped(cast<int32_t>(word & Expr(uint32_t(0xffff))), 0, spec.dims.k - 1);
  exact(lane, stream, unit, token) = 0.0f;
  exact(lane, stream, unit, token) +=
      f16_to_f32(cast<uint16_t>(word >> Expr(uint32_t(16))), spec.cpu) * x(column, token);

  const auto sum = [&](int h) { return dots(walk.lane, walk.stream, walk.unit, walk.token, h); };
  const Expr scaled = cast<float>(sum(0) * 128 + sum(1)) * map(0, walk.token) + map(1, walk.token);
  walk.write(scaled * args["row_scale"](walk.row) + exact(walk.lane, walk.stream, walk.unit, walk.token));
  exact.compute_at(walk.tile()).store_in(MemoryType::Stack).vectorize(lane);
  exact.update().reorder(lane, o, stream, unit, token).vectorize(lane);
  return args.finish({walk.y});
}

} // namespace bitnet::codegen
