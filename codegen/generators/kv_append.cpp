// Writes the step's keys and values into the paged cache (layouts.h), each row to its slot. An element's
// index in a layer's cache must be below 2^31: blocks * kv_heads * 64 * head_dim.
#include "codegen/generators/generator.h"
#include "codegen/generators/strict_math.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {
using format::kKvBlockTokens;
using format::kKvTile;
using Halide::Expr;

Generated generate_kv_append(const KernelSpec &spec) {
  KernelArgs args(spec);

  // Algorithm
  Halide::Var p("p"), d("d"), t("t"), h("h"), b("b");
  Halide::Func k_cache("k_cache"), v_cache("v_cache");
  k_cache(p, d, t, h, b) = Halide::undef<uint16_t>();
  v_cache(d, t, h, b) = Halide::undef<uint16_t>();

  Halide::RDom at(0, spec.dims.head_dim, 0, spec.dims.kv_heads, args.begin, args.end - args.begin, "at");
  const Expr slot = args["slots"](at.z), token = slot % kKvBlockTokens;
  // The runtime checks slots before a step; the promise only bounds what Halide must assume.
  const auto block = [&](Halide::OutputImageParam cache, int dimension) {
    return unsafe_promise_clamped(slot / kKvBlockTokens, 0, cache.dim(dimension).extent() - 1);
  };
  k_cache(token % kKvTile, at.x, token / kKvTile, at.y, block(k_cache.output_buffer(), 4)) =
      f32_to_f16_saturated(args["k"](at.x, at.y, at.z));
  v_cache(at.x, token, at.y, block(v_cache.output_buffer(), 3)) =
      f32_to_f16_saturated(args["v"](at.x, at.y, at.z));

  // Schedule
  int lanes = 16;
  while (spec.dims.head_dim % lanes)
    lanes /= 2;
  k_cache.update().vectorize(at.x, lanes);
  v_cache.update().vectorize(at.x, lanes);
  return args.finish({k_cache, v_cache});
}

} // namespace bitnet::codegen
