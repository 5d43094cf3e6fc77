// screen_q4: what a head row is about worth, from 4-bit codes of its weights and 15 bits of the input.
//   y[row, token] = (f32(Σ code*(128*high + low)) * map[0, token] + map[1, token]) * row_scale[row]
// The dot products are linear_int's; the input comes as two int8 halves, whose sums are kept apart.
#include "codegen/generators/linear.h"

namespace bitnet::codegen {

using namespace Halide;

Generated generate_screen_q4(const KernelSpec &spec) {
  KernelArgs args(spec);
  const LinearTile tile = linear_tile(spec);
  LinearWalk walk(spec, args, tile);
  const SumOfCodes sums = sums_of_codes(spec, args, walk, tile, 2, walk.tile());
  const auto half = [&](int i) { return sums({walk.lane, walk.stream, walk.unit, walk.token * 2 + i, 0}); };
  ImageParam &map = args["map"];
  const Expr scaled = cast<float>(half(0) * 128 + half(1)) * map(0, walk.token) + map(1, walk.token);
  walk.write(scaled * args["row_scale"](walk.row));
  return args.finish({walk.y});
}

} // namespace bitnet::codegen
