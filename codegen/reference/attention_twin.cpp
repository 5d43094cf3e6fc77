// Twins of attention over the f16 and the int8 cache, whole (attention, attention_q8) and in two steps
// (attention_chunk, attention_chunk_q8, attention_merge): for one row and one kv head g, the query heads of
// group g over positions 0..position[row] of the row's sequence.
//
// Softmax is online over chunks of kAttentionChunk positions, in order. A chunk is reduced against its own
// maximum
//   m = max s,  p = exp(s - m),  l = sum p,  o = sum p v
// and then merged into the running (M, L, O): with M' = max(M, m) and e = exp(min(M, m) - M'), the side whose
// maximum is not M' is scaled by e, the other by 1. So a chunk depends on nothing before it, and kernels
// compute chunks apart and merge them in order. The result depends on T and the T valid positions only:
// nothing else of the cache takes part in any sum.
//
// Over the int8 cache q·k and p·v are exact integer sums. With a query head's largest |q| = a (at least
// 1e-30):
//   q8 = round(q * (127 / a)),  s = (f32(Σ q8 k8) * k_scale) * ((a * 1/127) * 1/sqrt(D))
// and with the chunk's w = p * v_scale and its largest b (at least 1e-32):
//   w15 = min(round(w * (32767 / b)), 32767),  o = f32(Σ w15 v8) * (b * 1/32767)
// |Σ q8 k8| <= 127 * 127 * 1024 and |Σ w15 v8| <= 32767 * 127 * 256 fit an i32. A weight's error is 2^-16 of
// the chunk's largest.
#include "codegen/reference/op_twins.h"
#include "codegen/reference/scalar_math.h"
#include "codegen/reference/twin_args.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <vector>

namespace bitnet::codegen {
using format::kAttentionChunk;
using format::kKvBlockTokens;
using format::kKvTile;
using format::Op;
using format::OpDims;
namespace {

constexpr float kLowest = -3.402823466e38f; ///< -FLT_MAX: no finite score is below it

/// A chunk's result for one query head: the first three in the order of a row of `parts`.
struct Part {
  std::vector<float> o;
  float max, sum;
};

/// The cache as one sequence and one kv head see it; the scales are null in f16.
struct SequenceCache {
  const void *k, *v;
  const float *k_scale, *v_scale;
  const int32_t *blocks; ///< physical block of each kKvBlockTokens positions
  int32_t head_dim, kv_heads, g;

