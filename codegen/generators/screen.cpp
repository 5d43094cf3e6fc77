// screen_q4: what a head row is about worth, from 4-bit codes of its weights and 8 bits of the input, 15 in
// some lines.
//   y[row, token] = (f32(Σ code*(q + 128*high)) * map[0, token] + map[1, token]) * row_scale[row]
// The dot products are linear_int's. Few tokens are bound by memory, and to come back to a line costs more
// than products with 0 (n=128256 k=2560, 1 token on Zen 4: 5.4 and 6.9 ms); more tokens are bound by dot
// products, and read the lines again that `high` is for.
#include "codegen/generators/linear.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using namespace Halide;

Generated generate_screen_q4(const KernelSpec &spec) {
  KernelArgs args(spec);
  const LinearTile tile = linear_tile(spec);
  LinearWalk walk(spec, args, tile);
  ImageParam &q = args["q"], &lines = args["lines"], &map = args["map"];
  const int k = spec.dims.k;
  const auto sum = [&](const LineInputs &inputs, const Expr &token) {
    return sums_of_codes(spec, args, walk, tile, inputs,
                         walk.tile())({walk.lane, walk.stream, walk.unit, token, 0});
  };
  LineInputs inputs = inputs_in_order(spec, args);
  Expr dot;
  if (tile.tokens == 1) {
    inputs.halves = 2;
    inputs.q = [&](const Expr &i, const Expr &token) { return q(token % 2 * k + i, token / 2); };
    const SumOfCodes sums = sums_of_codes(spec, args, walk, tile, inputs, walk.tile());
    const auto half = [&](int h) { return sums({walk.lane, walk.stream, walk.unit, walk.token * 2 + h, 0}); };
    dot = half(0) + half(1) * 128;
  } else {
    LineInputs high = inputs;
    high.q = [&](const Expr &i, const Expr &token) { return q(k + i, token); };
    high.lines = format::screen_high_lines(k);
    high.line = [&](const Expr &n, const Expr &token) {
      return unsafe_promise_clamped(lines(n, token), 0, format::q4_lines(k) - 1);
    };
    high.in_order = false;
    dot = sum(inputs, walk.token) + sum(high, walk.token) * 128;
  }
  walk.write((cast<float>(dot) * map(0, walk.token) + map(1, walk.token)) * args["row_scale"](walk.row));
  return args.finish({walk.y});
}

} // namespace bitnet::codegen
