// See attention.h. q·k has 16 positions as lanes and goes over head_dim; p·v has head_dim as lanes and goes
// over positions: no horizontal sum and no gather in either. In f16 both go sequentially; in int8 sums are
// exact, and each kind of machine gets the dot product that it has an instruction for (vpdpbusd: weights of
// 15 bits as two planes of bytes; pmaddwd: words). Loops over positions stop at the longest row's length, so
// that neither the block table nor the cache is read past its last block. An element's index in a layer's
// cache must be below 2^31: blocks * kv_heads * 64 * head_dim.
#include "codegen/generators/attention.h"
#include "codegen/generators/prefetch.h"
#include "codegen/generators/strict_math.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"
#include <cmath>

namespace bitnet::codegen {
using namespace Halide;
using format::kAttentionChunk;
using format::kBlocksPerChunk;
using format::kKvBlockTokens;
using format::kKvTile;
namespace {

constexpr int kTilesPerBlock = kKvBlockTokens / kKvTile;
/// Lines of the next K that a step of q·k asks for, of 4 that it uses itself. The rest are asked for while
/// the exponentials are computed, which read nothing: memory should be busy all the time.
constexpr int kDotAsks = 2;

int largest_divisor(int n, int at_most) {
  int divisor = std::max(1, std::min(n, at_most));
  while (n % divisor)
    --divisor;
  return divisor;
}

} // namespace

bool is_q8(format::Op op) { return op == format::Op::attention_q8 || op == format::Op::attention_chunk_q8; }

int rows_together(const KernelSpec &spec) {
  constexpr int kRows = 16, kFewest = 4, kQueries = 64;
  if (vector_bits(spec.cpu) <= 128)
    return 1;
  if (is_q8(spec.op)) // nothing to convert: more rows gain nothing
    return kFewest;
  int rows = kRows;
  while (rows > kFewest && rows * spec.dims.heads / spec.dims.kv_heads > kQueries)
    rows /= 2;
  return rows;
}

AttentionTile attention_tile(const KernelSpec &spec, int rows) {
  const int native = vector_lanes(spec.cpu), head_dim = spec.dims.head_dim;
  const int accumulators = vector_registers(spec.cpu) == 32 ? 20 : 10;
  const int vectors_per_tile = kKvTile / native;
  const bool planes = is_q8(spec.op) && has_dot4(spec.cpu); // two sums a value
  AttentionTile t{};
  t.rows = rows;
  const int scratch =
      std::max(1, 8192 / head_dim / rows); // about 100 KiB of queries, sums and states at most
  t.heads = largest_divisor(spec.dims.heads / spec.dims.kv_heads, std::min(scratch, 16));
  t.dot_queries = largest_divisor(t.queries(), accumulators / vectors_per_tile);
  t.dot_blocks = 1;
  while (t.dot_blocks < kBlocksPerChunk &&
         2 * t.dot_blocks * t.dot_queries * vectors_per_tile <= accumulators)
    t.dot_blocks *= 2;
  t.lanes = lanes_for(head_dim, native);
  const int sums = accumulators / (planes ? 2 : 1);
  if (is_q8(spec.op)) { // each vector of V for as many queries as there are
    t.value_queries = largest_divisor(t.queries(), 4);
    t.vectors = largest_divisor(head_dim / t.lanes, std::max(1, sums / t.value_queries));
    return t;
  }
  // One row: long rows of V for two queries rather than short ones for all: the first pass over a block of V
  // then reads memory in order (8 % less time at context 2048 with AVX-512); the other queries find it in L1.
  // Several rows: one vector of V for all queries, as memory is read once for them.
  t.vectors = largest_divisor(head_dim / t.lanes, rows > 1 ? 1 : sums / 2);
  t.value_queries = largest_divisor(t.queries(), std::max(1, sums / t.vectors));
  return t;
}

Expr AttentionPass::row(Expr h, Expr r) const { return tile.rows > 1 ? r + h / tile.heads : r; }
Expr AttentionPass::head(Expr h, Expr hb, Expr g) const {
  return g * group + hb * tile.heads + (tile.rows > 1 ? h % tile.heads : h);
}
Expr AttentionPass::length(Expr h, Expr r) { return args["positions"](row(h, r)) + 1; }
Expr AttentionPass::limit(Expr r) {
  Expr longest = args["positions"](r) + 1;
  for (int i = 1; i < tile.rows; ++i)
    longest = max(longest, args["positions"](r + i) + 1);
  return longest;
}
Expr AttentionPass::position(Expr block, Expr tile, Expr lane) const {
  return c * kAttentionChunk + block * kKvBlockTokens + tile * kKvTile + lane;
}
// The runtime checks sequences and block tables before a step; the promises only bound what Halide must
// assume.
Expr AttentionPass::physical_block(Expr chunk, Expr block) {
  ImageParam &table = args["block_table"];
  const Expr sequence = unsafe_promise_clamped(args["sequences"](r), 0, table.dim(1).extent() - 1);
  const Expr logical = unsafe_promise_clamped(
      min(chunk * kBlocksPerChunk + block, (limit(r) - 1) / kKvBlockTokens), 0, table.dim(0).extent() - 1);
  return unsafe_promise_clamped(table(logical, sequence), 0, args["k_cache"].dim(4).extent() - 1);
}
/// (tile, block) of the chunk that hold valid positions.
RDom AttentionPass::tiles(const char *what) {
  RDom r(0, kTilesPerBlock, 0, kBlocksPerChunk, name + what);
  stop_at_limit(r, r.y, r.x);
  return r;
}
/// One row takes all tiles of a block, which are unrolled. For many rows a tile is long enough to be left
/// out.
void AttentionPass::stop_at_limit(RDom &r, Expr block, Expr t) {
  r.where(position(block, 0, 0) < limit(this->r));
  if (tile.rows > 1)
    r.where(position(block, t, 0) < limit(this->r));
}
/// As Stack, but Halide never moves it to the heap. For one chunk of one unit, which Halide does not always
/// see through the conditions on units.
void AttentionPass::stack(Func f, const LoopLevel &at) const {
  f.compute_at(at).store_in(MemoryType::Register);
  for (const Var &outer : {c, hb, g, r})
    for (const Var &own : f.args())
      if (own.name() == outer.name())
        f.bound_extent(own, 1);
}

AttentionPass::AttentionPass(const KernelSpec &spec, KernelArgs &args, AttentionTile tile,
                             const std::string &name, Next following)
    : part(name + "part"), spec(spec), args(args), tile(tile), name(name), head_dim(spec.dims.head_dim),
      group(spec.dims.heads / spec.dims.kv_heads), next(name + "next") {
  // Algorithm. lane, t, block: position (256 c + 64 block + 16 t + lane); d: of head_dim.
  if (is_q8(spec.op) && !has_dot4(spec.cpu))
    for (const char *cache : {"k_cache", "v_cache"})
      args.as_words(cache);
  const int kv_heads = spec.dims.kv_heads;
  const bool heads_first = following == Next::head;
  const Expr next_chunk = c + (heads_first ? (g + 1) / kv_heads : 1);
  const Expr place = physical_block(next_chunk, block) * kv_heads + (heads_first ? (g + 1) % kv_heads : g);
  Expr asked = place;
  if (is_q8(spec.op))
    for (const char *scales : {"k_scale", "v_scale"})
      for (int t = 0; t < kTilesPerBlock; ++t)
        asked = fetching(args[scales], place * kTilesPerBlock + t, asked);
  next(block, c, hb, g, r) = asked * (is_q8(spec.op) ? head_dim : 2 * head_dim);
  Func dot, value = is_q8(spec.op) ? integer_dots(&dot) : exact_dots(&dot, false);
  // Blocks side by side where all of them hold positions; the rest of a short chunk one by one.
  const bool one_by_one = !is_q8(spec.op) && tile.rows == 1 && tile.dot_blocks > 1;
  Func block_dot, block_value = one_by_one ? exact_dots(&block_dot, true) : Func();

  RDom rs(0, tile.dot_blocks, 0, kTilesPerBlock, 0, kBlocksPerChunk / tile.dot_blocks, name + "rs");
  stop_at_limit(rs, rs.z * tile.dot_blocks + (one_by_one ? tile.dot_blocks - 1 : 0), rs.y);
  const Expr rsb = rs.z * tile.dot_blocks + rs.x;
  Func score = named("score");
  score(lane, t, h, block, c, hb, g, r) = undef<float>();
  const auto masked = [&](Func value, Expr t, Expr block) {
    return select(position(block, t, lane) < length(h, r), value(lane, t, h, block, c, hb, g, r), kLowest);
  };
  score(lane, rs.y, h, rsb, c, hb, g, r) = masked(value, rs.y, rsb);
  const auto holds = [&](Expr block) { return position(block, 0, 0) < limit(r); };
  RDom rb(0, kBlocksPerChunk, name + "rb");
  rb.where(holds(rb) && !holds(rb / tile.dot_blocks * tile.dot_blocks + tile.dot_blocks - 1));
  if (one_by_one)
    score(lane, t, h, rb, c, hb, g, r) = masked(block_value, t, rb);

  RDom rm = tiles("rm");
  Func lane_max = named("lane_max");
  lane_max(lane, h, c, hb, g, r) = kLowest;
  lane_max(lane, h, c, hb, g, r) =
      sel_max(score(lane, rm.x, h, rm.y, c, hb, g, r), lane_max(lane, h, c, hb, g, r));
  chunk_max = halving_tree(lane_max, kKvTile, {h, c, hb, g, r}, sel_max, at_chunk);

  RDom rp = tiles("rp");
  LoopLevel at_exp;
  const auto asking = [&](Expr operand, Expr t, Expr h, Expr block) {
    const int first = kDotAsks * head_dim, steps = kTilesPerBlock * tile.queries() * kBlocksPerChunk,
              rest = std::max(1, (kBlocksPerChunk * head_dim - first) / steps);
    return !is_q8(spec.op)
               ? operand
               : asking_ahead(operand, "k_cache", (block * tile.queries() + h) * kTilesPerBlock + t, rest,
                              first, at_exp);
  };
  Func p = named("p");
  p(lane, t, h, block, c, hb, g, r) = undef<float>();
  p(lane, rp.x, h, rp.y, c, hb, g, r) =
      select(position(rp.y, rp.x, lane) < asking(length(h, r), rp.x, h, rp.y),
             exp_nonpositive(score(lane, rp.x, h, rp.y, c, hb, g, r) - chunk_max(0, h, c, hb, g, r)), 0.0f);

  Func lane_sum = named("lane_sum");
  lane_sum(lane, h, c, hb, g, r) = 0.0f;
  lane_sum(lane, h, c, hb, g, r) += p(lane, rm.x, h, rm.y, c, hb, g, r);
  chunk_sum = halving_tree(lane_sum, kKvTile, {h, c, hb, g, r}, plus, at_chunk);

  if (is_q8(spec.op))
    sum_integer_values(p);
  else
    sum_values(p);

  // Schedule. Everything of a chunk is computed inside the chunk loop: scratch is 256 scores and 256
  // probabilities a query, and a few head_dim numbers a query, whatever the context.
  stack(next, at_chunk);
  next.bound(block, 0, kBlocksPerChunk).unroll(block);
  reduce_lanes(lane_max, rm);
  reduce_lanes(lane_sum, rm);
  stack(p, at_chunk);
  p.bound(lane, 0, kKvTile).bound(t, 0, kTilesPerBlock).bound(h, 0, tile.queries());
  p.reorder_storage(lane, t, block, h, c, hb, g, r); // position innermost
  p.update().reorder(lane, rp.x, h, rp.y, c, hb, g, r).vectorize(lane);
  at_exp.set({p, rp.x});

  Var hg("hg");
  stack(score, at_chunk);
  score.bound(lane, 0, kKvTile).bound(t, 0, kTilesPerBlock).bound(h, 0, tile.queries());
  score.update()
      .split(h, hg, h, tile.dot_queries)
      .reorder(lane, h, rs.x, hg, rs.y, rs.z, c, hb, g, r)
      .vectorize(lane)
      .unroll(h)
      .unroll(rs.x);
  at_keys.set({score, rs.y});
  stack(dot, {score, hg});
  dot.vectorize(lane).unroll(h).unroll(block);
  if (one_by_one) {
    score.update(1)
        .split(h, hg, h, tile.dot_queries)
        .reorder(lane, h, t, hg, rb, c, hb, g, r)
        .vectorize(lane)
        .unroll(h)
        .unroll(t);
    stack(block_dot, {score, hg});
    block_dot.vectorize(lane).unroll(h).unroll(t);
  }
}

/// A running maximum or sum in 16 lanes, of several queries at once: each is one chain of dependent steps.
void AttentionPass::reduce_lanes(Func f, RDom over) {
  Var ho("ho");
  stack(f, at_chunk);
  f.bound(lane, 0, kKvTile).bound(h, 0, tile.queries()).vectorize(lane);
  f.update()
      .split(h, ho, h, largest_divisor(tile.queries(), 4))
      .reorder(lane, h, over.x, over.y, ho, c, hb, g, r)
      .vectorize(lane)
      .unroll(h);
  if (tile.rows == 1)
    f.update().unroll(over.x);
}

/// `operand`, of step `step` of a loop `at`, after asking for `count` lines of the next pass's K or V: from
/// line first + step * count on, counted across its blocks. So one line of each block is asked for in turn,
/// which keeps four of the memory's streams going (in order of address: 5 % slower).
Expr AttentionPass::asking_ahead(Expr operand, const char *cache, Expr step, int count, int first,
                                 const LoopLevel &at) {
  if (tile.rows > 1) // what came before left it in the cache
    return operand;
  Var s("s");
  Expr zero = cast(operand.type(), 0);
  for (int i = count; i-- > 0;) {
    const Expr line = s * count + (first + i);
    zero = fetching(args[cache], next(line % kBlocksPerChunk, c, hb, g, r) + line / kBlocksPerChunk, zero);
  }
  Func ahead(name + "ahead" + std::to_string(first) + cache);
  ahead(s, c, hb, g, r) = zero;
  stack(ahead, at);
  return operand + ahead(step, c, hb, g, r);
}

/// Computed for `dot_blocks` blocks and a tile of each, or for one block and all of its tiles.
Func AttentionPass::exact_dots(Func *dot, bool one_block) {
  RDom rd(0, head_dim, name + "rd");
  Func query = named("query"); // several rows: side by side, so that one register addresses all
  query(d, h, hb, g, r) = args["q"](d, head(h, hb, g), row(h, r));
  if (tile.rows > 1) {
    stack(query, at_queries);
    query.bound(d, 0, head_dim).bound(h, 0, tile.queries()).vectorize(d, tile.lanes);
  }
  *dot = named("dot");
  (*dot)(lane, t, h, block, c, hb, g, r) = 0.0f;
  LoopLevel at_line;
  const auto bits = [&](Expr d) { return args["k_cache"](lane, d, t, g, physical_block(c, block)); };
  Expr key;
  if (tile.rows > 1) { // a tile of positions, converted once for all queries
    Func k = named("k");
    k(lane, d, t, block, c, g, r) = f16_to_f32(bits(d), spec.cpu);
    stack(k, at_keys);
    k.bound(lane, 0, kKvTile).bound(d, 0, head_dim).vectorize(lane);
    key = k(lane, rd, t, block, c, g, r);
  } else if (one_block) {
    Func ahead = named("block_ahead"); // of the next pass's block, whose lines are as many
    ahead(d, block, c, hb, g, r) =
        fetching(args["k_cache"], next(block, c, hb, g, r) + 2 * d,
                 fetching(args["k_cache"], next(block, c, hb, g, r) + 2 * d + 1, cast<uint16_t>(0)));
    stack(ahead, at_line);
    key = f16_to_f32(bits(rd) + ahead(rd, block, c, hb, g, r), spec.cpu);
  } else {
    key = f16_to_f32(asking_ahead(bits(rd), "k_cache", t * head_dim + rd, 2, 0, at_line), spec.cpu);
  }
  (*dot)(lane, t, h, block, c, hb, g, r) += query(rd, h, hb, g, r) * key;
  at_line.set({*dot, rd});
  Stage update = dot->update();
  if (one_block)
    update.reorder(lane, h, t, rd, block, c, hb, g, r).unroll(t);
  else
    update.reorder(lane, h, block, rd, t, c, hb, g, r).unroll(block);
  update.vectorize(lane).unroll(h);

  Func value = named("scaled");
  value(lane, t, h, block, c, hb, g, r) =
      (*dot)(lane, t, h, block, c, hb, g, r) * (1.0f / std::sqrt(float(head_dim)));
  return value;
}

Func AttentionPass::integer_dots(Func *dot) {
  // Algorithm
  const int lanes = largest_divisor(head_dim, 16) >= 16 ? 16 : 4;
  RDom rq(0, head_dim / lanes, name + "rq");
  Func lane_top = named("lane_top"), q8 = named("q8"), lane_q = named("lane_q"), factor = named("factor");
  const auto q = [&](Expr d) { return args["q"](d, head(h, hb, g), row(h, r)); };
  lane_top(lane, h, hb, g, r) = 1e-30f;
  lane_top(lane, h, hb, g, r) = sel_max(abs(q(rq * lanes + lane)), lane_top(lane, h, hb, g, r));
  const Func top_lanes = halving_tree(lane_top, lanes, {h, hb, g, r}, sel_max, at_queries);
  const Expr top = top_lanes(0, h, hb, g, r);
  q8(d, h, hb, g, r) = round_to_int8(q(d) * (127.0f / top));
  lane_q(lane, h, hb, g, r) = 0;
  lane_q(lane, h, hb, g, r) += cast<int32_t>(q8(rq * lanes + lane, h, hb, g, r));
  const Func q_sum = halving_tree(lane_q, lanes, {h, hb, g, r}, plus, at_queries);
  factor(h, hb, g, r) = (top * (1.0f / 127.0f)) * (1.0f / std::sqrt(float(head_dim)));

  LoopLevel at_line;
  const auto asking = [&](Expr operand, Expr line) {
    return asking_ahead(operand, "k_cache", t * (head_dim / 4) + line, kDotAsks, 0, at_line);
  };
  *dot = named("dot");
  (*dot)(lane, t, h, block, c, hb, g, r) = 0;
  if (has_dot4(spec.cpu)) {
    RDom k(0, 4, 0, head_dim / 4, name + "k");
    (*dot)(lane, t, h, block, c, hb, g, r) +=
        cast<int32_t>(args["k_cache"](lane * 4 + k.x, k.y, t, g, physical_block(c, block))) *
        cast<int32_t>(asking(q8(k.y * 4 + k.x, h, hb, g, r), k.y));
    Stage update = dot->update();
    update.reorder(k.x, lane, h, block, k.y, t, c, hb, g, r).unroll(h).unroll(block);
    update.atomic().vectorize(k.x).vectorize(lane);
    at_line.set({*dot, k.y});
  } else {
    // A row's bytes are read as two words, whose low and high byte are taken by mask and shift.
    ImageParam words = args["k_cache"];
    Var word("word"), high("high"), line("line");
    Func wide = named("wide");
    wide(word, high, line, h, hb, g, r) = cast<int16_t>(q8(line * 4 + word * 2 + high, h, hb, g, r));
    RDom k(0, 2, 0, 2, 0, head_dim / 4, name + "k");
    const Expr code = cast<int16_t>(
        (words(lane * 2 + k.x, k.z, t, g, physical_block(c, block)) >> cast<uint16_t>(k.y * 8)) &
        cast<uint16_t>(255));
    (*dot)(lane, t, h, block, c, hb, g, r) +=
        cast<int32_t>(code) * cast<int32_t>(asking(wide(k.x, k.y, k.z, h, hb, g, r), k.z));
    Stage update = dot->update();
    update.reorder(k.x, lane, h, block, k.y, k.z, t, c, hb, g, r).unroll(h).unroll(block).unroll(k.y);
    update.atomic().vectorize(k.x).vectorize(lane);
    at_line.set({*dot, k.z});
    stack(wide, at_queries);
    wide.bound(word, 0, 2).bound(high, 0, 2).bound(line, 0, head_dim / 4).bound(h, 0, tile.queries());
    wide.vectorize(word).unroll(high);
  }
  Func value = named("scaled");
  const Expr k_scale = args["k_scale"](t * kKvTile + lane, g, physical_block(c, block));
  value(lane, t, h, block, c, hb, g, r) =
      (cast<float>((*dot)(lane, t, h, block, c, hb, g, r) - 128 * q_sum(0, h, hb, g, r)) * k_scale) *
      factor(h, hb, g, r);

  // Schedule: once for all chunks.
  for (Func f : {lane_top, q8, lane_q, factor}) {
    stack(f, at_queries);
    f.bound(h, 0, tile.queries());
  }
  for (Func f : {lane_top, lane_q})
    f.bound(lane, 0, lanes).vectorize(lane).update().vectorize(lane);
  q8.bound(d, 0, head_dim).vectorize(d, lanes);
  return value;
}

void AttentionPass::sum_values(Func p) {
  // Invalid positions take no part, not even with p = 0.
  RDom rt(0, kKvTile, 0, kTilesPerBlock, 0, kBlocksPerChunk, name + "rt");
  rt.where(position(rt.z, 0, 0) <
           limit(r)); // a condition of its own keeps `v` from blocks that are not there
  rt.where(position(rt.z, rt.y, rt.x) < limit(r));
  const auto bits = [&](Expr lane, Expr t, Expr block) {
    return args["v_cache"](d, t * kKvTile + lane, g, physical_block(c, block));
  };
  Var dv("dv"), dt("dt"), ho("ho");
  if (tile.rows > 1) { // a vector's columns of the chunk, converted once for all queries
    Func v = named("v"), sums = named("sums");
    v(d, lane, t, block, c, g, r) = f16_to_f32(bits(lane, t, block), spec.cpu);
    sums(d, h, c, hb, g, r) = 0.0f;
    sums(d, h, c, hb, g, r) += p(rt.x, rt.y, h, rt.z, c, hb, g, r) * v(d, rt.x, rt.y, rt.z, c, g, r);
    part(d, h, c, hb, g, r) = sums(d, h, c, hb, g, r);

    // Schedule
    stack(v, {part, dt});
    v.bound(lane, 0, kKvTile).vectorize(d, tile.lanes);
    sums.update()
        .split(d, dv, d, tile.lanes)
        .reorder(d, dv, h, rt.x, rt.y, rt.z, c, hb, g, r)
        .vectorize(d)
        .unroll(dv)
        .unroll(h);
    keep_sums(sums);
    return;
  }
  const int passes = tile.queries() / tile.value_queries; // over the values
  const Expr step = ((rt.z * kTilesPerBlock + rt.y) * kKvTile + rt.x) * passes + h / tile.value_queries;
  LoopLevel at_position;
  const Expr asked = asking_ahead(bits(rt.x, rt.y, rt.z), "v_cache", step,
                                  std::max(1, head_dim / 32 / passes), 0, at_position);
  part(d, h, c, hb, g, r) = 0.0f;
  part(d, h, c, hb, g, r) += p(rt.x, rt.y, h, rt.z, c, hb, g, r) * f16_to_f32(asked, spec.cpu);
  at_position.set({part, rt.x});

  stack(part, at_chunk);
  part.bound(d, 0, head_dim).bound(h, 0, tile.queries()).vectorize(d, tile.lanes);
  part.update()
      .split(d, dt, d, tile.lanes * tile.vectors)
      .split(d, dv, d, tile.lanes)
      .split(h, ho, h, tile.value_queries)
      .reorder(d, dv, h, rt.x, rt.y, ho, dt, rt.z, c, hb, g, r)
      .vectorize(d)
      .unroll(dv)
      .unroll(h);
}

/// `part` is made of these sums, of which a tile's stay in registers over the whole chunk.
void AttentionPass::keep_sums(Func sums) {
  Var dv("dv"), dt("dt"), ho("ho");
  stack(part, at_chunk);
  part.bound(d, 0, head_dim).bound(h, 0, tile.queries());
  part.split(d, dt, d, tile.lanes * tile.vectors)
      .split(d, dv, d, tile.lanes)
      .split(h, ho, h, tile.value_queries)
      .reorder(d, dv, h, ho, dt, c, hb, g, r)
      .vectorize(d)
      .unroll(dv)
      .unroll(h);
  stack(sums, {part, ho});
  sums.vectorize(d, tile.lanes).unroll(d).unroll(h);
}

void AttentionPass::sum_integer_values(Func p) {
  // Algorithm
  const auto weight = [&](Expr lane, Expr t, Expr block) {
    const Expr v_scale = args["v_scale"](t * kKvTile + lane, g, physical_block(c, block));
    return select(position(block, t, lane) < length(h, r), p(lane, t, h, block, c, hb, g, r) * v_scale, 0.0f);
  };
  RDom rw = tiles("rw");
  Func lane_top = named("lane_top_weight");
  lane_top(lane, h, c, hb, g, r) = 1e-32f;
  lane_top(lane, h, c, hb, g, r) = sel_max(weight(lane, rw.x, rw.y), lane_top(lane, h, c, hb, g, r));
  reduce_lanes(lane_top, rw);
  const Func top_lanes = halving_tree(lane_top, kKvTile, {h, c, hb, g, r}, sel_max, at_chunk);
  const Expr top = top_lanes(0, h, c, hb, g, r);

  Var i("i"), plane("plane");
  Func bits = named("weight_bits"); // of position i of a block
  const Expr rounded =
      sel_min(weight(i % kKvTile, i / kKvTile, block) * (32767.0f / top), 32767.0f) + kRoundMagic;
  bits(i, block, h, c, hb, g, r) = cast<uint16_t>(reinterpret<uint32_t>(rounded) & cast<uint32_t>(0x7fff));

  constexpr int kFours = kKvBlockTokens / 4;
  const int width = tile.lanes * tile.vectors, bytes_a_step = 4 * width;
  LoopLevel at_four;
  const auto asking = [&](Expr operand, Expr four, Expr block) {
    const Expr step = (d / width * kBlocksPerChunk + block) * kFours + four;
    return asking_ahead(operand, "v_cache", step / std::max(1, kFetchBytes / bytes_a_step),
                        std::max(1, bytes_a_step / kFetchBytes), 0, at_four);
  };
  Func sums = named("sums"), total = named("total");
  Var dv("dv");
  if (has_dot4(spec.cpu)) {
    Func bytes = named("weights");
    bytes(i, plane, block, h, c, hb, g, r) = undef<uint8_t>();
    RDom ry(0, 2, 0, kBlocksPerChunk, name + "ry");
    ry.where(position(ry.y, 0, 0) < limit(r));
    const Expr b = bits(i, ry.y, h, c, hb, g, r);
    bytes(i, ry.x, ry.y, h, c, hb, g, r) =
        cast<uint8_t>((b >> cast<uint16_t>(ry.x * 8)) & cast<uint16_t>(255));
    RDom k(0, 4, 0, kFours, 0, kBlocksPerChunk, name + "kv");
    k.where(position(k.z, 0, 0) < limit(r));
    sums(d, plane, h, c, hb, g, r) = 0;
    sums(d, plane, h, c, hb, g, r) +=
        cast<int32_t>(asking(bytes(k.y * 4 + k.x, plane, k.z, h, c, hb, g, r), k.y, k.z)) *
        cast<int32_t>(args["v_cache"](k.x, d, k.y, g, physical_block(c, k.z)));
    total(d, h, c, hb, g, r) = (sums(d, 1, h, c, hb, g, r) << 8) + sums(d, 0, h, c, hb, g, r);

    // Schedule
    stack(bytes, at_chunk);
    bytes.bound(i, 0, kKvBlockTokens).bound(plane, 0, 2).bound(h, 0, tile.queries());
    bytes.update().reorder(ry.x, i, h, ry.y, c, hb, g, r).unroll(ry.x).vectorize(i, kKvTile);
    sums.bound(plane, 0, 2).unroll(plane);
    Stage update = sums.update();
    update.split(d, dv, d, tile.lanes)
        .reorder(k.x, d, dv, plane, h, k.y, k.z, c, hb, g, r)
        .unroll(dv)
        .unroll(plane)
        .unroll(h);
    update.atomic().vectorize(k.x).vectorize(d);
    at_four.set({sums, k.y});
  } else {
    Var word("word"), high("high"), four("four");
    Func wide = named("weights");
    wide(word, high, four, block, h, c, hb, g, r) = undef<int16_t>();
    RDom rx(0, kFours, 0, kBlocksPerChunk, name + "rx");
    rx.where(position(rx.y, 0, 0) < limit(r));
    wide(word, high, rx.x, rx.y, h, c, hb, g, r) =
        cast<int16_t>(bits(rx.x * 4 + word * 2 + high, rx.y, h, c, hb, g, r));
    ImageParam words = args["v_cache"];
    RDom k(0, 2, 0, 2, 0, kFours, 0, kBlocksPerChunk, name + "kv");
    k.where(position(k.w, 0, 0) < limit(r));
    const Expr v =
        cast<int16_t>(words(k.x, d, k.z, g, physical_block(c, k.w)) << cast<uint16_t>(8 - 8 * k.y)) >>
        cast<int16_t>(8);
    sums(d, h, c, hb, g, r) = 0;
    sums(d, h, c, hb, g, r) +=
        cast<int32_t>(v) * cast<int32_t>(asking(wide(k.x, k.y, k.z, k.w, h, c, hb, g, r), k.z, k.w));
    total(d, h, c, hb, g, r) = sums(d, h, c, hb, g, r);

    // Schedule
    stack(bits, {wide, rx.y});
    bits.bound(i, 0, kKvBlockTokens).bound(h, 0, tile.queries()).vectorize(i, kKvTile);
    stack(wide, at_chunk);
    wide.bound(word, 0, 2).bound(high, 0, 2).bound(four, 0, kFours).bound(h, 0, tile.queries());
    wide.update().reorder(word, high, rx.x, h, rx.y, c, hb, g, r).unroll(word).unroll(high);
    Stage update = sums.update();
    update.split(d, dv, d, tile.lanes)
        .reorder(k.x, d, dv, h, k.y, k.z, k.w, c, hb, g, r)
        .unroll(dv)
        .unroll(h)
        .unroll(k.y);
    update.atomic().vectorize(k.x).vectorize(d);
    at_four.set({sums, k.z});
  }
  part(d, h, c, hb, g, r) = cast<float>(total(d, h, c, hb, g, r)) * (top * (1.0f / 32767.0f));
  keep_sums(sums);
}

} // namespace bitnet::codegen