  int32_t slot(int32_t t) const { return blocks[t / kKvBlockTokens] * kKvBlockTokens + t % kKvBlockTokens; }
  float key(int32_t t, int32_t d) const {
    return f16_to_f32(static_cast<const uint16_t *>(k)[format::k_index(head_dim, kv_heads, slot(t), g, d)]);
  }
  float value(int32_t t, int32_t d) const {
    return f16_to_f32(static_cast<const uint16_t *>(v)[format::v_index(head_dim, kv_heads, slot(t), g, d)]);
  }
  int32_t key_q8(int32_t t, int32_t d) const {
    return static_cast<const uint8_t *>(k)[format::k_q8_index(head_dim, kv_heads, slot(t), g, d)] - 128;
  }
  int32_t value_q8(int32_t t, int32_t d) const {
    return static_cast<const int8_t *>(v)[format::v_q8_index(head_dim, kv_heads, slot(t), g, d)];
  }
  float scale_of(const float *scales, int32_t t) const {
    return scales[format::kv_scale_index(kv_heads, slot(t), g)];
  }
};

/// s[0, n): scores of positions begin + t.
void scores(const SequenceCache &cache, const float *q, int32_t begin, int32_t n, float *s) {
  const float scale = 1.0f / std::sqrt(float(cache.head_dim));
  if (!cache.k_scale) {
    for (int32_t t = 0; t < n; ++t) {
      float dot = 0;
      for (int32_t d = 0; d < cache.head_dim; ++d)
        dot = dot + q[d] * cache.key(begin + t, d);
      s[t] = dot * scale;
    }
    return;
  }
  float a = 1e-30f;
  for (int32_t d = 0; d < cache.head_dim; ++d)
    a = sel_max(std::fabs(q[d]), a);
  const float to_int8 = 127.0f / a, factor = (a * (1.0f / 127.0f)) * scale;
  for (int32_t t = 0; t < n; ++t) {
    int32_t dot = 0;
    for (int32_t d = 0; d < cache.head_dim; ++d)
      dot += round_to_int8(q[d] * to_int8) * cache.key_q8(begin + t, d);
    s[t] = (float(dot) * cache.scale_of(cache.k_scale, begin + t)) * factor;
  }
}

/// o[d] = Σ p[t] v[t][d].
void weigh(const SequenceCache &cache, const float *p, int32_t begin, int32_t n, float *o) {
  if (!cache.v_scale) {
    std::fill(o, o + cache.head_dim, 0.0f);
    for (int32_t t = 0; t < n; ++t)
      for (int32_t d = 0; d < cache.head_dim; ++d)
        o[d] = o[d] + p[t] * cache.value(begin + t, d);
    return;
  }
  float w[kAttentionChunk], b = 1e-32f;
  for (int32_t t = 0; t < n; ++t) {
    w[t] = p[t] * cache.scale_of(cache.v_scale, begin + t);
    b = sel_max(w[t], b);
  }
  const float to_int15 = 32767.0f / b, factor = b * (1.0f / 32767.0f);
  std::vector<int32_t> sums(size_t(cache.head_dim), 0);
  for (int32_t t = 0; t < n; ++t) {
    const float rounded = sel_min(w[t] * to_int15, 32767.0f) + kRoundMagic;
    const int32_t w15 = int32_t(float_bits(rounded) & 0x7fffu);
    for (int32_t d = 0; d < cache.head_dim; ++d)
      sums[size_t(d)] += w15 * cache.value_q8(begin + t, d);
  }
  for (int32_t d = 0; d < cache.head_dim; ++d)
    o[d] = float(sums[size_t(d)]) * factor;
}

/// Positions [begin, begin + n), 1 <= n <= kAttentionChunk, for one query head. q: [head_dim].
Part chunk_part(const SequenceCache &cache, const float *q, int32_t begin, int32_t n) {
  Part part{std::vector<float>(size_t(cache.head_dim)), 0, 0};
  float p[kAttentionChunk], largest[kKvTile], sums[kKvTile] = {};
  scores(cache, q, begin, n, p);
  std::fill(largest, largest + kKvTile, kLowest);
  for (int32_t t = 0; t < n; ++t)
    largest[t % kKvTile] = sel_max(p[t], largest[t % kKvTile]);
  part.max = halving_tree(largest, kKvTile, sel_max);
  for (int32_t t = 0; t < n; ++t) {
    p[t] = exp_nonpositive(p[t] - part.max);
    sums[t % kKvTile] = sums[t % kKvTile] + p[t];
  }
  part.sum = halving_tree(sums, kKvTile, [](float a, float b) { return a + b; });
  weigh(cache, p, begin, n, part.o.data());
  return part;
}

/// The running state over chunks.
struct Merge {
  Part state;
  explicit Merge(int32_t head_dim) : state{std::vector<float>(size_t(head_dim), 0.0f), kLowest, 0} {}

  void add(const float *o, float max, float sum) {
    const float e = exp_nonpositive(sel_min(state.max, max) - sel_max(state.max, max));
    const float scale_old = state.max > max ? 1.0f : e, scale_new = state.max > max ? e : 1.0f;
    state.sum = state.sum * scale_old + sum * scale_new;
    for (size_t d = 0; d < state.o.size(); ++d)
      state.o[d] = state.o[d] * scale_old + o[d] * scale_new;
    state.max = sel_max(state.max, max);
  }
  void finish(float *o) const {
    const float inverse = 1.0f / state.sum;
    for (size_t d = 0; d < state.o.size(); ++d)
      o[d] = state.o[d] * inverse;
  }
};

/// The arguments of one of the four ops that read the cache.
class Call {
public:
  Call(Op op, const OpDims &d, void *const *args)
      : a(op, d, args), dims(d), q8(op == Op::attention_q8 || op == Op::attention_chunk_q8),
        first_input(q8 ? 5 : 3), output(first_input + 3) {}

