// linear_t2 and linear_s8: integer dot products of unsigned weight codes with int8 activations, then one
// float scale.
//   y[row, token] = f32(Σ code*q - offset*sum[token]) * (row_scale[row] / s[token]) [+ residual]
// A weight line is 64 bytes: 16 rows, 4 neighbouring inputs each (format/layouts.h). A byte holds `planes`
// codes, of inputs 4 apart: 4 two-bit codes (t2) or one byte (s8). Sums are exact in i32, so their order is
// free, and each kind of machine gets the form of the dot product that it has an instruction for.
#include "codegen/generators/linear.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using namespace Halide;
using format::kRowTile;
using format::Op;

namespace {

struct Coding {
  int planes;                               ///< codes in a byte
  int bits;                                 ///< of a code
  int offset;                               ///< code - weight
  int k_line() const { return 4 * planes; } ///< inputs in a line
};
Coding coding(Op op) { return op == Op::linear_t2 ? Coding{4, 2, 1} : Coding{1, 8, 128}; }

/// x, with what Halide could prove about its range forgotten. A code that is known to be below 128 would be
/// narrowed to i8, and the u8 x i8 instructions be missed.
Expr opaque(Expr x) {
  return Internal::Call::make(x.type(), Internal::Call::return_second, {Expr(0), x},
                              Internal::Call::PureIntrinsic);
}

Expr code_of(Expr byte, Expr plane, Coding c) {
  if (c.planes == 1)
    return byte;
  return opaque((byte >> cast<uint8_t>(plane * c.bits)) & cast<uint8_t>((1 << c.bits) - 1));
}

const Var lane("lane"), stripe("stripe"), token("token"), j("j"), plane("plane"), line("line");

/// Schedules the sums of a tile: all in registers for the whole of k.
void hold_in_registers(Func sums, const LinearWalk &walk) {
  const std::vector<Var> at = sums.args(); // lane, stripe, token
  sums.compute_at(walk.tile()).store_in(MemoryType::Stack);
  sums.vectorize(at[0]).unroll(at[1]).unroll(at[2]);
}

/// vpdpbusd: four u8 x i8 products added to an i32 lane, which is one output row. Codes are unpacked in the
/// loop, also for many tokens: keeping a panel of unpacked codes was 6 % slower on Zen 5 (485 and 455
/// GMAC/s), whose two other vector ports unpack for free. (On Ice Lake, which has no such ports, a panel
/// gained up to 20 %.)
Func sums_by_dot4(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const Coding c = coding(spec.op);
  ImageParam &w = args["w"], &q = args["q"];

  // Algorithm
  Func sums("sums"), codes("codes");
  codes(j, lane, plane, line, stripe) = code_of(w(j, lane, line, stripe), plane, c);
  RDom k(0, 4, 0, c.planes, 0, spec.dims.k / c.k_line(), "k");
  sums(lane, stripe, token) = 0;
  sums(lane, stripe, token) += cast<int32_t>(codes(k.x, lane, k.y, k.z, stripe)) *
                               cast<int32_t>(q(k.z * c.k_line() + k.y * 4 + k.x, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, stripe, token, k.y, k.z).unroll(stripe).unroll(token).unroll(k.y);
  update.atomic().vectorize(k.x).vectorize(lane);
  return sums;
}

/// vpmaddubsw: u8 x i8 products added in pairs to i16 lanes, two lanes an output row; those in pairs to i32
/// lanes. A pair of codes 0..2 gives at most 2*2*127 = 508, a line's four planes 2032: nothing saturates.
Func sums_by_pair_dot(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const Coding c = coding(spec.op);
  ImageParam &w = args["w"], &q = args["q"];
  Var half("half");

  // Algorithm
  Func sums("sums"), pairs("pairs");
  RDom p(0, 2, 0, c.planes, "p");
  pairs(half, lane, line, stripe, token) = cast<int16_t>(0);
  pairs(half, lane, line, stripe, token) =
      saturating_add(pairs(half, lane, line, stripe, token),
                     cast<int16_t>(code_of(w(half * 2 + p.x, lane, line, stripe), p.y, c)) *
                         cast<int16_t>(q(line * c.k_line() + p.y * 4 + half * 2 + p.x, token)));
  RDom k(0, 2, 0, spec.dims.k / c.k_line(), "k");
  sums(lane, stripe, token) = 0;
  sums(lane, stripe, token) += cast<int32_t>(pairs(k.x, lane, k.y, stripe, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, stripe, token, k.y).unroll(stripe).unroll(token);
  update.atomic().vectorize(k.x).vectorize(lane);
  pairs.compute_at(sums, stripe).bound(half, 0, 2).bound(lane, 0, kRowTile);
  pairs.reorder(half, lane, line, stripe, token).vectorize(lane).vectorize(half);
  // Saturation makes the sum not associative in general; here it never happens.
  Stage products = pairs.update();
  products.reorder(p.x, half, lane, p.y, line, stripe, token).unroll(p.y);
  products.atomic(true).vectorize(p.x).vectorize(half).vectorize(lane);
  return sums;
}

/// pmaddwd: i16 products added in pairs to an i32 lane, which is one output row. The bytes of a row are read
/// as two words, and a word's low and high byte are taken by mask and shift, so no byte is ever moved to
/// another lane; the activations are widened once a tile and stored in the matching order.
Func sums_by_words(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const Coding c = coding(spec.op);
  const int lines = spec.dims.k / c.k_line();
  ImageParam w = args.dense_as("w", UInt(16), {2, kRowTile, lines, spec.dims.n / kRowTile});
  ImageParam &q = args["q"];
  Var word("word"), high("high");

  // Algorithm
  Func sums("sums"), wide("wide");
  wide(word, high, plane, line, token) =
      cast<int16_t>(q(line * c.k_line() + plane * 4 + word * 2 + high, token));
  RDom k(0, 2, 0, 2, 0, c.planes, 0, lines, "k");
  const Expr shift = cast<uint16_t>(k.y * 8 + k.z * c.bits), mask = cast<uint16_t>((1 << c.bits) - 1);
  const Expr code = cast<int16_t>((w(k.x, lane, k.w, stripe) >> shift) & mask);
  sums(lane, stripe, token) = 0;
  sums(lane, stripe, token) += cast<int32_t>(code) * cast<int32_t>(wide(k.x, k.y, k.z, k.w, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, stripe, token, k.y, k.z, k.w)
      .unroll(stripe)
      .unroll(token)
      .unroll(k.y)
      .unroll(k.z);
  update.atomic().vectorize(k.x).vectorize(lane);
  wide.compute_at(walk.tile()).store_in(MemoryType::Register); // up to 8 * k bytes of stack
  wide.bound(word, 0, 2).bound(high, 0, 2).bound(plane, 0, c.planes).bound(line, 0, lines);
  wide.vectorize(word).vectorize(high).unroll(plane);
  return sums;
}

Generated generate_linear_int(const KernelSpec &spec) {
  KernelArgs args(spec);
  LinearWalk walk(spec, args, linear_tile(spec));
  const Func dots = has_dot4(spec.cpu)                                   ? sums_by_dot4(spec, args, walk)
                    : spec.op == Op::linear_t2 && has_pair_dot(spec.cpu) ? sums_by_pair_dot(spec, args, walk)
                                                                         : sums_by_words(spec, args, walk);
  const Expr sum =
      dots(walk.lane, walk.stripe, walk.token) - coding(spec.op).offset * args["sum"](walk.token);
  Expr value = cast<float>(sum) * (args["row_scale"](walk.row) / args["s"](walk.token));
  if (spec.dims.add)
    value = args["residual"](walk.row, walk.token) + value;
  walk.write(value);
  return args.finish({walk.y});
}

} // namespace

Generated generate_linear_s8(const KernelSpec &spec) { return generate_linear_int(spec); }
Generated generate_linear_t2(const KernelSpec &spec) { return generate_linear_int(spec); }

} // namespace bitnet::codegen
