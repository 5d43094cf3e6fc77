// The few vector operations that the kernels of this folder are made of, each in the widest form that the CPU
// variant has. Each variant is a compilation of its own; the compiler's feature macros say which. A Lanes is
// a vector of bytes, or of i32 sums; kLaneBytes of a 64-byte line of weights lie in one.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace bitnet::intrinsics {

/// Into the second-level cache: what is asked for is more than the first holds beside everything else, and
/// prefetches to it wait for its few miss buffers.
inline void prefetch(const uint8_t *p) { _mm_prefetch(reinterpret_cast<const char *>(p), _MM_HINT_T1); }

#if defined(__AVX512BW__)
using Lanes = __m512i;
inline Lanes zero() { return _mm512_setzero_si512(); }
inline Lanes load(const void *p) { return _mm512_loadu_si512(p); }
inline void store(void *p, Lanes v) { _mm512_storeu_si512(p, v); }
inline Lanes all(int32_t x) { return _mm512_set1_epi32(x); }
inline Lanes add(Lanes a, Lanes b) { return _mm512_add_epi32(a, b); }
/// The 2-bit codes of a plane, one a byte.
inline Lanes codes(Lanes v, int plane) {
  return _mm512_and_si512(plane ? _mm512_srli_epi16(v, unsigned(2 * plane)) : v, _mm512_set1_epi8(3));
}
inline Lanes low_bytes(Lanes a, Lanes b) { return _mm512_unpacklo_epi8(a, b); }
inline Lanes high_bytes(Lanes a, Lanes b) { return _mm512_unpackhi_epi8(a, b); }
inline Lanes low_words(Lanes a, Lanes b) { return _mm512_unpacklo_epi16(a, b); }
inline Lanes high_words(Lanes a, Lanes b) { return _mm512_unpackhi_epi16(a, b); }
inline Lanes low_dwords(Lanes a, Lanes b) { return _mm512_unpacklo_epi32(a, b); }
inline Lanes high_dwords(Lanes a, Lanes b) { return _mm512_unpackhi_epi32(a, b); }
inline Lanes low_qwords(Lanes a, Lanes b) { return _mm512_unpacklo_epi64(a, b); }
inline Lanes high_qwords(Lanes a, Lanes b) { return _mm512_unpackhi_epi64(a, b); }
/// Four i32 with the vector's sum.
inline __m128i fold(Lanes v) {
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
#elif defined(__AVX2__)
using Lanes = __m256i;
inline Lanes zero() { return _mm256_setzero_si256(); }
inline Lanes load(const void *p) { return _mm256_loadu_si256(static_cast<const __m256i *>(p)); }
inline void store(void *p, Lanes v) { _mm256_storeu_si256(static_cast<__m256i *>(p), v); }
inline Lanes all(int32_t x) { return _mm256_set1_epi32(x); }
inline Lanes add(Lanes a, Lanes b) { return _mm256_add_epi32(a, b); }
inline Lanes codes(Lanes v, int plane) {
  return _mm256_and_si256(plane ? _mm256_srli_epi16(v, 2 * plane) : v, _mm256_set1_epi8(3));
}
inline Lanes low_bytes(Lanes a, Lanes b) { return _mm256_unpacklo_epi8(a, b); }
inline Lanes high_bytes(Lanes a, Lanes b) { return _mm256_unpackhi_epi8(a, b); }
inline Lanes low_words(Lanes a, Lanes b) { return _mm256_unpacklo_epi16(a, b); }
inline Lanes high_words(Lanes a, Lanes b) { return _mm256_unpackhi_epi16(a, b); }
inline Lanes low_dwords(Lanes a, Lanes b) { return _mm256_unpacklo_epi32(a, b); }
inline Lanes high_dwords(Lanes a, Lanes b) { return _mm256_unpackhi_epi32(a, b); }
inline Lanes low_qwords(Lanes a, Lanes b) { return _mm256_unpacklo_epi64(a, b); }
inline Lanes high_qwords(Lanes a, Lanes b) { return _mm256_unpackhi_epi64(a, b); }
inline __m128i fold(Lanes v) {
  return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}
#else
using Lanes = __m128i;
inline Lanes zero() { return _mm_setzero_si128(); }
inline Lanes load(const void *p) { return _mm_loadu_si128(static_cast<const __m128i *>(p)); }
inline void store(void *p, Lanes v) { _mm_storeu_si128(static_cast<__m128i *>(p), v); }
inline Lanes all(int32_t x) { return _mm_set1_epi32(x); }
inline Lanes add(Lanes a, Lanes b) { return _mm_add_epi32(a, b); }
inline Lanes codes(Lanes v, int plane) {
  return _mm_and_si128(plane ? _mm_srli_epi16(v, 2 * plane) : v, _mm_set1_epi8(3));
}
inline Lanes low_bytes(Lanes a, Lanes b) { return _mm_unpacklo_epi8(a, b); }
inline Lanes high_bytes(Lanes a, Lanes b) { return _mm_unpackhi_epi8(a, b); }
inline Lanes low_words(Lanes a, Lanes b) { return _mm_unpacklo_epi16(a, b); }
inline Lanes high_words(Lanes a, Lanes b) { return _mm_unpackhi_epi16(a, b); }
inline Lanes low_dwords(Lanes a, Lanes b) { return _mm_unpacklo_epi32(a, b); }
inline Lanes high_dwords(Lanes a, Lanes b) { return _mm_unpackhi_epi32(a, b); }
inline Lanes low_qwords(Lanes a, Lanes b) { return _mm_unpacklo_epi64(a, b); }
inline Lanes high_qwords(Lanes a, Lanes b) { return _mm_unpackhi_epi64(a, b); }
inline __m128i fold(Lanes v) { return v; }
#endif

constexpr int kLaneBytes = int(sizeof(Lanes));

/// 16 bytes of a vector; part j of v[i] becomes part i of v[j].
constexpr int kParts = kLaneBytes / 16;
inline void transpose_parts(Lanes (&v)[kParts]) {
#if defined(__AVX512BW__)
  const Lanes a = _mm512_shuffle_i32x4(v[0], v[1], 0x44), b = _mm512_shuffle_i32x4(v[0], v[1], 0xee),
              c = _mm512_shuffle_i32x4(v[2], v[3], 0x44), d = _mm512_shuffle_i32x4(v[2], v[3], 0xee);
  v[0] = _mm512_shuffle_i32x4(a, c, 0x88), v[1] = _mm512_shuffle_i32x4(a, c, 0xdd);
  v[2] = _mm512_shuffle_i32x4(b, d, 0x88), v[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
#elif defined(__AVX2__)
  const Lanes a = v[0], b = v[1];
  v[0] = _mm256_permute2x128_si256(a, b, 0x20), v[1] = _mm256_permute2x128_si256(a, b, 0x31);
#endif
}

#if defined(__AVX512VNNI__)
/// sums + code * x, four neighbouring bytes into each i32. For the intrinsic gcc 12 keeps every sum twice,
/// and so spills them.
inline Lanes dpbusd(Lanes sums, Lanes code, Lanes x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(code), "v"(x));
  return sums;
}
#endif

/// sums + Σ_i code[i] * x[i], four neighbouring bytes into each i32. Codes are 0..3, x is -127..127, N <= 10:
/// a pair of products is at most 762 in size, so ten of them fit i16.
template <int N> inline Lanes dots(Lanes sums, const Lanes (&code)[N], const Lanes (&x)[N]) {
  static_assert(N <= 10);
#if defined(__AVX512VNNI__)
  for (int i = 0; i < N; ++i)
    sums = dpbusd(sums, code[i], x[i]);
  return sums;
#elif defined(__AVX512BW__)
  Lanes pairs = _mm512_maddubs_epi16(code[0], x[0]);
  for (int i = 1; i < N; ++i)
    pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(code[i], x[i]));
  return add(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#elif defined(__AVX2__)
  Lanes pairs = _mm256_maddubs_epi16(code[0], x[0]);
  for (int i = 1; i < N; ++i)
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(code[i], x[i]));
  return add(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#else
  for (int i = 0; i < N; ++i) { // the bytes at even and at odd places as i16
    const Lanes even = _mm_srai_epi16(_mm_slli_epi16(x[i], 8), 8), odd = _mm_srai_epi16(x[i], 8);
    sums = add(sums, _mm_madd_epi16(_mm_and_si128(code[i], _mm_set1_epi16(0xff)), even));
    sums = add(sums, _mm_madd_epi16(_mm_srli_epi16(code[i], 8), odd));
  }
  return sums;
#endif
}

/// Adds code * x of four neighbouring bytes to sums that `widen` understands, at most kSumSteps times.
#if defined(__AVX512VNNI__)
constexpr int kSumSteps = 1 << 20;
inline Lanes add_dot(Lanes sums, Lanes code, Lanes x) { return dpbusd(sums, code, x); }
inline Lanes widen(Lanes sums) { return sums; }
#elif defined(__AVX512BW__)
constexpr int kSumSteps = 43; ///< of pairs of products up to 2 * 3 * 127, in i16
inline Lanes add_dot(Lanes sums, Lanes code, Lanes x) {
  return _mm512_add_epi16(sums, _mm512_maddubs_epi16(code, x));
}
inline Lanes widen(Lanes sums) { return _mm512_madd_epi16(sums, _mm512_set1_epi16(1)); }
#elif defined(__AVX2__)
constexpr int kSumSteps = 43;
inline Lanes add_dot(Lanes sums, Lanes code, Lanes x) {
  return _mm256_add_epi16(sums, _mm256_maddubs_epi16(code, x));
}
inline Lanes widen(Lanes sums) { return _mm256_madd_epi16(sums, _mm256_set1_epi16(1)); }
#else
constexpr int kSumSteps = 1 << 20;
inline Lanes add_dot(Lanes sums, Lanes code, Lanes x) {
  const Lanes one_code[1] = {code}, one_x[1] = {x};
  return dots(sums, one_code, one_x);
}
inline Lanes widen(Lanes sums) { return sums; }
#endif

#if defined(__AVX512VNNI__)
/// The codes of a plane where they lie in their bytes, at most 192: sums of such products are 4^plane times
/// those of the codes.
inline Lanes plane_of(Lanes v, int plane) {
  return _mm512_and_si512(v, _mm512_set1_epi8(char(3 << 2 * plane)));
}
/// The i32 sums of the codes of a plane.
inline Lanes whole(Lanes sums, int plane) { return _mm512_srai_epi32(sums, unsigned(2 * plane)); }
#else
inline Lanes plane_of(Lanes v, int plane) { return codes(v, plane); }
inline Lanes whole(Lanes sums, int) { return widen(sums); }
#endif

/// The sums of four vectors' i32 elements.
inline __m128i sums_of(Lanes a, Lanes b, Lanes c, Lanes d) {
  const __m128i e = fold(a), f = fold(b), g = fold(c), h = fold(d);
  const __m128i ef = _mm_add_epi32(_mm_unpacklo_epi32(e, f), _mm_unpackhi_epi32(e, f));
  const __m128i gh = _mm_add_epi32(_mm_unpacklo_epi32(g, h), _mm_unpackhi_epi32(g, h));
  return _mm_add_epi32(_mm_unpacklo_epi64(ef, gh), _mm_unpackhi_epi64(ef, gh));
}

/// Lines of four columns → vectors whose every i32 holds four columns' bytes: of each 16 bytes out[i] takes
/// bytes 4i..4i+3 of the half, the lower or the upper 8.
template <bool kUpper> inline void transpose(const uint8_t *const (&column)[4], int at, Lanes (&out)[2]) {
  const Lanes a = load(column[0] + at), b = load(column[1] + at), c = load(column[2] + at),
              d = load(column[3] + at);
  const Lanes ab = kUpper ? high_bytes(a, b) : low_bytes(a, b),
              cd = kUpper ? high_bytes(c, d) : low_bytes(c, d);
  out[0] = low_words(ab, cd), out[1] = high_words(ab, cd);
}

} // namespace bitnet::intrinsics
