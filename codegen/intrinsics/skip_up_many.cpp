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

/// Lines [line, line + lines) of 16 neurons → their stripe of a group. Those 64 neurons on, which come next,
/// are prefetched.
void unpack_stripe(const uint8_t *neurons, size_t neuron_bytes, int lines, uint8_t *stripe) {
  for (int at = 0; at < 64 * lines; at += kLaneBytes) {
    Lanes words[4][4]; // [word of 16 bytes][four neurons]: of each part of a vector, that word of each
#pragma GCC unroll 4
    for (int four = 0; four < 4; ++four) {
      const uint8_t *first = neurons + 4 * four * neuron_bytes + at;
      if (at % 64 == 0)
        for (int i = 0; i < 4; ++i)
          prefetch(first + (64 + i) * neuron_bytes);
      const Lanes a = load(first), b = load(first + neuron_bytes), c = load(first + 2 * neuron_bytes),
                  d = load(first + 3 * neuron_bytes);
      const Lanes ab = low_dwords(a, b), cd = low_dwords(c, d), high_ab = high_dwords(a, b),
                  high_cd = high_dwords(c, d);
      words[0][four] = low_qwords(ab, cd), words[1][four] = high_qwords(ab, cd);
      words[2][four] = low_qwords(high_ab, high_cd), words[3][four] = high_qwords(high_ab, high_cd);
    }
#pragma GCC unroll 4
    for (int word = 0; word < 4; ++word)
#pragma GCC unroll 4
      for (int four = 0; four < 4; four += kParts) {
        Lanes lines_of[kParts]; // [16 bytes of a line]: that word of neurons 4 * four ...
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i)
          lines_of[i] = words[word][four + i];
        transpose_parts(lines_of);
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i)
#pragma GCC unroll 4
          for (int plane = 0; plane < 4; ++plane)
            store(stripe + size_t(at / 64 * 64 + plane * 16 + at % 64 / 4 + 4 * i + word) * kStepBytes +
                      four * 16,
                  codes(lines_of[i], plane));
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
    for (int32_t r = 0; r < a.rows(); ++r) // not to wait for them at the end
      for (int32_t i = 0; i < n; i += 16)
        prefetch(reinterpret_cast<const uint8_t *>(a.row<float>(gate, r) + neuron + i));
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
