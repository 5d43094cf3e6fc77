// Writes the step's keys and values into the paged cache (layouts.h), each row to its slot. An element's
// index in a layer's cache must be below 2^31: blocks * kv_heads * 64 * head_dim.
#include "codegen/generators/generator.h"
#include "codegen/generators/strict_math.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {
using format::kKvBlockTokens;
using format::kKvTile;
using Halide::Expr;
namespace {

/// The runtime checks slots before a step; the promise only bounds what Halide must assume.
Expr block_of(Expr slot, Halide::Func cache, int dimension) {
  return unsafe_promise_clamped(slot / kKvBlockTokens, 0, cache.output_buffer().dim(dimension).extent() - 1);
}

} // namespace

Generated generate_kv_append(const KernelSpec &spec) {
  KernelArgs args(spec);

  // Algorithm
  Halide::Var p("p"), d("d"), t("t"), h("h"), b("b");
  Halide::Func k_cache("k_cache"), v_cache("v_cache");
  k_cache(p, d, t, h, b) = Halide::undef<uint16_t>();
  v_cache(d, t, h, b) = Halide::undef<uint16_t>();

  Halide::RDom at(0, spec.dims.head_dim, 0, spec.dims.kv_heads, args.begin, args.end - args.begin, "at");
  const Expr slot = args["slots"](at.z), token = slot % kKvBlockTokens;
  k_cache(token % kKvTile, at.x, token / kKvTile, at.y, block_of(slot, k_cache, 4)) =
      f32_to_f16_saturated(args["k"](at.x, at.y, at.z));
  v_cache(at.x, token, at.y, block_of(slot, v_cache, 3)) = f32_to_f16_saturated(args["v"](at.x, at.y, at.z));

  // Schedule
  const int lanes = lanes_for(spec.dims.head_dim);
  k_cache.update().vectorize(at.x, lanes);
  v_cache.update().vectorize(at.x, lanes);
  return args.finish({k_cache, v_cache});
}

Generated generate_kv_append_q8(const KernelSpec &spec) {
  KernelArgs args(spec);
  const int head_dim = spec.dims.head_dim, lanes = lanes_for(head_dim);

  // Algorithm. One update an output, each with the head's largest magnitude of its own.
  Halide::Var i("i"), d("d"), t("t"), h("h"), b("b"), lane("lane"), r("r");
  Halide::Func k_cache("k_cache"), k_scale("k_scale"), v_cache("v_cache"), v_scale("v_scale");
  k_cache(i, d, t, h, b) = Halide::undef<uint8_t>();
  v_cache(i, d, t, h, b) = Halide::undef<int8_t>();
  k_scale(t, h, b) = Halide::undef<float>();
  v_scale(t, h, b) = Halide::undef<float>();

  const auto saturated = [&](const char *x, Expr d, Expr h, Expr r) {
    return sel_min(sel_max(args[x](d, h, r), -65504.0f), 65504.0f);
  };
  const auto largest = [&](const char *x, const std::string &name, const Halide::LoopLevel &at) {
    Halide::RDom k(0, head_dim / lanes, name + "_k");
    Halide::Func top(name);
    top(lane, h, r) = 1e-30f;
    top(lane, h, r) = sel_max(abs(saturated(x, k * lanes + lane, h, r)), top(lane, h, r));
    top.compute_at(at).store_in(Halide::MemoryType::Register).bound(lane, 0, lanes).vectorize(lane);
    top.update().vectorize(lane);
    return halving_tree(top, lanes, {h, r}, sel_max, at);
  };
  for (const bool is_k : {true, false}) {
    const char *x = is_k ? "k" : "v";
    const std::string name = x;
    Halide::Func codes = is_k ? k_cache : v_cache, scales = is_k ? k_scale : v_scale;

    Halide::RDom at(0, head_dim, 0, spec.dims.kv_heads, args.begin, args.end - args.begin, name + "_at");
    Halide::LoopLevel code_loop, scale_loop;
    const Expr slot = args["slots"](at.z), token = slot % kKvBlockTokens;
    const Expr code = round_to_int8(saturated(x, at.x, at.y, at.z) *
                                    (127.0f / largest(x, name + "_top", code_loop)(0, at.y, at.z)));
    if (is_k)
      codes(token % kKvTile * 4 + at.x % 4, at.x / 4, token / kKvTile, at.y, block_of(slot, codes, 4)) =
          Halide::reinterpret<uint8_t>(code) ^ Halide::cast<uint8_t>(128);
    else
      codes(token % 4, at.x, token / 4, at.y, block_of(slot, codes, 4)) = code;

    Halide::RDom of(0, spec.dims.kv_heads, args.begin, args.end - args.begin, name + "_of");
    const Expr scale_slot = args["slots"](of.y);
    scales(scale_slot % kKvBlockTokens, of.x, block_of(scale_slot, scales, 2)) =
        largest(x, name + "_scale_top", scale_loop)(0, of.x, of.y) * (1.0f / 127.0f);

    // Schedule
    code_loop.set({codes, at.y});
    scale_loop.set({scales, of.x});
    codes.update().allow_race_conditions().vectorize(at.x, lanes);
  }
  return args.finish({k_cache, k_scale, v_cache, v_scale});
}

} // namespace bitnet::codegen
