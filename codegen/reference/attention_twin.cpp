// Twin of attention: for work unit u = row * kv_heads + g, the query heads of group g of one row over
// positions 0..position[row] of the row's sequence.
//
// Softmax is online over chunks of kAttentionChunk positions, in order. A chunk is reduced against its own
// maximum
//   m = max s,  p = exp(s - m),  l = sum p,  o = sum p v
// and then merged into the running (M, L, O): with M' = max(M, m) and e = exp(min(M, m) - M'), the side whose
// maximum is not M' is scaled by e, the other by 1. So a chunk depends on nothing before it, and a kernel may
// compute chunks apart and merge them in order. The result depends on T and the T valid positions only:
// nothing else of the cache takes part in any sum.
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

/// The cache as one sequence and one kv head see it.
struct SequenceCache {
  const uint16_t *k, *v;
  const int32_t *blocks; ///< physical block of each kKvBlockTokens positions
  int32_t head_dim, kv_heads, g;

  int32_t slot(int32_t t) const { return blocks[t / kKvBlockTokens] * kKvBlockTokens + t % kKvBlockTokens; }
  float key(int32_t t, int32_t d) const {
    return f16_to_f32(k[format::k_index(head_dim, kv_heads, slot(t), g, d)]);
  }
  float value(int32_t t, int32_t d) const {
    return f16_to_f32(v[format::v_index(head_dim, kv_heads, slot(t), g, d)]);
  }
};

/// One query head. q, o: [head_dim].
void attend(const SequenceCache &cache, const float *q, int32_t n_positions, float *o) {
  const float scale = 1.0f / std::sqrt(float(cache.head_dim));
  float running_max = kLowest, running_sum = 0;
  std::vector<float> acc(size_t(cache.head_dim), 0.0f), part(acc.size());
  float p[kAttentionChunk];
  for (int32_t begin = 0; begin < n_positions; begin += kAttentionChunk) {
    const int32_t n = std::min(n_positions - begin, kAttentionChunk);

    float chunk_max[kKvTile];
    std::fill(chunk_max, chunk_max + kKvTile, kLowest);
    for (int32_t t = 0; t < n; ++t) {
      float dot = 0;
      for (int32_t d = 0; d < cache.head_dim; ++d)
        dot = dot + q[d] * cache.key(begin + t, d);
      p[t] = dot * scale;
      chunk_max[t % kKvTile] = sel_max(p[t], chunk_max[t % kKvTile]);
    }
    const float m = halving_tree(chunk_max, kKvTile, sel_max);

    float sums[kKvTile] = {};
    std::fill(part.begin(), part.end(), 0.0f);
    for (int32_t t = 0; t < n; ++t) {
      p[t] = exp_nonpositive(p[t] - m);
      sums[t % kKvTile] = sums[t % kKvTile] + p[t];
      for (int32_t d = 0; d < cache.head_dim; ++d)
        part[size_t(d)] = part[size_t(d)] + p[t] * cache.value(begin + t, d);
    }
    const float l = halving_tree(sums, kKvTile, [](float a, float b) { return a + b; });

    const float e = exp_nonpositive(sel_min(running_max, m) - sel_max(running_max, m));
    const float scale_old = running_max > m ? 1.0f : e, scale_new = running_max > m ? e : 1.0f;
    running_sum = running_sum * scale_old + l * scale_new;
    for (int32_t d = 0; d < cache.head_dim; ++d)
      acc[size_t(d)] = acc[size_t(d)] * scale_old + part[size_t(d)] * scale_new;
    running_max = sel_max(running_max, m);
  }
  const float inverse = 1.0f / running_sum;
  for (int32_t d = 0; d < cache.head_dim; ++d)
    o[d] = acc[size_t(d)] * inverse;
}

} // namespace

int attention_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::attention, d, args);
  const int32_t group = d.heads / d.kv_heads;
  for (int32_t u = a.begin(); u < a.end(); ++u) {
    const int32_t r = u / d.kv_heads, g = u % d.kv_heads;
    const int32_t *blocks = a.row<int32_t>(5, a.data<int32_t>(4)[r]);
    const SequenceCache cache{a.data<uint16_t>(1), a.data<uint16_t>(2), blocks, d.head_dim, d.kv_heads, g};
    for (int32_t h = g * group; h < (g + 1) * group; ++h)
      attend(cache, a.row<float>(0, r) + h * d.head_dim, a.data<int32_t>(3)[r] + 1,
             a.row<float>(6, r) + h * d.head_dim);
  }
  return 0;
}

} // namespace bitnet::codegen
