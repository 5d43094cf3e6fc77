// skip_up (runtime/format/kernel_ops.h) for any number of rows: all neurons, by panels unpacked from the same
// bytes that the form for few rows picks its neurons from.
//
// Not in Halide: rows of bytes become columns of a panel by a transposition, which version 21 does byte by
// byte.
#include "codegen/intrinsics/panel.h"
#include "codegen/intrinsics/skip_up.h"

namespace bitnet::intrinsics {
namespace {

using namespace skip_up;

constexpr int kMostLines = kPanelBytes / (64 * kStepBytes); ///< a line has 64 steps

/// Words of four neurons → of each word's place, the four neurons'.
inline void transpose_words(const uint8_t *const (&neuron)[4], int at, uint8_t *out) {
  __m128i v[4];
  for (int i = 0; i < 4; ++i)
    v[i] = _mm_loadu_si128(reinterpret_cast<const __m128i *>(neuron[i] + at));
  const __m128i ab = _mm_unpacklo_epi32(v[0], v[1]), cd = _mm_unpacklo_epi32(v[2], v[3]);
  const __m128i high_ab = _mm_unpackhi_epi32(v[0], v[1]), high_cd = _mm_unpackhi_epi32(v[2], v[3]);
  auto *to = reinterpret_cast<__m128i *>(out); // a line is four of them
  _mm_storeu_si128(to, _mm_unpacklo_epi64(ab, cd));
  _mm_storeu_si128(to + 4, _mm_unpackhi_epi64(ab, cd));
  _mm_storeu_si128(to + 8, _mm_unpacklo_epi64(high_ab, high_cd));
  _mm_storeu_si128(to + 12, _mm_unpackhi_epi64(high_ab, high_cd));
}

/// Lines [line, line + lines) of 16 neurons → their stripe of a group.
void unpack_stripe(const uint8_t *neurons, size_t neuron_bytes, int lines, uint8_t *stripe) {
  for (int line = 0; line < lines; ++line) {
    alignas(64) uint8_t words[16][64]; // [word of the line][neuron]
    for (int quad = 0; quad < 4; ++quad) {
      const uint8_t *const four[4] = {
          neurons + (4 * quad + 0) * neuron_bytes, neurons + (4 * quad + 1) * neuron_bytes,
          neurons + (4 * quad + 2) * neuron_bytes, neurons + (4 * quad + 3) * neuron_bytes};
      for (int part = 0; part < 4; ++part)
        transpose_words(four, line * 64 + part * 16, words[4 * part] + quad * 16);
    }
    for (int word = 0; word < 16; ++word)
      for (int part = 0; part < 64; part += kLaneBytes) {
        const Lanes v = load(words[word] + part);
#pragma GCC unroll 4
        for (int plane = 0; plane < 4; ++plane)
          store(stripe + size_t(line * 64 + plane * 16 + word) * kStepBytes + part, codes(v, plane));
      }
  }
}

} // namespace

extern "C" int bitnet_kernel(void *const *args) {
  const CallArgs a{args, n_buffers};
  const int lines = a.extent(w, 1);
  const size_t neuron_bytes = size_t(lines) * 64;
  alignas(64) uint8_t panel[kPanelBytes];
  for (int32_t neuron = a.begin() * 16, end = a.end() * 16; neuron < end; neuron += 64) {
    const int32_t n = end - neuron < 64 ? end - neuron : 64;
    for (int line = 0; line < lines; line += kMostLines) {
      const int here = lines - line < kMostLines ? lines - line : kMostLines;
      for (int32_t i = 0; i < n; i += 16)
        unpack_stripe(a.data<uint8_t>(w) + size_t(neuron + i) * neuron_bytes + size_t(line) * 64,
                      neuron_bytes, here, panel + i * 4);
      multiply(a, q, line * 256, panel, here * 64, n, line > 0,
               [&](int32_t r) { return a.row<Sum>(h, r) + neuron; });
    }
    for (int32_t r = 0; r < a.rows(); ++r)
      finish(a, r, neuron, neuron + n);
  }
  return 0;
}

} // namespace bitnet::intrinsics
