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

/// A list as the kernels walk it: cut into `width` segments, one entry of each at a time (a group), so that
/// as many streams run forward through the weights. Of a group the kernels read the first line of each entry,
/// then the second of each, and so on, while they prefetch the next group in the same order. The order
/// matters: lines that lie side by side are then asked for far apart in time, and the second-level cache's
/// own prefetcher has fetched most before they are. With 64 streams rows of 640 bytes, a quarter of them in
/// use, come at 19 GB/s on one core of a Zen 4, with 8 at 10 GB/s.
struct Segments {
  const int32_t *list = nullptr;
  int n = 0, groups = 0, width = 0;

  Segments() = default;
  /// `most`: entries of a group at most.
  Segments(const int32_t *list, int n, int most) : list(list), n(n), groups((n + most - 1) / most) {
    width = groups ? (n + groups - 1) / groups : 0;
  }
  /// Where the last segment is short its last entry repeats.
  int32_t at(int segment, int group) const {
    return list[is_repeat(segment, group) ? n - 1 : segment * groups + group];
  }
  bool is_repeat(int segment, int group) const { return segment >= width || segment * groups + group >= n; }
  bool empty() const { return n == 0; }
};

/// Whether a list of n out of `of` is, for one row, walked as if all were in it, in streams that go on
/// without a jump. The holes then cost less than what makes a list fast: a prefetch takes 4 to 6 cycles of a
/// Zen 4, even where the hardware has fetched the line already. Several rows have dot products enough to hide
/// that.
constexpr bool is_nearly_all(int n, int32_t of) { return 4 * n > 3 * of; }

} // namespace bitnet::intrinsics
