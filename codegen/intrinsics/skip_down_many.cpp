// skip_down (runtime/format/kernel_ops.h) for any number of rows: all inputs, by panels unpacked from the
// same bytes that the form for few rows picks its columns from.
//
// Not in Halide, for the transposition (see skip_down.cpp).
#include "codegen/intrinsics/panel.h"
#include "codegen/intrinsics/skip_down.h"

namespace bitnet::intrinsics {
namespace {

using namespace skip_down;

/// Of a panel, which holds the four groups of a line's 256 outputs one after the other: so a line is read
/// once.
constexpr int32_t kMostInputs = kPanelBytes / (4 * kStepBytes) * 4;

/// A line of columns [0, 4 * steps) → a panel. Group t has the outputs of bytes 4t .. 4t+3 of each 16. The
/// columns that follow, which come next, are prefetched.
void unpack_line(const uint8_t *columns, size_t column_bytes, int steps, uint8_t *panel) {
  for (int step = 0; step < steps; ++step) {
    const uint8_t *first = columns + size_t(4 * step) * column_bytes;
    const uint8_t *const four[4] = {first, first + column_bytes, first + 2 * column_bytes,
                                    first + 3 * column_bytes};
    for (int i = 0; i < 4; ++i)
      prefetch(four[i] + size_t(4 * steps) * column_bytes);
    for (int part = 0; part < 64; part += kLaneBytes) {
      Lanes lower[2], upper[2];
      transpose<false>(four, part, lower);
      transpose<true>(four, part, upper);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t)
#pragma GCC unroll 4
        for (int plane = 0; plane < 4; ++plane)
          store(panel + size_t(t * steps + step) * kStepBytes + plane * 64 + part,
                codes(t < 2 ? lower[t % 2] : upper[t % 2], plane));
    }
  }
}

} // namespace

extern "C" int bitnet_kernel(void *const *args) {
  const CallArgs a{args, n_buffers};
  const size_t column_bytes = size_t(a.extent(w, 1)) * 64;
  alignas(64) uint8_t panel[kPanelBytes];
  for (int32_t at = a.begin(); at < a.end(); ++at) {
    const Unit unit(a, at);
    if (unit.k_begin == unit.k_end)
      for (int32_t r = 0; r < a.rows(); ++r)
        unit.clear(a, r);
    for (int32_t line = unit.line_begin; line < unit.line_end; ++line)
      for (int32_t k = unit.k_begin; k < unit.k_end; k += kMostInputs) {
        const int steps = (unit.k_end - k < kMostInputs ? unit.k_end - k : kMostInputs) / 4;
        unpack_line(a.data<uint8_t>(w) + size_t(k) * column_bytes + size_t(line) * 64, column_bytes, steps,
                    panel);
        for (int t = 0; t < 4; ++t)
          multiply(a, q, k, panel + size_t(t * steps) * kStepBytes, steps, 64, k > unit.k_begin,
                   [&](int32_t r) { return unit.out(a, r) + (line - unit.line_begin) * 256 + t * 64; });
      }
  }
  return 0;
}

} // namespace bitnet::intrinsics
