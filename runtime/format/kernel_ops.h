// The kernel ABI: every kernel op, its dimensions, and the exact argument list of a compiled kernel.
// One owner, no copy: codegen emits kernels with this list, the compiler plans with it, the bundle validator
// checks every planned call against it, and the plan walker builds the arguments from it. Nothing here knows
// how a kernel is scheduled. C++17 without the library, so that every layer may include it.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace bitnet::format {

/// Element types of kernel arguments. f16 travels as its 16 bits (u16).
enum class Elem : uint8_t { f32, f16, i8, u8, i32 };
size_t elem_bytes(Elem e);

/// The kernel ops. The numbers are part of the bundle format: append only.
/// R = rows of the step, L = rows whose logits are wanted, K/N = inner/outer size. All matrices row-major:
/// [rows, K].
enum class Op : uint8_t {
  embed = 0, ///< x[r,:] = f32(table[token[r],:])                       table: f16 rows
  rms_norm = 1,        ///< y = (x * (1/sqrt(mean(x²)+eps))) * gain
  quantize = 2,        ///< s = 127/max(max|x|,1e-5); q = clamp(round_half_even(x*s),-127,127); sum = Σq
  norm_quant = 3,      ///< rms_norm then quantize
  gate = 4,            ///< h = act(gate) * up                                    act: see Act
  gate_quant = 5,      ///< gate then quantize
  gate_norm_quant = 6, ///< gate, rms_norm with the sub-norm gain, quantize
  add = 7,             ///< y = a + b
  /// y = epilogue(f32(Σ t*q) * (row_scale/s))                              weights: layout A (layouts.h)
  /// With groups of columns: y = epilogue((Σ_g f32(Σ_{i in g} t*q) * group_scale[g]) / s), the outer sum in f32 in
  /// the order of the groups, from 0.
  linear_t2 = 8,
  linear_s8 = 9, ///< y = f32(Σ w*q) * (row_scale/s)                         weights: int8 rows, stored w+128
  linear_f16 = 10,   ///< y = Σ f32(w)*x in kDotLanes partial sums (layouts.h)  weights: f16 rows
  rope = 11,         ///< half-split rotation (NEOX) of each head by the row's position
  kv_append = 12,    ///< writes k and v as f16 (saturated to ±65504) to the row's slot
  attention = 13,    ///< softmax(q·k/sqrt(D))·v over positions 0..position[r] of the row's sequence
  gather_rows = 14,  ///< y[l,:] = x[index[l],:]
  linear_t3 = 15,    ///< as linear_t2, no groups                                       weights: layout B (layouts.h)
  kv_append_q8 = 16, ///< writes k and v as int8 with a scale a head (saturated to ±65504) to the row's slot
  attention_q8 = 17, ///< attention over the int8 cache: q·k and p·v in integers (codegen/reference)
  /// Attention in two steps, for few rows: each chunk of kAttentionChunk positions apart, so that a long
  /// context is work for many threads; then the chunks merged in order. The numbers are attention's.
  attention_chunk = 18,
  attention_chunk_q8 = 19,
  attention_merge = 20,
  /// For the exact head (runtime/exec/exact_head.h); never a call of a plan. Of x 8 bits, and 7 more of some lines.
  screen_q4 = 21, ///< y = (f32(Σ code*(q + 128*high)) * map[0] + map[1]) * row_scale             weights: 4-bit
  rescore_f16 = 22, ///< y[c] = what linear_f16 gives for output row index[c] of one input row
  skip_up = 23,   ///< h = relu2(gate) * (f32(Σ t*q) * (row_scale/s)), 0 where gate <= 0   weights: U2 (layouts.h)
  skip_down = 24, ///< sums = Σ (t+1)*q, by ranges of the inputs (see skip_down below)     weights: D2 (layouts.h)
  skip_sum = 25,  ///< y = epilogue(f32(Σ sums - sum) * (row_scale/s))
  group_sums = 26, ///< sums[r,g] = Σ q[r,i] over the inputs i of group g: what linear_t2 with groups takes for sum
  head_norm = 27, ///< rms_norm of each head of a row, one gain for all
  linear_t5 = 28, ///< as linear_t3, but weights of layout C (layouts.h)
  count = 29
};
const char *op_name(Op op);
/// Returns Op::count for an unknown name.
Op op_from_name(const char *name);
/// Sums over stripes of weights in streams (layouts.h), for tiles of rows: linear_* and screen_q4.
bool is_linear(Op op);

