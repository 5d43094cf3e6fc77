// The products of many rows with a panel of weights that lies unpacked in the second-level cache, one byte a
// code: what the forms of skip_up and skip_down for whole prompts end in. Nothing is skipped here: of many
// rows, some row needs nearly every neuron.
#pragma once
#include "codegen/intrinsics/call_args.h"
#include "codegen/intrinsics/lanes.h"

namespace bitnet::intrinsics {

/// A panel is u8 [group][step][4 stripes][16 outputs][4 inputs]: for each step of 4 inputs the lines of the
/// group's 64 outputs side by side. kPanelBytes stay in a second-level cache of 512 KB or more, and hold 7168
/// inputs of a group: in models of up to that width no sum is put together from parts.
constexpr int kStepBytes = 4 * 64;
constexpr int kPanelBytes = 448 << 10;

// A tile's vectors of sums, by rows: they and what a step needs stay in registers.
#if defined(__AVX512VNNI__)
constexpr int kTileVectors = 4, kTileRows = 4;
#elif defined(__AVX512BW__)
constexpr int kTileVectors = 4, kTileRows = 5;
#elif defined(__AVX2__)
constexpr int kTileVectors = 2, kTileRows = 5;
#else
constexpr int kTileVectors = 2, kTileRows = 2;
#endif

/// One tile: kTileVectors vectors of outputs of kTileRows rows over all steps; adds to `out` or sets it. Rows
/// from n_rows on are repeats of another, vectors from n_vectors on are nobody's. Not inlined, nor cloned for
/// constants: gcc 12 then spills every sum.
__attribute__((noipa)) static void multiply_tile(const uint8_t *panel, int steps,
                                                 const int8_t *const (&x)[kTileRows],
                                                 Sum *const (&out)[kTileRows], int n_rows, int n_vectors,
                                                 bool adds) {
  for (int step = 0; step < steps;) {
    const int until = steps - step < kSumSteps ? steps : step + kSumSteps;
    Lanes sums[kTileRows][kTileVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v)
        sums[r][v] = zero();
#pragma GCC unroll 1
    for (; step < until; ++step) {
      Lanes code[kTileVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v)
        code[v] = load(panel + size_t(step) * kStepBytes + v * kLaneBytes);
#pragma GCC unroll 8
      for (int r = 0; r < kTileRows; ++r) {
        const Lanes in = all(*reinterpret_cast<const Sum *>(x[r] + 4 * step));
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v)
          sums[r][v] = add_dot(sums[r][v], code[v], in);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v)
        if (r < n_rows && v < n_vectors) {
          Sum *at = out[r] + v * kLaneBytes / 4;
          const Lanes sum = widen(sums[r][v]);
          store(at, adds ? add(load(at), sum) : sum);
        }
    adds = true;
  }
}

/// All rows of the call times one group of a panel: x is argument `q` from input k on; row r's sums of the
/// group's first `outputs` outputs go to out(r).
template <class Out>
inline void multiply(const CallArgs &a, int q, int32_t k, const uint8_t *group, int steps, int outputs,
                     bool adds, Out out) {
  for (int32_t first = 0; first < a.rows(); first += kTileRows) {
    const int32_t n_rows = a.rows() - first < kTileRows ? a.rows() - first : kTileRows;
    const int8_t *x[kTileRows];
    Sum *at[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      const int32_t row = first + (r < n_rows ? r : n_rows - 1);
      x[r] = a.row<int8_t>(q, row) + k;
      at[r] = out(row);
    }
    for (int v = 0; v * kLaneBytes < 4 * outputs; v += kTileVectors) {
      multiply_tile(group + v * kLaneBytes, steps, x, at, n_rows, 4 * outputs / kLaneBytes - v, adds);
      for (Sum *&each : at)
        each += kTileVectors * kLaneBytes / 4;
    }
  }
}

} // namespace bitnet::intrinsics
