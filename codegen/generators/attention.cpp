// Attention over the paged cache, f16 and int8. For many rows whole, chunk after chunk; tiles of rows that
// belong to one sequence share the loads of its cache, the others go alone. For few rows in two steps: each
// chunk apart (attention_chunk*), then all merged in order (attention_merge). The numbers are those of
// codegen/reference/attention_twin.cpp, whichever way a row goes.
#include "codegen/generators/attention.h"
#include "codegen/generators/strict_math.h"
#include "codegen/target.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {
using namespace Halide;
using format::kAttentionChunk;
namespace {

/// The running result of one query, with head_dim / lanes vectors of o, then sum and maximum in every lane:
/// one Tuple, so that a merge computes its exp once.
struct State {
  int lanes, vectors;
  State(int head_dim, int lanes) : lanes(lanes), vectors(head_dim / lanes) {}
  int sum() const { return vectors; }
  int max() const { return vectors + 1; }

  Tuple start() const {
    std::vector<Expr> s(size_t(vectors + 2), Expr(0.0f));
    s[size_t(max())] = kLowest;
    return Tuple(s);
  }
  /// `old`, and a chunk whose p·v has part(v) as its v-th vector.
  template <class PartVector>
  Tuple merged(const FuncRef &old, const PartVector &part, Expr chunk_max, Expr chunk_sum) const {
    const Expr old_max = old[max()];
    const Expr e = exp_nonpositive(sel_min(old_max, chunk_max) - sel_max(old_max, chunk_max));
    const Expr scale_old = select(old_max > chunk_max, 1.0f, e),
               scale_new = select(old_max > chunk_max, e, 1.0f);
    std::vector<Expr> s;
    for (int v = 0; v < vectors; ++v)
      s.push_back(old[v] * scale_old + part(v) * scale_new);
    s.push_back(old[sum()] * scale_old + chunk_sum * scale_new);
    s.push_back(sel_max(old_max, chunk_max));
    return Tuple(s);
  }
  /// Vector v of the result.
  Expr result(const FuncRef &state, Expr v) const {
    std::vector<Expr> values;
    for (int i = 0; i < vectors; ++i)
      values.push_back(state[i]);
    return (vectors == 1 ? values[0] : mux(v, values)) * (1.0f / state[sum()]);
  }
};

/// Work units [begin, end) of attention as rows [first, last) of each kv head: unit g * rows + r.
struct UnitRange {
  Expr g, first, last;
  static Expr heads(const KernelArgs &args) {
    return (args.end + args.rows - 1) / args.rows - args.begin / args.rows;
  }
  UnitRange(const KernelArgs &args, Expr i)
      : g(args.begin / args.rows + i), first(max(args.begin - g * args.rows, 0)),
        last(min(args.end - g * args.rows, args.rows)) {}
};

/// The tiles of n rows that a range of rows is cut into, the last one reaching back over rows of the one
/// before, so that no row is left over for being one too many.
struct Tiles {
  const UnitRange &range;
  const int n;
  Expr first(Expr tile) const { return min(range.first + tile * n, range.last - n); }
  /// The tile lies in the range and all its rows are of one sequence, so that they can go together.
  Expr holds(KernelArgs &args, Expr tile) const {
    const auto sequence = [&](Expr r) { return args["sequences"](clamp(r, 0, args.rows - 1)); };
    const Expr r = first(tile);
    Expr same = range.first <= r && range.first + tile * n < range.last;
    for (int i = 1; i < n; ++i)
      same = same && sequence(r + i) == sequence(r);
    return same;
  }
};

/// Adds an update of o for passes of this tile: over the tiles that hold, or, for single rows, those in tiles
/// of `skipped` rows that do not.
void add_whole(const KernelSpec &spec, KernelArgs &args, Func o, int update, int rows, int skipped) {
  const std::string name = rows > 1 ? "tile_" : "row_";
  const AttentionTile tile = attention_tile(spec, rows);
  AttentionPass pass(spec, args, tile, name, AttentionPass::Next::chunk);
  const int blocks = spec.dims.heads / spec.dims.kv_heads / tile.heads;
  const State layout(spec.dims.head_dim, tile.lanes);

  Var lane("lane"), h("h"), hb("hb"), g("g"), r("r");
  RDom chunks(0,
              (args["block_table"].dim(0).extent() + format::kBlocksPerChunk - 1) / format::kBlocksPerChunk,
              name + "chunks");
  chunks.where(chunks * kAttentionChunk < pass.limit(r));
  Func state(name + "state");
  state(lane, h, hb, g, r) = layout.start();
  const FuncRef old = state(lane, h, hb, g, r);
  Tuple merged = layout.merged(
      old, [&](int v) { return pass.part(v * tile.lanes + lane, h, chunks, hb, g, r); },
      pass.chunk_max(0, h, chunks, hb, g, r), pass.chunk_sum(0, h, chunks, hb, g, r));
  if (rows > 1) // a row that ends before the tile's last chunk
    for (int v = 0; v < layout.vectors + 2; ++v)
      merged[size_t(v)] = select(chunks * kAttentionChunk < pass.length(h, r), merged[size_t(v)], old[v]);
  state(lane, h, hb, g, r) = merged;

  RDom out({{0, tile.lanes},
            {0, layout.vectors},
            {0, tile.queries()},
            {0, blocks},
            {0, (args.rows + rows - 1) / rows},
            {0, UnitRange::heads(args)}},
           name + "out");
  const UnitRange range(args, out[5]);
  Expr row = range.first + out[4];
  if (rows > 1) {
    row = Tiles{range, rows}.first(out[4]);
    out.where(Tiles{range, rows}.holds(args, out[4]));
  } else {
    out.where(row < range.last);
    if (skipped > 1)
      out.where(!Tiles{range, skipped}.holds(args, out[4] / skipped));
  }
  o(out[1] * tile.lanes + out[0], pass.head(out[2], out[3], range.g), pass.row(out[2], row)) =
      layout.result(state(out[0], out[2], out[3], range.g, row), out[1]);

  // Schedule
  o.update(update).allow_race_conditions().vectorize(out[0]).unroll(out[1]);
  pass.at_queries.set({o, out[3]});
  pass.at_chunk.set({state, chunks});
  state.compute_at({o, out[3]}).store_in(MemoryType::Register);
  state.bound(lane, 0, tile.lanes).bound(h, 0, tile.queries()).vectorize(lane);
  state.bound_extent(hb, 1).bound_extent(g, 1).bound_extent(r, 1);
  state.update().reorder(lane, h, chunks, hb, g, r).vectorize(lane);
}

Generated generate_whole(const KernelSpec &spec) {
  KernelArgs args(spec);
  const int rows = rows_together(spec);
  Var d("d"), head("head"), r("r");
  Func o("o");
  o(d, head, r) = undef<float>();
  if (rows > 1)
    add_whole(spec, args, o, 0, rows, 0);
  add_whole(spec, args, o, rows > 1, 1, rows);
  return args.finish({o});
}

Generated generate_chunks(const KernelSpec &spec) {
  KernelArgs args(spec);
  const AttentionTile tile = attention_tile(spec, 1);
  AttentionPass pass(spec, args, tile, "", AttentionPass::Next::head);
  const int blocks = spec.dims.heads / spec.dims.kv_heads / tile.heads, kv_heads = spec.dims.kv_heads;
  const int head_dim = spec.dims.head_dim, vectors = head_dim / tile.lanes;

  Var i("i"), head("head"), chunk("chunk"), r("r");
  Func parts("parts");
  const Expr chunk_units = args.rows * kv_heads;
  parts(i, head, chunk, r) = undef<float>();
  RDom out(
      {{0, tile.lanes},
       {0, format::part_width(head_dim) / tile.lanes},
       {0, tile.heads},
       {0, blocks},
       {0, args.rows},
       {0, kv_heads},
       {args.begin / chunk_units, (args.end + chunk_units - 1) / chunk_units - args.begin / chunk_units}},
      "out");
  const Expr row = out[4], g = out[5], c = out[6], unit = c * chunk_units + g * args.rows + row;
  out.where(args.begin <= unit && unit < args.end && c * kAttentionChunk < pass.limit(row));
  const Expr x = out[1] * tile.lanes + out[0], h = out[2], hb = out[3];
  parts(x, pass.head(h, hb, g), c, row) =
      select(out[1] < vectors, pass.part(min(out[1], vectors - 1) * tile.lanes + out[0], h, c, hb, g, row),
             select(x == head_dim, pass.chunk_max(0, h, c, hb, g, row), pass.chunk_sum(0, h, c, hb, g, row)));

  // Schedule
  parts.update().allow_race_conditions().vectorize(out[0]).unroll(out[1]);
  pass.at_queries.set({parts, out[3]});
  pass.at_chunk.set({parts, out[3]});
  return args.finish({parts});
}

} // namespace

