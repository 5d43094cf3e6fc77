// linear_t2, linear_t3 and linear_s8: integer dot products of unsigned weight codes (coding.h) with int8
// activations, then the epilogue (linear.h); screen.cpp takes the same dot products. Sums are exact in i32,
// so their order is free, and each kind of machine gets the form of the dot product that it has an
// instruction for.
#include "codegen/generators/coding.h"
#include "codegen/generators/linear.h"
#include "codegen/generators/prefetch.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"
#include <functional>

namespace bitnet::codegen {

using namespace Halide;
using format::kRowTile;
using format::Op;

namespace {

const Var lane("lane"), stream("stream"), unit("unit"), token("token"), part("part"), j("j"), step("step"),
    line("line"), group("group");

/// Schedules the sums of a tile: all in registers from the first of their inputs to the last.
void hold_in_registers(Func sums, LoopLevel level) {
  sums.compute_at(level).store_in(MemoryType::Stack);
  sums.vectorize(lane).unroll(stream).unroll(token);
}

/// What a line is multiplied as. It is taken in `steps`; each makes `parts` u8 vectors, and each part has
/// sums of its own, which `combined` makes one.
struct Unpacking {
  int steps, parts;
  std::function<Expr(Expr byte, Expr step, Expr part)> vector;
  std::function<Expr(Expr step, Expr part)> plane; ///< of the inputs that it multiplies
  std::function<Expr(std::vector<Expr> sums)> combined;
};

/// Σ code * q, a code at a time.
Unpacking by_codes(Op op) {
  return {coding_of(op).planes, 1, [op](Expr byte, Expr step, Expr) { return code_of(op, byte, step); },
          [](Expr step, Expr) { return step; }, [](std::vector<Expr> sums) { return sums[0]; }};
}

/// Codes of whole bits where they stand in the byte, 2^bit times too large: a mask each and no shift. Byte
/// shifts compete with the dot products for ports (GFNI on Zen 4); the sums need more registers instead.
Unpacking by_places(Op op) {
  const int planes = coding_of(op).planes, bits = 8 / planes;
  return {1, planes,
          [bits](Expr byte, Expr, Expr part) {
            return opaque(byte & cast<uint8_t>(Expr((1 << bits) - 1) << (part * bits)));
          },
          [](Expr, Expr part) { return part; },
          [bits](std::vector<Expr> sums) {
            Expr all = sums[0];
            for (size_t plane = 1; plane < sums.size(); ++plane)
              all += sums[plane] >> int(plane * size_t(bits));
            return all;
          }};
}

/// Base 3 without a digit: 256 * code p = 3 q_p - q_{p+1} (layouts.h), so 256 Σ code*q = 3 Σ q_p*x - Σ
/// q_{p+1}*x, modulo 2^32 and so exactly, |256 Σ code*q| < 2^31. `zero` is 0, but not to LLVM, which would
/// make one slow multiplication of the repeated additions.
Unpacking by_powers(Expr zero) {
  return {5, 2,
          [zero](Expr byte, Expr step, Expr part) {
            std::vector<Expr> q{byte};
            for (int p = 1; p <= 5; ++p) {
              const Expr last = p > 1 ? q.back() ^ zero : q.back();
              q.push_back(last + last + last);
            }
            const Expr p = step + part;
            return select(p == 0, q[0], p == 1, q[1], p == 2, q[2], p == 3, q[3], p == 4, q[4], q[5]);
          },
          [](Expr step, Expr) { return step; },
          [](std::vector<Expr> sums) {
            const Expr wide = cast<uint32_t>(sums[0]) * cast<uint32_t>(3) - cast<uint32_t>(sums[1]);
            return reinterpret<int32_t>(wide) >> 8;
          }};
}

/// A line that takes 8 dot products or more, in so few stripes, lets the processor not ask for enough of
/// memory by itself. How far ahead hardly matters (n=2560 k=6912 from memory on Zen 4, 2 and 4 tokens: 204
/// and 486 us without, 178 and 318 with 64 to 192 lines); one token is faster without (153 and 201 us).
constexpr int kLinesAhead = 96;

/// vpdpbusd: four u8 x i8 products added to an i32 lane, which is one output row. Codes are unpacked in the
/// loop, once for the tokens of a tile.
SumOfCodes sums_by_dot4(const KernelSpec &spec, KernelArgs &args, LinearTile tile, const LineInputs &inputs,
                        LoopLevel level) {
  const Coding c = coding_of(spec.op);
  const int tokens = tile.tokens * inputs.halves;
  const int sums_of_places = tile.stripes * tokens * sums_of_output(spec);
  const Unpacking u =
      sums_of_output(spec) > 1 && sums_of_places <= vector_registers(spec.cpu) * 3 / 4 ? by_places(spec.op)
      : spec.op == Op::linear_t3 && tile.tokens == 1 ? by_powers(cast<uint8_t>(args.begin >> 31))
                                                     : by_codes(spec.op);
  Lines lines(spec, args["w"]);

  // Algorithm
  Func sums("sums"), vectors("vectors"), ahead("ahead");
  vectors(j, lane, step, part, line, unit, stream) = u.vector(lines(j, lane, line, unit, stream), step, part);
  const Expr in_matrix =
      stream * format::stream_lines(spec.dims.n, c.lines(spec.dims.k)) + unit * c.lines(spec.dims.k) + line;
  ahead(line, unit, stream) = fetching(args["w"], in_matrix + kLinesAhead, cast<int8_t>(0));
  RDom k(0, 4, 0, u.steps, 0, inputs.lines, "k");
  const Expr line_of_k = inputs.line(group * inputs.lines + k.z, token);
  Expr input = inputs.q(line_of_k * c.k_line() + u.plane(k.y, part) * 4 + k.x, token);
  const bool asks_ahead = c.block == 1 && inputs.in_order && c.planes * tokens >= 8;
  if (asks_ahead)
    input += ahead(line_of_k, unit, stream);
  sums(lane, stream, unit, token, part, group) = 0;
  sums(lane, stream, unit, token, part, group) +=
      cast<int32_t>(vectors(k.x, lane, k.y, part, line_of_k, unit, stream)) * cast<int32_t>(input);

  // Schedule
  if (asks_ahead)
    ahead.compute_at(sums, k.z).store_in(MemoryType::Stack).unroll(stream);
  hold_in_registers(sums, level);
  sums.bound(part, 0, u.parts).unroll(part);
  Stage update = sums.update();
  update.reorder(k.x, lane, stream, token, part, k.y, k.z)
      .unroll(stream)
      .unroll(token)
      .unroll(part)
      .unroll(k.y);
  update.atomic().vectorize(k.x).vectorize(lane);
  lines.unpack_in(sums, update, k.z);
  return [sums, u](const SumPlace &at) {
    std::vector<Expr> parts;
    for (int p = 0; p < u.parts; ++p)
      parts.push_back(sums(at.lane, at.stream, at.unit, at.token, p, at.group));
    return u.combined(parts);
  };
}

/// vpmaddubsw: u8 x i8 products added in pairs to i16 lanes, two lanes an output row; those in pairs to i32
/// lanes. A pair of codes 0..2 gives at most 2*2*127 = 508, a line's four planes 2032, five planes 2540, two
/// planes of codes 0..15 7620: nothing saturates.
SumOfCodes sums_by_pair_dot(const KernelSpec &spec, KernelArgs &args, const LineInputs &inputs,
                            LoopLevel level) {
  const Coding c = coding_of(spec.op);
  Lines lines(spec, args["w"]);
  Var half("half");

  // Algorithm
  Func sums("sums"), pairs("pairs");
  RDom p(0, 2, 0, c.planes, "p");
  const Expr line_of_k = inputs.line(line, token);
  const Expr byte = lines(half * 2 + p.x, lane, line_of_k, unit, stream);
  pairs(half, lane, line, stream, unit, token) = cast<int16_t>(0);
  pairs(half, lane, line, stream, unit, token) =
      saturating_add(pairs(half, lane, line, stream, unit, token),
                     cast<int16_t>(code_of(spec.op, byte, p.y)) *
                         cast<int16_t>(inputs.q(line_of_k * c.k_line() + p.y * 4 + half * 2 + p.x, token)));
  RDom k(0, 2, 0, inputs.lines, "k");
  sums(lane, stream, unit, token, group) = 0;
  sums(lane, stream, unit, token, group) +=
      cast<int32_t>(pairs(k.x, lane, group * inputs.lines + k.y, stream, unit, token));

  // Schedule
  hold_in_registers(sums, level);
  Stage update = sums.update();
  update.reorder(k.x, lane, stream, token, k.y).unroll(stream).unroll(token);
  update.atomic().vectorize(k.x).vectorize(lane);
  lines.unpack_in(sums, update, k.y);
  pairs.compute_at(sums, stream).bound(half, 0, 2).bound(lane, 0, kRowTile);
  pairs.reorder(half, lane, line, stream, unit, token).vectorize(lane).vectorize(half);
  // Saturation makes the sum not associative in general; here it never happens.
  Stage products = pairs.update();
  products.reorder(p.x, half, lane, p.y, line, stream, unit, token).unroll(p.y);
  products.atomic(true).vectorize(p.x).vectorize(half).vectorize(lane);
  return [sums](const SumPlace &at) { return sums(at.lane, at.stream, at.unit, at.token, at.group); };
}

/// pmaddwd: i16 products added in pairs to an i32 lane, which is one output row. The bytes of a row are read
/// as two words, and a word's low and high byte are taken by mask and shift, so no byte is ever moved to
/// another lane; the activations are widened once a tile and stored in the matching order.
SumOfCodes sums_by_words(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk,
                         const LineInputs &inputs, LoopLevel level) {
  const Coding c = coding_of(spec.op);
  const int of_token = spec.dims.k / inputs_of_sum(spec) * inputs.lines; // lines of inputs
  const int stream_lines = format::stream_lines(spec.dims.n, c.packed_lines(spec.dims.k)),
            streams = format::weight_streams(spec.dims.n);
  Lines lines(spec, args.dense_as("w", UInt(16), {2, kRowTile, stream_lines, streams}));
  Var word("word"), high("high"), plane("plane");

  // Algorithm
  Func sums("sums"), wide("wide");
  wide(word, high, plane, line, token) =
      cast<int16_t>(inputs.q(inputs.line(line, token) * c.k_line() + plane * 4 + word * 2 + high, token));
  RDom k(0, 2, 0, 2, 0, c.planes, 0, inputs.lines, "k");
  const Expr line_of_k = group * inputs.lines + k.w;
  const Expr byte =
      (lines(k.x, lane, inputs.line(line_of_k, token), unit, stream) >> cast<uint16_t>(k.y * 8)) &
      cast<uint16_t>(255);
  const Expr code = cast<int16_t>(code_of(spec.op, byte, k.z));
  sums(lane, stream, unit, token, group) = 0;
  sums(lane, stream, unit, token, group) +=
      cast<int32_t>(code) * cast<int32_t>(wide(k.x, k.y, k.z, line_of_k, token));

  // Schedule
  hold_in_registers(sums, level);
  Stage update = sums.update();
  update.reorder(k.x, lane, stream, token, k.y, k.z, k.w)
      .unroll(stream)
      .unroll(token)
      .unroll(k.y)
      .unroll(k.z);
  update.atomic().vectorize(k.x).vectorize(lane);
  lines.unpack_in(sums, update, k.w);
  wide.compute_at(walk.tile()).store_in(MemoryType::Register); // up to 16 * k bytes of stack
  wide.bound(word, 0, 2).bound(high, 0, 2).bound(plane, 0, c.planes).bound(line, 0, of_token);
  wide.vectorize(word).vectorize(high).unroll(plane);
  return [sums](const SumPlace &at) { return sums(at.lane, at.stream, at.unit, at.token, at.group); };
}

Generated generate_linear_int(const KernelSpec &spec) {
  if (has_panel(spec))
    return generate_linear_panel(spec);
  KernelArgs args(spec);
  const LinearTile tile = linear_tile(spec);
  LinearWalk walk(spec, args, tile);
  const LoopLevel level;
  walk.write(linear_output(spec, args, walk,
                           sums_of_codes(spec, args, walk, tile, inputs_in_order(spec, args), level), level));
  return args.finish({walk.y});
}

} // namespace

LineInputs inputs_in_order(const KernelSpec &spec, KernelArgs &args) {
  return {[q = args["q"]](Expr i, Expr token) { return q(i, token); },
          coding_of(spec.op).lines(inputs_of_sum(spec)), [](Expr n, Expr) { return n; }};
}

SumOfCodes sums_of_codes(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk, LinearTile tile,
                         const LineInputs &inputs, LoopLevel level) {
  if (has_dot4(spec.cpu))
    return sums_by_dot4(spec, args, tile, inputs, level);
  if (spec.op != Op::linear_s8 && has_pair_dot(spec.cpu))
    return sums_by_pair_dot(spec, args, inputs, level);
  return sums_by_words(spec, args, walk, inputs, level);
}

Generated generate_linear_s8(const KernelSpec &spec) { return generate_linear_int(spec); }
Generated generate_linear_ternary(const KernelSpec &spec) { return generate_linear_int(spec); }

} // namespace bitnet::codegen