/// Activation of the gate. silu(x) = x/(1+exp(-x)); gelu is the tanh form.
enum class Act : uint8_t { relu2 = 0, silu = 1, gelu = 2, count = 3 };
const char *act_name(Act a);
Act act_from_name(const char *name);

/// What a ternary linear does to value = f32(Σ) * (row_scale/s) before it stores y. Part of the bundle
/// format.
enum class Epilogue : uint8_t {
  none = 0,     ///< y = value
  residual = 1, ///< y = residual + value
  gate = 2,     ///< y = act(gate) * value
  count = 3
};
const char *epilogue_name(Epilogue e);
Epilogue epilogue_from_name(const char *name);

/// Sizes of an op. Only the fields an op uses are set; the others are 0 (op_dims_error checks both).
struct OpDims {
  int32_t n =
      0; ///< output features (linear*; multiple of 16), vocabulary rows of the table (embed; multiple of 16)
  int32_t k = 0;                      ///< input features, or width of an elementwise op; multiple of 16
  int32_t heads = 0;                  ///< rope, head_norm: heads; attention*: query heads; kv_append*: 0
  int32_t kv_heads = 0;               ///< attention*, kv_append*
  int32_t head_dim = 0;               ///< rope, attention*, kv_append*; multiple of 4; head_norm: of 16
  int32_t context = 0;                ///< rope: rows of the cos/sin tables
  Epilogue epilogue = Epilogue::none; ///< linear_t2, linear_t3, linear_t5; skip_sum, which has no gate
  Act act = Act::relu2;               ///< gate*; the same linears with the gate epilogue
  float eps = 0;                      ///< *norm*
  int32_t group = 0; ///< inputs that share a scale in a row: linear_t2 (0: all of them), group_sums; a multiple of
                     ///< 16 that divides k
};
bool operator==(const OpDims &a, const OpDims &b);

/// Why these dims are not legal for `op`, or nullptr. The text names the field and the rule.
const char *op_dims_error(Op op, const OpDims &d);

/// Where an argument's bytes live. The numbers are part of the bundle format.
enum class Space : uint8_t {
  arena = 0,   ///< session scratch; Slice::offset is a byte offset; reused between calls
  weights = 1, ///< the bundle's weights section; Slice::offset is a byte offset into it
  k_cache = 2, ///< Slice::offset is the layer index
  v_cache = 3, ///< Slice::offset is the layer index
  input = 4,   ///< Slice::offset is an Input
  k_scale = 5, ///< Slice::offset is the layer index
  v_scale = 6, ///< Slice::offset is the layer index
  parts = 7,   ///< the session's one buffer for attention's chunks; Slice::offset is 0
  count = 8
};
/// What a step hands to the plan. All i32.
enum class Input : uint8_t {
  tokens = 0,      ///< [R]
  positions = 1,   ///< [R] position of the row in its sequence
  sequences = 2,   ///< [R] index into block_table
  slots = 3,       ///< [R] physical cache slot: block * kv_block_tokens + offset
  block_table = 4, ///< [S, MB] physical block of each kv_block_tokens positions
  logit_rows = 5,  ///< [L] rows whose logits are wanted
  count = 6
};

/// Symbolic extents of argument shapes; everything else is a positive number.
constexpr int32_t kRows = -1;      ///< R or L, whichever the call runs over
constexpr int32_t kSrcRows = -2;   ///< R, in gather_rows whose own rows are L
constexpr int32_t kKvBlocks = -3;  ///< blocks in the session's cache
constexpr int32_t kSeqs = -4;      ///< sequences of the session
constexpr int32_t kSeqBlocks = -5; ///< blocks a sequence may have
constexpr int32_t kSeqChunks = -6; ///< chunks of kAttentionChunk positions a sequence may have