Generated generate_attention(const KernelSpec &spec) {
  const bool chunks = spec.op == format::Op::attention_chunk || spec.op == format::Op::attention_chunk_q8;
  return chunks ? generate_chunks(spec) : generate_whole(spec);
}

Generated generate_attention_merge(const KernelSpec &spec) {
  KernelArgs args(spec);
  const int head_dim = spec.dims.head_dim, kv_heads = spec.dims.kv_heads, group = spec.dims.heads / kv_heads;
  const int lanes = lanes_for(head_dim);
  const State layout(head_dim, lanes);
  ImageParam &parts = args["parts"];

  // Algorithm. h: of the unit's heads.
  Var lane("lane"), h("h"), unit("unit"), head("head"), r("r"), d("d");
  const Expr row = unit / kv_heads, of_row = unit % kv_heads * group + h;
  RDom c(0, parts.dim(2).extent(), "c");
  c.where(c * kAttentionChunk <= args["positions"](row));
  Func state("state"), o("o");
  state(lane, h, unit) = layout.start();
  state(lane, h, unit) = layout.merged(
      state(lane, h, unit), [&](int v) { return parts(v * lanes + lane, of_row, c, row); },
      parts(head_dim, of_row, c, row), parts(head_dim + 1, of_row, c, row));
  o(d, head, r) = undef<float>();
  RDom out(0, lanes, 0, layout.vectors, 0, group, args.begin, args.end - args.begin, "out");
  o(out.y * lanes + out.x, out.w % kv_heads * group + out.z, out.w / kv_heads) =
      layout.result(state(out.x, out.z, out.w), out.y);

  // Schedule
  o.update().allow_race_conditions().vectorize(out.x).unroll(out.y);
  state.compute_at(o, out.z).store_in(MemoryType::Register);
  state.bound(lane, 0, lanes).vectorize(lane);
  state.update().reorder(lane, c, h, unit).vectorize(lane);
  return args.finish({o});
}

} // namespace bitnet::codegen
