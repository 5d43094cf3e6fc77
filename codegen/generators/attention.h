// One pass of attention over one chunk of a sequence: scores, softmax against the chunk's own maximum, and
// the weighted sum of values, for some query heads of one kv head and for one row, or for several rows of one
// sequence that share every load (and conversion) of K and V. The generators of attention.cpp put passes
// together; the numbers are those of chunk_part in codegen/reference/attention_twin.cpp.
#pragma once
#include "codegen/generators/generator.h"

namespace bitnet::codegen {

/// Register tiles. Both inner loops keep queries x vectors accumulators, plus registers for the shared loads.
struct AttentionTile {
  int rows;          ///< rows of one sequence
  int heads;         ///< query heads of the group, a divisor of it
  int dot_queries;   ///< q·k: queries at once, a divisor of rows * heads
  int dot_blocks;    ///< q·k: blocks of positions at once, 16 positions of each: 1, 2 or 4
  int lanes;         ///< p·v: lanes along head_dim, a divisor of it
  int vectors;       ///< p·v: such vectors at once, a divisor of their number
  int value_queries; ///< p·v: queries at once, a divisor of rows * heads
  int queries() const { return rows * heads; }
};
AttentionTile attention_tile(const KernelSpec &spec, int rows);
/// Rows of one sequence that go together where there are as many: enough to make up for converting K and V.
int rows_together(const KernelSpec &spec);
bool is_q8(format::Op op);

/// Indices of its Funcs: h: query of the tile, row-major [rows][heads]; c: chunk; hb: block of `heads` heads
/// of the group; g: kv head; r: first row.
class AttentionPass {
public:
  /// The pass that follows: of the same heads over the next chunk, or of the next kv head over the same (of
  /// the first over the next). Single rows ask for its K and V as they go, line by line.
  enum class Next { chunk, head };
  AttentionPass(const KernelSpec &spec, KernelArgs &args, AttentionTile tile, const std::string &name, Next);

  Halide::Func part;      ///< (d, h, c, hb, g, r)
  Halide::Func chunk_max; ///< (0, h, c, hb, g, r)
  Halide::Func chunk_sum; ///< (0, h, c, hb, g, r)

  Halide::Expr row(Halide::Expr h, Halide::Expr r) const; ///< of a query
  Halide::Expr head(Halide::Expr h, Halide::Expr hb, Halide::Expr g) const;
  Halide::Expr length(Halide::Expr h, Halide::Expr r); ///< valid positions of a query's row
  Halide::Expr limit(Halide::Expr r);                  ///< the largest of them in the tile

  /// To be set by the generator: the loop over chunks, and the loop around it.
  Halide::LoopLevel at_chunk, at_queries;

private:
  using Expr = Halide::Expr;
  using Func = Halide::Func;
  using Var = Halide::Var;
  Func named(const char *what) const { return Func(name + what); }
  Expr position(Expr block, Expr tile, Expr lane) const;
  Expr physical_block(Expr chunk, Expr block); ///< of the row's last one at most
  Halide::RDom tiles(const char *what);
  void stop_at_limit(Halide::RDom &r, Expr block, Expr t);
  void stack(Func f, const Halide::LoopLevel &at) const;
  void reduce_lanes(Func f, Halide::RDom over);
  Expr asking_ahead(Expr operand, const char *cache, Expr step, int count, int first,
                    const Halide::LoopLevel &at);

  Func exact_dots(Func *dot, bool one_block); ///< over f16; returns the scores before masking
  Func integer_dots(Func *dot);               ///< over int8
  void sum_values(Func p);
  void sum_integer_values(Func p);
  void keep_sums(Func sums);

  const KernelSpec &spec;
  KernelArgs &args;
  const AttentionTile tile;
  const std::string name;
  const int head_dim, group;
  Halide::LoopLevel at_keys; ///< of q·k: a tile of positions
  Func next; ///< (block, c, hb, g, r): first line of the next pass's part of a block in K or V
  Var lane{"lane"}, t{"t"}, block{"block"}, d{"d"}, h{"h"}, c{"c"}, hb{"hb"}, g{"g"}, r{"r"};
};

} // namespace bitnet::codegen
