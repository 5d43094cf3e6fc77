// Decode and prefill attention over the paged f16 KV cache: one work unit is one row and one kv head with its
// group of query heads. The numbers are those of codegen/reference/attention_twin.cpp: chunks of 256
// positions, each reduced against its own maximum, merged in order.
//
// q·k has 16 positions as lanes and goes sequentially over head_dim; p·v has head_dim as lanes and goes
// sequentially over positions: no horizontal sum and no gather in either. All heads of a group share each
// load (and conversion) of K and V. Loops over positions stop at the row's own length, so that neither the
// block table nor the cache is read past the row's last block. An element's index in a layer's cache must be
// below 2^31: blocks * kv_heads * 64 * head_dim.
#include "codegen/generators/generator.h"
#include "codegen/generators/strict_math.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"
#include <cmath>

namespace bitnet::codegen {
using format::kAttentionChunk;
using format::kKvBlockTokens;
using format::kKvTile;
using Halide::Expr;
using Halide::Func;
using Halide::MemoryType;
using Halide::RDom;
using Halide::Var;
namespace {

constexpr float kLowest = -3.402823466e38f; ///< -FLT_MAX
constexpr int kTilesPerBlock = kKvBlockTokens / kKvTile;
constexpr int kBlocksPerChunk = kAttentionChunk / kKvBlockTokens;

/// Register tiles. Both inner loops keep heads x vectors accumulators, plus registers for the shared loads.
struct Tiles {
  int heads;       ///< query heads in one pass over K: a divisor of the group
  int tiles;       ///< q·k: tiles of 16 positions at once: 1, 2 or 4
  int lanes;       ///< p·v: lanes along head_dim, a divisor of it
  int vectors;     ///< p·v: such vectors at once, a divisor of their number
  int value_heads; ///< p·v: heads at once, a divisor of `heads`
};

int largest_divisor(int n, int at_most) {
  int divisor = std::max(1, std::min(n, at_most));
  while (n % divisor)
    --divisor;
  return divisor;
}

Tiles choose_tiles(const KernelSpec &spec) {
  const int native = vector_lanes(spec.cpu);
  const int accumulators = vector_registers(spec.cpu) == 32 ? 20 : 10;
  const int vectors_per_tile = kKvTile / native;
  Tiles t;
  const int scratch_heads = 4096 / spec.dims.head_dim; // 64 KiB of state and partial sums at most
  t.heads = largest_divisor(spec.dims.heads / spec.dims.kv_heads,
                            std::min(scratch_heads, accumulators / vectors_per_tile));
  t.tiles = 1;
  while (t.tiles < kTilesPerBlock && 2 * t.tiles * t.heads * vectors_per_tile <= accumulators)
    t.tiles *= 2;
  t.lanes = native;
  while (spec.dims.head_dim % t.lanes)
    t.lanes /= 2;
  // Long rows of V for two heads rather than short ones for all: the first pass over a block of V then reads
  // memory in order (8 % less time at context 2048 with AVX-512); the other heads find it in L1.
  t.vectors = largest_divisor(spec.dims.head_dim / t.lanes, accumulators / 2);
  t.value_heads = largest_divisor(t.heads, accumulators / t.vectors);
  return t;
}

} // namespace

Generated generate_attention(const KernelSpec &spec) {
  const int head_dim = spec.dims.head_dim, kv_heads = spec.dims.kv_heads;
  const int group = spec.dims.heads / kv_heads;
  const Tiles tiles = choose_tiles(spec);
  KernelArgs args(spec);
  auto &q = args["q"], &k_cache = args["k_cache"], &v_cache = args["v_cache"];
  auto &positions = args["positions"], &sequences = args["sequences"], &block_table = args["block_table"];

  // Algorithm. lane, tile, block: position (256 c + 64 block + 16 tile + lane); d: of head_dim; h: query head
  // in the block of tiles.heads, hb: that block in the group; c: chunk; u: work unit.
  Var lane("lane"), tile("tile"), block("block"), d("d"), h("h"), hb("hb"), c("c"), u("u");
  const Expr row = u / kv_heads, g = u % kv_heads;
  const Expr length = positions(row) + 1;
  const auto position = [&](Expr block, Expr tile, Expr lane) {
    return c * kAttentionChunk + block * kKvBlockTokens + tile * kKvTile + lane;
  };
  // The runtime checks sequences and block tables before a step; the promises only bound what Halide must
  // assume.
  const auto physical_block = [&](Expr block) {
    const Expr sequence = unsafe_promise_clamped(sequences(row), 0, block_table.dim(1).extent() - 1);
    return unsafe_promise_clamped(block_table(c * kBlocksPerChunk + block, sequence), 0,
                                  k_cache.dim(4).extent() - 1);
  };
  // A loop over the chunk's blocks that hold valid positions.
  const auto block_domain = [&](const char *name) {
    RDom r(0, kBlocksPerChunk, name);
    r.where(position(r, 0, 0) < length);
    return r;
  };

  RDom rd(0, head_dim, "rd");
  Func dot("dot");
  dot(lane, tile, h, block, c, hb, u) = 0.0f;
  dot(lane, tile, h, block, c, hb, u) +=
      q(rd, g * group + hb * tiles.heads + h, row) *
      f16_to_f32(k_cache(lane, rd, tile, g, physical_block(block)), spec.cpu);

  RDom rs = block_domain("rs");
  Func score("score");
  score(lane, tile, h, block, c, hb, u) = Halide::undef<float>();
  score(lane, tile, h, rs, c, hb, u) =
      select(position(rs, tile, lane) < length,
             dot(lane, tile, h, rs, c, hb, u) * (1.0f / std::sqrt(float(head_dim))), kLowest);

  RDom rm(0, kTilesPerBlock, 0, kBlocksPerChunk, "rm");
  rm.where(position(rm.y, 0, 0) < length);
  Func lane_max("lane_max");
  lane_max(lane, h, c, hb, u) = kLowest;
  lane_max(lane, h, c, hb, u) = sel_max(score(lane, rm.x, h, rm.y, c, hb, u), lane_max(lane, h, c, hb, u));

  RDom chunks(0, (block_table.dim(0).extent() + kBlocksPerChunk - 1) / kBlocksPerChunk, "chunks");
  chunks.where(chunks * kAttentionChunk < length);
  Func state("state");
  const Halide::LoopLevel at_chunk(state, chunks);

  Func chunk_max = halving_tree(lane_max, kKvTile, {h, c, hb, u}, sel_max, at_chunk);

  RDom rp = block_domain("rp");
  Func p("p");
  p(lane, tile, h, block, c, hb, u) = Halide::undef<float>();
  p(lane, tile, h, rp, c, hb, u) =
      select(position(rp, tile, lane) < length,
             exp_nonpositive(score(lane, tile, h, rp, c, hb, u) - chunk_max(0, h, c, hb, u)), 0.0f);

  Func lane_sum("lane_sum");
  lane_sum(lane, h, c, hb, u) = 0.0f;
  lane_sum(lane, h, c, hb, u) += p(lane, rm.x, h, rm.y, c, hb, u);
  Func chunk_sum = halving_tree(lane_sum, kKvTile, {h, c, hb, u}, plus, at_chunk);

  RDom rt(0, kKvBlockTokens, 0, kBlocksPerChunk, "rt"); // invalid positions take no part, not even with p = 0
  rt.where(position(rt.y, 0, rt.x) < length);
  Func part("part");
  part(d, h, c, hb, u) = 0.0f;
  part(d, h, c, hb, u) += p(rt.x % kKvTile, rt.x / kKvTile, h, rt.y, c, hb, u) *
                          f16_to_f32(v_cache(d, rt.x, g, physical_block(rt.y)), spec.cpu);

  // Sum and maximum are kept once for each d, so that one update carries the whole state from chunk to chunk.
  enum { kOut, kSum, kMax };
  state(d, h, hb, u) = Halide::Tuple(0.0f, 0.0f, kLowest);
  {
    const Expr old_max = state(d, h, hb, u)[kMax], new_max = chunk_max(0, h, chunks, hb, u);
    const Expr e = exp_nonpositive(sel_min(old_max, new_max) - sel_max(old_max, new_max));
    const Expr scale_old = select(old_max > new_max, 1.0f, e), scale_new = select(old_max > new_max, e, 1.0f);
    state(d, h, hb, u) =
        Halide::Tuple(state(d, h, hb, u)[kOut] * scale_old + part(d, h, chunks, hb, u) * scale_new,
                      state(d, h, hb, u)[kSum] * scale_old + chunk_sum(0, h, chunks, hb, u) * scale_new,
                      sel_max(old_max, new_max));
  }

  RDom out(0, head_dim, 0, tiles.heads, 0, group / tiles.heads, args.begin, args.end - args.begin, "out");
  Func o("o");
  Var head("head"), r("r");
  o(d, head, r) = Halide::undef<float>();
  o(out.x, (out.w % kv_heads) * group + out.z * tiles.heads + out.y, out.w / kv_heads) =
      state(out.x, out.y, out.z, out.w)[kOut] * (1.0f / state(out.x, out.y, out.z, out.w)[kSum]);

  // Schedule. Everything of a chunk is computed inside the chunk loop: scratch is 256 scores and 256
  // probabilities a head, and 4 head_dim floats a head, whatever the context.
  const auto on_stack = [](Func f, const Halide::LoopLevel &at) {
    f.compute_at(at).store_in(MemoryType::Register); // as Stack, but Halide never moves it to the heap
  };
  o.update().vectorize(out.x, tiles.lanes);
  on_stack(state, {o, out.z});
  state.bound(d, 0, head_dim).bound(h, 0, tiles.heads).vectorize(d, tiles.lanes);
  state.update().reorder(d, h, chunks, hb, u).vectorize(d, tiles.lanes);

  Var dv("dv"), dt("dt"), ho("ho");
  on_stack(part, at_chunk);
  part.bound(d, 0, head_dim).bound(h, 0, tiles.heads).vectorize(d, tiles.lanes);
  part.update()
      .split(d, dt, d, tiles.lanes * tiles.vectors)
      .split(d, dv, d, tiles.lanes)
      .split(h, ho, h, tiles.value_heads)
      .reorder(d, dv, h, rt.x, ho, dt, rt.y, c, hb, u)
      .vectorize(d)
      .unroll(dv)
      .unroll(h);

  for (Func f : {lane_max, lane_sum}) {
    on_stack(f, at_chunk);
    f.bound(lane, 0, kKvTile).bound(h, 0, tiles.heads).vectorize(lane);
    f.update().reorder(lane, rm.x, rm.y, h, c, hb, u).vectorize(lane).unroll(rm.x);
  }

  on_stack(p, at_chunk);
  p.bound(lane, 0, kKvTile).bound(tile, 0, kTilesPerBlock).bound(h, 0, tiles.heads);
  p.reorder_storage(lane, tile, block, h, c, hb, u); // position innermost
  p.update().reorder(lane, tile, h, rp, c, hb, u).vectorize(lane);

  Var tile_group("tile_group");
  on_stack(score, at_chunk);
  score.bound(lane, 0, kKvTile).bound(tile, 0, kTilesPerBlock).bound(h, 0, tiles.heads);
  score.update()
      .split(tile, tile_group, tile, tiles.tiles)
      .reorder(lane, h, tile, tile_group, rs, c, hb, u)
      .vectorize(lane)
      .unroll(h)
      .unroll(tile);
  on_stack(dot, {score, tile_group});
  dot.bound(lane, 0, kKvTile).bound(h, 0, tiles.heads).vectorize(lane).unroll(h).unroll(tile);
  dot.update().reorder(lane, h, tile, rd, block, c, hb, u).vectorize(lane).unroll(h).unroll(tile);

  return args.finish({o});
}

} // namespace bitnet::codegen