  int32_t positions(int32_t r) const { return a.data<int32_t>(first_input)[r] + 1; }
  SequenceCache cache(int32_t r, int32_t g) const {
    const int32_t *blocks = a.row<int32_t>(first_input + 2, a.data<int32_t>(first_input + 1)[r]);
    return {a.data<uint8_t>(1),
            a.data<uint8_t>(q8 ? 3 : 2),
            q8 ? a.data<float>(2) : nullptr,
            q8 ? a.data<float>(4) : nullptr,
            blocks,
            dims.head_dim,
            dims.kv_heads,
            g};
  }

  const TwinArgs a;
  const OpDims &dims;
  const bool q8;
  const int32_t first_input, output;
};

int whole(Op op, const OpDims &d, void *const *args) {
  const Call call(op, d, args);
  const int32_t group = d.heads / d.kv_heads, rows = call.a.rows();
  for (int32_t u = call.a.begin(); u < call.a.end(); ++u) {
    const int32_t r = u % rows, g = u / rows;
    for (int32_t h = g * group; h < (g + 1) * group; ++h) {
      Merge merge(d.head_dim);
      for (int32_t begin = 0; begin < call.positions(r); begin += kAttentionChunk) {
        const Part part = chunk_part(call.cache(r, g), call.a.row<float>(0, r) + h * d.head_dim, begin,
                                     std::min(call.positions(r) - begin, kAttentionChunk));
        merge.add(part.o.data(), part.max, part.sum);
      }
      merge.finish(call.a.row<float>(call.output, r) + h * d.head_dim);
    }
  }
  return 0;
}

float *part_of(const TwinArgs &a, int32_t argument, int32_t row, int32_t chunk, int32_t head) {
  const format::Dim *dim = a.buffer(argument).dim;
  return a.row<float>(argument, row) + int64_t(chunk) * dim[2].stride + int64_t(head) * dim[1].stride;
}

int chunks(Op op, const OpDims &d, void *const *args) {
  const Call call(op, d, args);
  const int32_t group = d.heads / d.kv_heads, rows = call.a.rows();
  for (int32_t u = call.a.begin(); u < call.a.end(); ++u) {
    const int32_t r = u % rows, g = u / rows % d.kv_heads, c = u / rows / d.kv_heads,
                  begin = c * kAttentionChunk;
    if (begin >= call.positions(r))
      continue;
    for (int32_t h = g * group; h < (g + 1) * group; ++h) {
      const Part part = chunk_part(call.cache(r, g), call.a.row<float>(0, r) + h * d.head_dim, begin,
                                   std::min(call.positions(r) - begin, kAttentionChunk));
      float *out = part_of(call.a, call.output, r, c, h);
      std::copy(part.o.begin(), part.o.end(), out);
      out[d.head_dim] = part.max;
      std::fill(out + d.head_dim + 1, out + format::part_width(d.head_dim), part.sum);
    }
  }
  return 0;
}

} // namespace

int attention_twin(const OpDims &d, void *const *args) { return whole(Op::attention, d, args); }
int attention_q8_twin(const OpDims &d, void *const *args) { return whole(Op::attention_q8, d, args); }
int attention_chunk_twin(const OpDims &d, void *const *args) { return chunks(Op::attention_chunk, d, args); }
int attention_chunk_q8_twin(const OpDims &d, void *const *args) {
  return chunks(Op::attention_chunk_q8, d, args);
}

int attention_merge_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::attention_merge, d, args);
  const int32_t group = d.heads / d.kv_heads;
  for (int32_t u = a.begin(); u < a.end(); ++u) {
    const int32_t r = u / d.kv_heads, g = u % d.kv_heads;
    for (int32_t h = g * group; h < (g + 1) * group; ++h) {
      Merge merge(d.head_dim);
      for (int32_t c = 0; c * kAttentionChunk <= a.data<int32_t>(1)[r]; ++c) {
        const float *part = part_of(a, 0, r, c, h);
        merge.add(part, part[d.head_dim], part[d.head_dim + 1]);
      }
      merge.finish(a.row<float>(2, r) + h * d.head_dim);
    }
  }
  return 0;
}

} // namespace bitnet::codegen
