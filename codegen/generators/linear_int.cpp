// linear_t2 and linear_s8: integer dot products of unsigned weight codes (coding.h) with int8 activations,
// then the epilogue (linear.h). Sums are exact in i32, so their order is free, and each kind of machine gets
// the form of the dot product that it has an instruction for.
#include "codegen/generators/coding.h"
#include "codegen/generators/linear.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using namespace Halide;
using format::kRowTile;
using format::Op;

namespace {

const Var lane("lane"), stream("stream"), unit("unit"), token("token"), j("j"), plane("plane"), line("line");

/// Schedules the sums of a tile: all in registers for the whole of k.
void hold_in_registers(Func sums, const LinearWalk &walk) {
  sums.compute_at(walk.tile()).store_in(MemoryType::Stack);
  sums.vectorize(lane).unroll(stream).unroll(token);
}

/// vpdpbusd: four u8 x i8 products added to an i32 lane, which is one output row. Codes are unpacked in the
/// loop, once for the tokens of a tile.
Func sums_by_dot4(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const Coding c = coding_of(spec.op);
  const int lines = c.lines(spec.dims.k);
  ImageParam &w = args["w"], &q = args["q"];

  // Algorithm
  Func sums("sums"), codes("codes");
  codes(j, lane, plane, line, stream) = code_of(spec.op, w(j, lane, line, stream), plane);
  RDom k(0, 4, 0, c.planes, 0, lines, "k");
  sums(lane, stream, unit, token) = 0;
  sums(lane, stream, unit, token) += cast<int32_t>(codes(k.x, lane, k.y, unit * lines + k.z, stream)) *
                                     cast<int32_t>(q(k.z * c.k_line() + k.y * 4 + k.x, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, stream, token, k.y, k.z).unroll(stream).unroll(token).unroll(k.y);
  update.atomic().vectorize(k.x).vectorize(lane);
  return sums;
}

/// vpmaddubsw: u8 x i8 products added in pairs to i16 lanes, two lanes an output row; those in pairs to i32
/// lanes. A pair of codes 0..2 gives at most 2*2*127 = 508, a line's four planes 2032: nothing saturates.
Func sums_by_pair_dot(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const Coding c = coding_of(spec.op);
  const int lines = c.lines(spec.dims.k);
  ImageParam &w = args["w"], &q = args["q"];
  Var half("half");

  // Algorithm
  Func sums("sums"), pairs("pairs");
  RDom p(0, 2, 0, c.planes, "p");
  const Expr byte = w(half * 2 + p.x, lane, unit * lines + line, stream);
  pairs(half, lane, line, stream, unit, token) = cast<int16_t>(0);
  pairs(half, lane, line, stream, unit, token) =
      saturating_add(pairs(half, lane, line, stream, unit, token),
                     cast<int16_t>(code_of(spec.op, byte, p.y)) *
                         cast<int16_t>(q(line * c.k_line() + p.y * 4 + half * 2 + p.x, token)));
  RDom k(0, 2, 0, lines, "k");
  sums(lane, stream, unit, token) = 0;
  sums(lane, stream, unit, token) += cast<int32_t>(pairs(k.x, lane, k.y, stream, unit, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, stream, token, k.y).unroll(stream).unroll(token);
  update.atomic().vectorize(k.x).vectorize(lane);
  pairs.compute_at(sums, stream).bound(half, 0, 2).bound(lane, 0, kRowTile);
  pairs.reorder(half, lane, line, stream, unit, token).vectorize(lane).vectorize(half);
  // Saturation makes the sum not associative in general; here it never happens.
  Stage products = pairs.update();
  products.reorder(p.x, half, lane, p.y, line, stream, unit, token).unroll(p.y);
  products.atomic(true).vectorize(p.x).vectorize(half).vectorize(lane);
  return sums;
}

/// pmaddwd: i16 products added in pairs to an i32 lane, which is one output row. The bytes of a row are read
/// as two words, and a word's low and high byte are taken by mask and shift, so no byte is ever moved to
/// another lane; the activations are widened once a tile and stored in the matching order.
Func sums_by_words(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk) {
  const Coding c = coding_of(spec.op);
  const int lines = c.lines(spec.dims.k), bits = 8 / c.planes;
  const int stream_lines = format::stream_lines(spec.dims.n, lines),
            streams = format::weight_streams(spec.dims.n);
  ImageParam w = args.dense_as("w", UInt(16), {2, kRowTile, stream_lines, streams});
  ImageParam &q = args["q"];
  Var word("word"), high("high");

  // Algorithm
  Func sums("sums"), wide("wide");
  wide(word, high, plane, line, token) =
      cast<int16_t>(q(line * c.k_line() + plane * 4 + word * 2 + high, token));
  RDom k(0, 2, 0, 2, 0, c.planes, 0, lines, "k");
  const Expr shift = cast<uint16_t>(k.y * 8 + k.z * bits), mask = cast<uint16_t>((1 << bits) - 1);
  const Expr code = cast<int16_t>((w(k.x, lane, unit * lines + k.w, stream) >> shift) & mask);
  sums(lane, stream, unit, token) = 0;
  sums(lane, stream, unit, token) += cast<int32_t>(code) * cast<int32_t>(wide(k.x, k.y, k.z, k.w, token));

  // Schedule
  hold_in_registers(sums, walk);
  Stage update = sums.update();
  update.reorder(k.x, lane, stream, token, k.y, k.z, k.w)
      .unroll(stream)
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
  if (has_panel(spec))
    return generate_linear_panel(spec);
  KernelArgs args(spec);
  LinearWalk walk(spec, args, linear_tile(spec));
  const Func dots = has_dot4(spec.cpu)                                   ? sums_by_dot4(spec, args, walk)
                    : spec.op == Op::linear_t2 && has_pair_dot(spec.cpu) ? sums_by_pair_dot(spec, args, walk)
                                                                         : sums_by_words(spec, args, walk);
  const Expr sum = dots(walk.lane, walk.stream, walk.unit, walk.token);
  walk.write(linear_output(spec, args, walk.row, walk.token, sum));
  return args.finish({walk.y});
}

} // namespace

Generated generate_linear_s8(const KernelSpec &spec) { return generate_linear_int(spec); }
Generated generate_linear_t2(const KernelSpec &spec) { return generate_linear_int(spec); }

} // namespace bitnet::codegen
