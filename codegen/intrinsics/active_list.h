// Lists of what is active: which neurons have an open gate, which inputs are not 0; and the order in which
// the kernels walk such a list.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace bitnet::intrinsics {

/// Bit i: x[i] > 0, of 16 elements. A NaN is not.
inline unsigned positive(const float *x) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_setzero_ps(), _CMP_GT_OQ);
#else
  unsigned mask = 0;
  for (int i = 0; i < 4; ++i)
    mask |= unsigned(_mm_movemask_ps(_mm_cmpgt_ps(_mm_loadu_ps(x + 4 * i), _mm_setzero_ps()))) << (4 * i);
  return mask;
#endif
}
/// Bit i: x[i] != 0, of 16 elements.
inline unsigned nonzero(const int8_t *x) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i *>(x));
  return unsigned(_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128()))) ^ 0xffffu;
}

/// What `append` may write beyond the entries that it counts.
constexpr int kListSlack = 16;
/// Appends base + i for every bit i of the mask, in order; returns the new number of entries.
inline int append(int32_t *list, int n, int32_t base, unsigned mask) {
#if defined(__AVX512F__)
  // Compressed in a register and stored whole: a compressing store is microcoded on Zen 4.
  const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  _mm512_storeu_si512(list + n, _mm512_maskz_compress_epi32(
                                    __mmask16(mask), _mm512_add_epi32(places, _mm512_set1_epi32(base))));
  return n + __builtin_popcount(mask);
#else
  for (; mask; mask &= mask - 1)
    list[n++] = base + __builtin_ctz(mask);
  return n;
#endif
}

/// A list as the kernels walk it: cut into eight segments of one length, one entry of each at a time (a
/// group), so that eight streams run forward through the weights. Where the last segment is short its last
/// entry repeats.
struct Segments {
  const int32_t *list = nullptr;
  int n = 0, groups = 0;
  /// Nearly everything is active: the streams run on without gaps, the machine's own prefetchers follow them,
  /// and prefetches on top cost 7 % (Zen 4, all active). At half active they gain 25 %.
  bool is_dense = false;

  Segments() = default;
  /// `of`: how many there are, active or not. The list has room for kListSlack more.
  Segments(int32_t *list, int n, int of)
      : list(list), n(n), groups((n + 7) / 8), is_dense(n >= of - of / 16) {
    for (int i = n; i < 8 * groups; ++i)
      list[i] = list[n - 1];
  }
  int32_t at(int segment, int group) const { return list[segment * groups + group]; }
  bool is_repeat(int segment, int group) const { return segment * groups + group >= n; }
};

inline void prefetch(const uint8_t *p) { _mm_prefetch(reinterpret_cast<const char *>(p), _MM_HINT_T0); }

} // namespace bitnet::intrinsics
