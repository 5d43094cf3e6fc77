// The ternary linears (and linear_s8, which needs no unpacking) for many rows of a step: a panel of a few
// stripes is unpacked once, one byte a code, and all the step's tokens pass over it. The inner loop is
// nothing but dot products, loads of codes and broadcasts of activations, whatever the weights' coding. The
// panel lives on the stack and stays in the second-level cache; a tile's activations stay in the first. (For
// few rows see linear_int.cpp, which unpacks in its loop.)
#include "codegen/generators/coding.h"
#include "codegen/generators/linear.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"
#include <algorithm>

namespace bitnet::codegen {

using namespace Halide;
using format::kRowTile;

namespace {

/// A panel's bytes: half of the smallest second-level cache worth a thought (1 MB), and little for any stack.
constexpr int kMaxPanelBytes = 512 << 10;

/// Steps of four inputs, as lines are padded: what a stripe unpacks to.
int padded_steps(const KernelSpec &spec) {
  const Coding c = coding_of(spec.op);
  return c.lines(spec.dims.k) * c.planes;
}
int panel_bytes(const KernelSpec &spec, int stripes) { return stripes * kRowTile * 4 * padded_steps(spec); }

/// The largest tile whose sums leave registers for codes, activations and products; of two such the one with
/// more tokens, which reads the panel less often. On Zen 4 the tile hardly matters, since all of them keep
/// the one dot product a cycle busy (n=13824 k=2560, 128 tokens: 2 x 8 21.7 ms, 4 x 4 21.5 ms, 19.4 ms at the
/// peak); with two a cycle (Ice Lake) the loads count, which a larger tile has fewer of.
LinearTile panel_tile(const KernelSpec &spec) {
  const int streams = format::weight_streams(spec.dims.n),
            sums = vector_registers(spec.cpu) * 3 / 4 * vector_lanes(spec.cpu) / kRowTile;
  LinearTile best{1, 1};
  for (const int tokens : {2, 4, 8})
    for (int stripes = 1; stripes <= streams; ++stripes)
      if (streams % stripes == 0 && stripes * tokens <= sums &&
          stripes * tokens >= best.stripes * best.tokens && panel_bytes(spec, stripes) <= kMaxPanelBytes)
        best = {stripes, tokens};
  if (spec.tile.stripes)
    best.stripes = spec.tile.stripes;
  if (spec.tile.tokens)
    best.tokens = spec.tile.tokens;
  return best;
}

const Var lane("lane"), stream("stream"), unit("unit"), token("token"), j("j"), step("step"), half("half"),
    block("block"), group("group");

/// codes(j, lane, step, unit, stream): the weights' codes of inputs 4 * step + j.
Func panel_of_codes(const KernelSpec &spec, const Lines &lines) {
  const int planes = coding_of(spec.op).planes;
  Func codes("codes");
  codes(j, lane, step, unit, stream) =
      code_of(spec.op, lines(j, lane, step / planes, unit, stream), step % planes);
  return codes;
}

/// Unpacks a panel before its first tile, all stripes at once: one after the other each would start its
/// stream from memory anew (n=13824 k=2560, 128 rows, weights from memory: 23.2 instead of 22.4 ms on Zen 4).
/// In the panel a step's lines of all stripes lie side by side, in the order in which the tiles read them.
void keep_panel(const KernelSpec &spec, Func codes, Lines &lines, const LinearWalk &walk) {
  const int planes = coding_of(spec.op).planes;
  if (planes == 1)
    return; // the weights themselves are the panel
  Var line("line"), plane("plane");
  codes.compute_at(walk.panel()).store_in(MemoryType::Register);
  codes.bound(j, 0, 4).bound(lane, 0, kRowTile).bound(step, 0, padded_steps(spec));
  codes.reorder_storage(j, lane, stream, step, unit);
  codes.split(step, line, plane, planes).reorder(j, lane, plane, stream, line, unit).unroll(stream);
  codes.vectorize(j).vectorize(lane).unroll(plane);
  lines.unpack_in(codes, codes, line);
}

/// vpdpbusd on whole registers of codes.
Func sums_by_dot4(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk, LoopLevel level) {
  const int sum_steps = inputs_of_sum(spec) / 4;
  Lines lines(spec, args["w"]);
  Func codes = panel_of_codes(spec, lines), sums("sums");
  RDom k(0, 4, 0, sum_steps, "k");
  RVar line("line"), plane("plane");

  // Algorithm
  const Expr step_of_k = group * sum_steps + k.y;
  sums(lane, stream, unit, token, group) = 0;
  sums(lane, stream, unit, token, group) += cast<int32_t>(codes(k.x, lane, step_of_k, unit, stream)) *
                                            cast<int32_t>(args["q"](step_of_k * 4 + k.x, token));

  // Schedule
  sums.compute_at(level).store_in(MemoryType::Stack);
  sums.vectorize(lane).unroll(stream).unroll(token);
  Stage update = sums.update();
  update.split(k.y, line, plane, 4).reorder(k.x, lane, stream, token, plane, line);
  update.unroll(stream).unroll(token).unroll(plane);
  update.atomic().vectorize(k.x).vectorize(lane);
  keep_panel(spec, codes, lines, walk);
  return sums;
}

/// vpmaddubsw: products added in pairs to i16 lanes, two lanes an output row. They are summed for as many
/// steps as cannot overflow (a pair of codes up to `top` gives at most 2 * top * 127), and only then widened.
Func sums_by_pair_dot(const KernelSpec &spec, KernelArgs &args, const LinearWalk &walk, LoopLevel level) {
  const int steps = inputs_of_sum(spec) / 4;
  int block_steps = 32767 / (2 * coding_of(spec.op).top * 127);
  while (steps % block_steps)
    --block_steps;
  Lines lines(spec, args["w"]);
  Func codes = panel_of_codes(spec, lines), pair("pair"), pairs("pairs"), sums("sums");
  RDom two(0, 2, "two"), s(0, block_steps, "s"), k(0, 2, 0, steps / block_steps, "k");

  // Algorithm
  pair(half, lane, stream, unit, token, step) = cast<int16_t>(0);
  pair(half, lane, stream, unit, token, step) =
      saturating_add(pair(half, lane, stream, unit, token, step),
                     cast<int16_t>(codes(half * 2 + two, lane, step, unit, stream)) *
                         cast<int16_t>(args["q"](step * 4 + half * 2 + two, token)));
  pairs(half, lane, stream, unit, token, block) = cast<int16_t>(0);
  pairs(half, lane, stream, unit, token, block) +=
      pair(half, lane, stream, unit, token, block * block_steps + s);
  sums(lane, stream, unit, token, group) = 0;
  sums(lane, stream, unit, token, group) +=
      cast<int32_t>(pairs(k.x, lane, stream, unit, token, group * (steps / block_steps) + k.y));

  // Schedule
  sums.compute_at(level).store_in(MemoryType::Stack);
  sums.vectorize(lane).unroll(stream).unroll(token);
  Stage widened = sums.update();
  widened.reorder(k.x, lane, stream, token, k.y).unroll(stream).unroll(token);
  widened.atomic().vectorize(k.x).vectorize(lane);
  pairs.compute_at(sums, k.y).store_in(MemoryType::Stack).bound(half, 0, 2).bound(lane, 0, kRowTile);
  pairs.vectorize(lane).vectorize(half).unroll(stream).unroll(token);
  Stage added = pairs.update();
  added.reorder(half, lane, stream, token, s, unit, block).unroll(stream).unroll(token);
  added.vectorize(lane).vectorize(half);
  pair.compute_at(pairs, stream).store_in(MemoryType::Stack).bound(half, 0, 2).bound(lane, 0, kRowTile);
  pair.vectorize(lane).vectorize(half);
  // Saturation makes the sum not associative in general; here it never happens.
  Stage products = pair.update();
  products.reorder(two, half, lane, stream, token, step, unit);
  products.atomic(true).vectorize(two).vectorize(half).vectorize(lane);
  keep_panel(spec, codes, lines, walk);
  return sums;
}

} // namespace

bool has_panel(const KernelSpec &spec) {
  const bool dots = has_dot4(spec.cpu) || (has_pair_dot(spec.cpu) && coding_of(spec.op).top <= 2);
  return spec.rows == 0 && dots && panel_bytes(spec, 1) <= kMaxPanelBytes;
}

Generated generate_linear_panel(const KernelSpec &spec) {
  KernelArgs args(spec);
  LinearWalk walk(spec, args, panel_tile(spec));
  const LoopLevel level;
  const Func sums = (has_dot4(spec.cpu) ? sums_by_dot4 : sums_by_pair_dot)(spec, args, walk, level);
  const auto sum = [&](const SumPlace &at) { return sums(at.lane, at.stream, at.unit, at.token, at.group); };
  walk.write(linear_output(spec, args, walk, sum, level));
  return args.finish({walk.y});
}

} // namespace bitnet::codegen
