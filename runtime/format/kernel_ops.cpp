// The tables behind kernel_ops.h. Each op's rules and arguments stand together so that one look answers
// "what does this kernel get".
#include "runtime/format/kernel_ops.h"
#include "runtime/format/layouts.h"
#include <string.h>

namespace bitnet::format {
namespace {

constexpr const char *kOpNames[] = {"embed",
                                    "rms_norm",
                                    "quantize",
                                    "norm_quant",
                                    "gate",
                                    "gate_quant",
                                    "gate_norm_quant",
                                    "add",
                                    "linear_t2",
                                    "linear_s8",
                                    "linear_f16",
                                    "rope",
                                    "kv_append",
                                    "attention",
                                    "gather_rows",
                                    "linear_t3",
                                    "kv_append_q8",
                                    "attention_q8",
                                    "attention_chunk",
                                    "attention_chunk_q8",
                                    "attention_merge",
                                    "screen_q4",
                                    "rescore_f16",
                                    "skip_up",
                                    "skip_down",
                                    "skip_sum",
                                    "group_sums",
                                    "head_norm",
                                    "linear_t5"};
constexpr const char *kActNames[] = {"relu2", "silu", "gelu"};
constexpr const char *kEpilogueNames[] = {"none", "residual", "gate"};
static_assert(sizeof(kOpNames) / sizeof(*kOpNames) == size_t(Op::count), "one name for each op");
static_assert(sizeof(kActNames) / sizeof(*kActNames) == size_t(Act::count), "one name for each activation");
static_assert(sizeof(kEpilogueNames) / sizeof(*kEpilogueNames) == size_t(Epilogue::count),
              "one name for each epilogue");

Arg activation(const char *name, Elem e, int32_t width, bool output) {
  return {name, e, output, Space::arena, 2, {width, kRows}};
}
Arg per_row(const char *name, Elem e, bool output) { return {name, e, output, Space::arena, 1, {kRows}}; }
Arg input_rows(const char *name) { return {name, Elem::i32, false, Space::input, 1, {kRows}}; }
Arg vector_of(const char *name, Elem e, int32_t n) { return {name, e, false, Space::weights, 1, {n}}; }
Arg heads_of(const char *name, int32_t dim, int32_t heads, bool output) {
  return {name, Elem::f32, output, Space::arena, 3, {dim, heads, kRows}};
}

Arg parts_of(const OpDims &d, bool output) {
  return {"parts",      Elem::f32, output,
          Space::parts, 4,         {part_width(d.head_dim), d.heads, kSeqChunks, kSplitRows}};
}

struct Builder {
  Signature s{};
  Builder &operator+=(const Arg &a) {
    s.args[s.n_args++] = a;
    return *this;
  }
  void quantized_out(int32_t k) {
    *this += activation("q", Elem::i8, k, true);
    *this += per_row("s", Elem::f32, true);
    *this += per_row("sum", Elem::i32, true);
  }
  void quantized_in(int32_t k) {
    *this += activation("q", Elem::i8, k, false);
    *this += per_row("s", Elem::f32, false);
    *this += per_row("sum", Elem::i32, false);
  }
  void quantized_in_groups(int32_t k, int32_t groups) {
    *this += activation("q", Elem::i8, k, false);
    *this += per_row("s", Elem::f32, false);
    *this += activation("group_sums", Elem::i32, groups, false);
  }
  /// The two halves of a layer's cache, each with its scales if it is int8.
  void cache(const OpDims &d, bool q8, bool output) {
    constexpr int32_t kTiles = kKvBlockTokens / kKvTile;
    if (!q8) {
      *this += {"k_cache",      Elem::f16, output,
                Space::k_cache, 5,         {kKvTile, d.head_dim, kTiles, d.kv_heads, kKvBlocks}};
      *this += {"v_cache",      Elem::f16, output,
                Space::v_cache, 4,         {d.head_dim, kKvBlockTokens, d.kv_heads, kKvBlocks}};
      return;
    }
    *this += {"k_cache",      Elem::u8, output,
              Space::k_cache, 5,        {4 * kKvTile, d.head_dim / 4, kTiles, d.kv_heads, kKvBlocks}};
    *this += {"k_scale", Elem::f32, output, Space::k_scale, 3, {kKvBlockTokens, d.kv_heads, kKvBlocks}};
    *this += {"v_cache",      Elem::i8, output,
              Space::v_cache, 5,        {4, d.head_dim, kKvBlockTokens / 4, d.kv_heads, kKvBlocks}};
    *this += {"v_scale", Elem::f32, output, Space::v_scale, 3, {kKvBlockTokens, d.kv_heads, kKvBlocks}};
  }
};

/// Which fields of OpDims an op uses.
struct Uses {
  bool n, k, heads, kv_heads, head_dim, context, epilogue, act, eps, group;
};
Uses uses(Op op) {
  switch (op) {
  case Op::embed:
  case Op::linear_s8:
  case Op::linear_f16:
  case Op::screen_q4:
  case Op::rescore_f16:
    return {true, true, 0, 0, 0, 0, 0, 0, 0, 0};
  case Op::linear_t2:
    return {true, true, 0, 0, 0, 0, true, 0, 0, true};
  case Op::linear_t3:
  case Op::linear_t5:
    return {true, true, 0, 0, 0, 0, true, 0, 0, 0};
  case Op::group_sums:
    return {0, true, 0, 0, 0, 0, 0, 0, 0, true};
  case Op::rms_norm:
  case Op::norm_quant:
    return {0, true, 0, 0, 0, 0, 0, 0, true, 0};
  case Op::quantize:
  case Op::add:
  case Op::gather_rows:
    return {0, true, 0, 0, 0, 0, 0, 0, 0, 0};
  case Op::gate:
  case Op::gate_quant:
    return {0, true, 0, 0, 0, 0, 0, true, 0, 0};
  case Op::gate_norm_quant:
    return {0, true, 0, 0, 0, 0, 0, true, true, 0};
  case Op::rope:
    return {0, 0, true, 0, true, true, 0, 0, 0, 0};
  case Op::head_norm:
    return {0, 0, true, 0, true, 0, 0, 0, true, 0};
  case Op::kv_append:
  case Op::kv_append_q8:
    return {0, 0, 0, true, true, 0, 0, 0, 0, 0};
  case Op::attention:
  case Op::attention_q8:
  case Op::attention_chunk:
  case Op::attention_chunk_q8:
  case Op::attention_merge:
    return {0, 0, true, true, true, 0, 0, 0, 0, 0};
  case Op::skip_up:
  case Op::skip_down:
    return {true, true, 0, 0, 0, 0, 0, 0, 0, 0};
  case Op::skip_sum:
    return {true, 0, 0, 0, 0, 0, true, 0, 0, 0};
  case Op::count:
    break;
  }
  return {};
}

} // namespace

size_t elem_bytes(Elem e) { return e == Elem::f32 || e == Elem::i32 ? 4 : e == Elem::f16 ? 2 : 1; }
const char *op_name(Op op) { return op < Op::count ? kOpNames[size_t(op)] : "?"; }
const char *epilogue_name(Epilogue e) { return e < Epilogue::count ? kEpilogueNames[size_t(e)] : "?"; }
const char *act_name(Act a) { return a < Act::count ? kActNames[size_t(a)] : "?"; }

Op op_from_name(const char *name) {
  for (size_t i = 0; i < size_t(Op::count); ++i)
    if (strcmp(kOpNames[i], name) == 0)
      return Op(i);
  return Op::count;
}
bool is_linear(Op op) {
  return op == Op::linear_t2 || op == Op::linear_t3 || op == Op::linear_t5 || op == Op::linear_s8 || op == Op::linear_f16 ||
         op == Op::screen_q4;
}

Act act_from_name(const char *name) {
  for (size_t i = 0; i < size_t(Act::count); ++i)
    if (strcmp(kActNames[i], name) == 0)
      return Act(i);
  return Act::count;
}

Epilogue epilogue_from_name(const char *name) {
  for (size_t i = 0; i < size_t(Epilogue::count); ++i)
    if (strcmp(kEpilogueNames[i], name) == 0)
      return Epilogue(i);
  return Epilogue::count;
}

bool operator==(const OpDims &a, const OpDims &b) {
  return a.n == b.n && a.k == b.k && a.heads == b.heads && a.kv_heads == b.kv_heads &&
         a.head_dim == b.head_dim && a.context == b.context && a.epilogue == b.epilogue && a.act == b.act &&
         a.eps == b.eps && a.group == b.group;
}

const char *op_dims_error(Op op, const OpDims &d) {
  if (op >= Op::count)
    return "unknown op";
  const Uses u = uses(op);
  constexpr int32_t kMaxWidth = 1 << 20, kMaxRows = 1 << 22;
  if (u.n ? (d.n < 16 || d.n > kMaxRows || d.n % 16) : d.n != 0)
    return u.n ? "n must be a multiple of 16 in [16, 2^22]" : "n is not used by this op and must be 0";
  if (u.k ? (d.k < 16 || d.k > kMaxWidth || d.k % 16) : d.k != 0)
    return u.k ? "k must be a multiple of 16 in [16, 2^20]" : "k is not used by this op and must be 0";
  if (u.heads ? (d.heads < 1 || d.heads > 4096) : d.heads != 0)
    return u.heads ? "heads must be in [1, 4096]" : "heads is not used by this op and must be 0";
  if (u.kv_heads ? (d.kv_heads < 1 || d.kv_heads > 4096) : d.kv_heads != 0)
    return u.kv_heads ? "kv_heads must be in [1, 4096]" : "kv_heads is not used by this op and must be 0";
  if (u.head_dim ? (d.head_dim < 4 || d.head_dim > 1024 || d.head_dim % 4) : d.head_dim != 0)
    return u.head_dim ? "head_dim must be a multiple of 4 in [4, 1024]"
                      : "head_dim is not used by this op and must be 0";
  if (u.context ? (d.context < 1 || d.context > (1 << 20)) : d.context != 0)
    return u.context ? "context must be in [1, 2^20]" : "context is not used by this op and must be 0";
  if (u.heads && u.kv_heads && d.heads % d.kv_heads)
    return "heads must be a multiple of kv_heads";
  if (d.epilogue >= Epilogue::count || (!u.epilogue && d.epilogue != Epilogue::none))
    return "epilogue is not legal here";
  if (op == Op::skip_sum && d.epilogue == Epilogue::gate)
    return "epilogue is not legal here";
  if (op == Op::head_norm && d.head_dim % 16)
    return "head_dim must be a multiple of 16";
  if (op == Op::skip_up && d.k % 256)
    return "k must be a multiple of 256";
  if ((op == Op::skip_down || op == Op::skip_sum) && d.n % 256)
    return "n must be a multiple of 256";
  const bool has_act = u.act || d.epilogue == Epilogue::gate;
  if (d.act >= Act::count || (!has_act && d.act != Act::relu2))
    return "act is not legal here";
  if (u.eps ? !(d.eps >= 0 && d.eps <= 1) : d.eps != 0)
    return u.eps ? "eps must be in [0, 1]" : "eps is not used by this op and must be 0";
  if (u.group ? (d.group < 0 || d.group % 16 || (d.group && d.k % d.group)) : d.group != 0)
    return u.group ? "group must be a multiple of 16 that divides k" : "group is not used by this op and must be 0";
  if (op == Op::group_sums && d.group == 0)
    return "group must be a multiple of 16 that divides k";
  // Bytes of the widest coding and what lies between its streams, which kernels index by i32.
  if (u.n && u.k && int64_t(d.n) * d.k > INT32_MAX - (1 << 13))
    return "n * k must be below 2^31 - 2^13";
  // |Σ code*q| ≤ 2*127*k (linear_t2) and 255*127*k (linear_s8) must fit in i32.
  // 256 * Σ code*q, which linear_t3 sums, must fit too.
  if (op == Op::linear_t3 && int64_t(d.k) * 2 * 127 * 256 > INT32_MAX)
    return "k is too large for base-3 weights";
  if (op == Op::linear_s8 && int64_t(d.k) * 255 * 127 > INT32_MAX)
    return "k is too large for an int32 sum";
  if (op == Op::screen_q4 && d.k > kMaxScreenWidth)
    return "k is too large for the bound of a screen";
  return nullptr;
}

int32_t resolve_extent(int32_t extent, const Extents &e) {
  switch (extent) {
  case kRows:
    return e.rows;
  case kSrcRows:
    return e.src_rows;
  case kKvBlocks:
    return e.kv_blocks;
  case kSeqs:
    return e.seqs;
  case kSeqBlocks:
    return e.seq_blocks;
  case kSeqChunks:
    return (e.seq_blocks + kBlocksPerChunk - 1) / kBlocksPerChunk;
  }
  return extent;
}

int32_t work_units(const Signature &s, int32_t rows, int32_t last_position) {
  return s.units + s.units_per_row * rows * (s.each_chunk ? last_position / kAttentionChunk + 1 : 1);
}

Signature signature(Op op, const OpDims &d) {
  Builder b;
  int32_t lines = 0;
  b.s.units_per_row = 1; // elementwise ops: one unit a row
  switch (op) {
  case Op::embed:
    b += input_rows("tokens");
    b += {"table", Elem::f16, false, Space::weights, 2, {d.k, d.n}};
    b += activation("x", Elem::f32, d.k, true);
    break;
  case Op::rms_norm:
    b += activation("x", Elem::f32, d.k, false);
    b += vector_of("gain", Elem::f32, d.k);
    b += activation("y", Elem::f32, d.k, true);
    break;
  case Op::quantize:
    b += activation("x", Elem::f32, d.k, false);
    b.quantized_out(d.k);
    break;
  case Op::norm_quant:
    b += activation("x", Elem::f32, d.k, false);
    b += vector_of("gain", Elem::f32, d.k);
    b.quantized_out(d.k);
    break;
  case Op::gate:
    b += activation("gate", Elem::f32, d.k, false);
    b += activation("up", Elem::f32, d.k, false);
    b += activation("h", Elem::f32, d.k, true);
    break;
  case Op::gate_quant:
    b += activation("gate", Elem::f32, d.k, false);
    b += activation("up", Elem::f32, d.k, false);
    b.quantized_out(d.k);
    break;
  case Op::gate_norm_quant:
    b += activation("gate", Elem::f32, d.k, false);
    b += activation("up", Elem::f32, d.k, false);
    b += vector_of("gain", Elem::f32, d.k);
    b.quantized_out(d.k);
    break;
  case Op::add:
    b += activation("a", Elem::f32, d.k, false);
    b += activation("b", Elem::f32, d.k, false);
    b += activation("y", Elem::f32, d.k, true);
    break;
  case Op::linear_t2:
  case Op::linear_t3:
  case Op::linear_t5:
    if (d.group)
      b.quantized_in_groups(d.k, d.k / d.group);
    else
      b.quantized_in(d.k);
    lines = op == Op::linear_t2 ? t2_lines(d.k) : op == Op::linear_t3 ? t3_lines(d.k) : t5_lines(d.k);
    b += {"w",   Elem::u8,
          false, Space::weights,
          4,     {4, kRowTile, stream_lines(d.n, lines), weight_streams(d.n)}};
    if (d.group)
      b += {"group_scale",  Elem::f32, false,
            Space::weights, 3,         {kRowTile, stream_lines(d.n, d.k / d.group), weight_streams(d.n)}};
    else
      b += vector_of("row_scale", Elem::f32, d.n);
    if (d.epilogue != Epilogue::none)
      b += activation(epilogue_name(d.epilogue), Elem::f32, d.n, false);
    b += activation("y", Elem::f32, d.n, true);
    break;
  case Op::linear_s8:
    b.quantized_in(d.k);
    b += {"w",   Elem::u8,
          false, Space::weights,
          4,     {4, kRowTile, stream_lines(d.n, s8_lines(d.k)), weight_streams(d.n)}};
    b += vector_of("row_scale", Elem::f32, d.n);
    b += activation("y", Elem::f32, d.n, true);
    break;
  case Op::linear_f16:
    b += activation("x", Elem::f32, d.k, false);
    b += {"w", Elem::f16, false, Space::weights, 2, {d.k, d.n}};
    b += activation("y", Elem::f32, d.n, true);
    break;
  case Op::rope:
    b += heads_of("x", d.head_dim, d.heads, false);
    b += input_rows("positions");
    b += {"cos", Elem::f32, false, Space::weights, 2, {d.head_dim / 2, d.context}};
    b += {"sin", Elem::f32, false, Space::weights, 2, {d.head_dim / 2, d.context}};
    b += heads_of("y", d.head_dim, d.heads, true);
    break;
  case Op::head_norm:
    b += heads_of("x", d.head_dim, d.heads, false);
    b += vector_of("gain", Elem::f32, d.head_dim);
    b += heads_of("y", d.head_dim, d.heads, true);
    break;
  case Op::kv_append:
    b += heads_of("k", d.head_dim, d.kv_heads, false);
    b += heads_of("v", d.head_dim, d.kv_heads, false);
    b += input_rows("slots");
    b.cache(d, false, true);
    break;
  case Op::kv_append_q8:
    b += heads_of("k", d.head_dim, d.kv_heads, false);
    b += heads_of("v", d.head_dim, d.kv_heads, false);
    b += input_rows("slots");
    b.cache(d, true, true);
    break;
  case Op::attention:
  case Op::attention_q8:
  case Op::attention_chunk:
  case Op::attention_chunk_q8:
    b += heads_of("q", d.head_dim, d.heads, false);
    b.cache(d, op == Op::attention_q8 || op == Op::attention_chunk_q8, false);
    b += input_rows("positions");
    b += input_rows("sequences");
    b += {"block_table", Elem::i32, false, Space::input, 2, {kSeqBlocks, kSeqs}};
    b.s.each_chunk = op == Op::attention_chunk || op == Op::attention_chunk_q8;
    b += b.s.each_chunk ? parts_of(d, true) : heads_of("o", d.head_dim, d.heads, true);
    b.s.units_per_row = d.kv_heads;
    break;
  case Op::attention_merge:
    b += parts_of(d, false);
    b += input_rows("positions");
    b += heads_of("o", d.head_dim, d.heads, true);
    b.s.units_per_row = d.kv_heads;
    break;
  case Op::gather_rows:
    b += {"x", Elem::f32, false, Space::arena, 2, {d.k, kSrcRows}};
    b += input_rows("logit_rows");
    b += activation("y", Elem::f32, d.k, true);
    break;
  case Op::screen_q4:
    b += activation("q", Elem::i8, 2 * d.k, false); // q, then high, which is 0 but in these lines:
    b += activation("lines", Elem::i32, screen_high_lines(d.k), false);
    b += activation("map", Elem::f32, 2, false);
    b += {"w",   Elem::u8,
          false, Space::weights,
          4,     {4, kRowTile, stream_lines(d.n, q4_lines(d.k)), weight_streams(d.n)}};
    b += vector_of("row_scale", Elem::f32, d.n);
    b += activation("y", Elem::f32, d.n, true);
    break;
  case Op::rescore_f16:
    b += {"x", Elem::f32, false, Space::arena, 1, {d.k}};
    b += per_row("index", Elem::i32, false);
    b += {"w", Elem::f16, false, Space::weights, 2, {d.k, d.n}};
    b += per_row("y", Elem::f32, true);
    break;
  case Op::skip_up:
    b.quantized_in(d.k);
    b += {"w", Elem::u8, false, Space::weights, 3, {64, d.k / 256, d.n}};
    b += vector_of("row_scale", Elem::f32, d.n);
    b += activation("gate", Elem::f32, d.n, false);
    b += activation("h", Elem::f32, d.n, true);
    b.s.units_per_row = 0;
    b.s.units = d.n / kRowTile;
    break;
  case Op::skip_down:
    b += activation("q", Elem::i8, d.k, false);
    b += {"w", Elem::u8, false, Space::weights, 3, {64, d.n / 256, d.k}};
    b += activation("sums", Elem::i32, kSkipRanges * d.n, true);
    b.s.units_per_row = 0;
    b.s.units = kSkipRanges;
    break;
  case Op::skip_sum:
    b += activation("sums", Elem::i32, kSkipRanges * d.n, false);
    b += per_row("s", Elem::f32, false);
    b += per_row("sum", Elem::i32, false);
    b += vector_of("row_scale", Elem::f32, d.n);
    if (d.epilogue == Epilogue::residual)
      b += activation("residual", Elem::f32, d.n, false);
    b += activation("y", Elem::f32, d.n, true);
    break;
  case Op::group_sums:
    b += activation("q", Elem::i8, d.k, false);
    b += activation("sums", Elem::i32, d.k / d.group, true);
    break;
  case Op::count:
    break;
  }
  if (is_linear(op)) {
    b.s.units_per_row = 0;
    b.s.units = stream_stripes(d.n);
  }
  return b.s;
}

} // namespace bitnet::format