/// What the symbolic extents stand for in one call.
struct Extents {
  int32_t rows = 1;
  int32_t src_rows = 0, kv_blocks = 0, seqs = 0, seq_blocks = 0;
};
/// An extent of an Arg as a number.
int32_t resolve_extent(int32_t extent, const Extents &e);

/// One buffer argument: dims[0] is innermost with stride 1. The dimension whose extent is kRows/kSrcRows may
/// have any stride ≥ the dense one (a column slice of a wider buffer); all other dimensions are dense.
struct Arg {
  const char *name;
  Elem elem;
  bool output;
  Space space; ///< arena stands for "activation" (arena); the others as said
  int32_t rank;
  int32_t extent[5];
};
constexpr int kMaxArgs = 9;

/// The argument list of an op. A compiled kernel is `int kernel(void *const *args)`: one pointer to a Buffer
/// for each Arg in order, then pointers to three int32 scalars: rows, begin, end, where [begin, end) is the
/// range of work units to compute. Returns 0.
struct Signature {
  Arg args[kMaxArgs];
  int32_t n_args;
  int32_t units; ///< work units of a call = units + units_per_row * rows
  int32_t units_per_row;
  bool each_chunk; ///< times the chunks that the step's longest row has: see work_units
};
/// Outputs overlap no input, except that these may be one buffer (same address and row stride), so that
/// plan-memory can write in place: y and x of rope and head_norm, y and residual or gate of linear_t2, linear_t3 and
/// linear_t5, y and residual of skip_sum, y and a of add. A kernel must not compute an element of such an output twice. dims
/// must be legal (op_dims_error == nullptr).
Signature signature(Op op, const OpDims &d);
/// attention, attention_q8: unit g * rows + r is row r and kv head g.
/// Work units of a call over `rows` rows, none of which is beyond last_position. attention_chunk: unit
/// (c * kv_heads + g) * rows + r is chunk c of row r and kv head g.
int32_t work_units(const Signature &s, int32_t rows, int32_t last_position);

/// Row tiles of the linear kernels. A kernel of `rows` r computes ceil(R/r)*r rows: it may read and write pad
/// rows, so every activation buffer is allocated for round_up(max_rows, kRowPad) rows. rows = 0 means "many":
/// any R, padded to kRowPad. Elementwise kernels touch only the R real rows and have rows = 0.
constexpr int32_t kRowPad = 8;
/// Bytes after the arena that kernels may read: linear_t3 and linear_t5 read the activations of whole lines or
/// blocks of weights, up to 16 and 80 beyond the last row's end, where the weights are such that they add nothing.
constexpr size_t kArenaSlack = 128;

/// Widest head that screen_q4 takes.
constexpr int32_t kMaxScreenWidth = 8192;

/// Work unit u of linear_* and screen_q4 is stripe u of each of the matrix's streams (layouts.h), also where
/// the layout itself has no streams (linear_f16): weight_streams(n) stripes of 16 output rows,
/// stream_stripes(n) apart.

/// In place of a kernel's number: the call is left out at these row counts.
constexpr uint32_t kNoKernel = 0xffffffff;

/// skip_down leaves a row's sums apart where one row has too few outputs to share out among threads. Sums
/// have kSkipRanges places of n a row (layouts.h). In a step of at most kRowPad rows work unit u computes the
/// sums over the inputs of range u, at place u of the row. In one of more rows it computes the whole sums of
/// the outputs of lines [L*u/kSkipRanges, L*(u+1)/kSkipRanges), L = n/256, those of row r at place r %
/// kSkipRanges of row r / kSkipRanges.

using KernelFn = int (*)(void *const *args);

/// Layout-compatible with halide_buffer_t of Halide 21 (codegen asserts it field by field).
struct Dim {
  int32_t min, extent, stride;
  uint32_t flags;
};
struct Buffer {
  uint64_t device;
  const void *device_interface;
  uint8_t *host;
  uint64_t flags;
  uint8_t type_code; ///< 0 int, 1 uint, 2 float
  uint8_t type_bits;
  uint16_t type_lanes;
  int32_t dimensions;
  Dim *dim;
  void *padding;
};

} // namespace bitnet::format
