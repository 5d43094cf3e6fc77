// skip_up (runtime/format/kernel_ops.h) for few rows: the products of those neurons only whose gate is open
// in some row. A list of them is made; their rows of weights (layout U2) are taken eight at a time while the
// next eight are prefetched; then gate and scale over all neurons.
//
// Not in Halide, because version 21 can neither compress a list nor emit prefetcht0 (its prefetch is a loop
// of prefetchnta), and without prefetches the walk over a sparse list is 1.5 times slower.
#include "codegen/intrinsics/skip_up.h"
#include "codegen/intrinsics/active_list.h"
#include "codegen/intrinsics/lanes.h"

namespace bitnet::intrinsics {
namespace {

using namespace skip_up;

constexpr int kRows = BITNET_ROWS;
/// Neurons whose sums are in registers at once: 16 vectors of sums of 32 registers, 8 of 16; never more than
/// a group.
constexpr int kMostSums = kLaneBytes == 64 ? 16 : 8;
constexpr int kTogether = kRows * 8 <= kMostSums ? 8 : kMostSums / kRows;
/// One row's inputs of a line stay in registers for all neurons; more would displace the sums.
constexpr bool kKeepsInputs = kRows == 1 && kLaneBytes == 64;
/// Neurons of one list; bounds the stack.
constexpr int32_t kMostNeurons = 8192;

struct RowPointers {
  const int8_t *x[kRows];
  Sum *sums[kRows];
};

/// The sums of the listed neurons, each in its place.
template <bool kPrefetch>
void add_up(const RowPointers &rows, const uint8_t *weights, int lines, const Segments &active) {
  const size_t neuron_bytes = size_t(lines) * 64;
  for (int g = 0; g < active.groups; ++g)
    for (int first = 0; first < 8; first += kTogether) {
      const uint8_t *at[kTogether], *next[kTogether];
      Lanes sums[kTogether * kRows];
      for (int i = 0; i < kTogether; ++i) {
        at[i] = weights + size_t(active.at(first + i, g)) * neuron_bytes;
        next[i] = weights + size_t(active.at(first + i, g + 1 < active.groups ? g + 1 : g)) * neuron_bytes;
      }
#pragma GCC unroll 16
      for (int i = 0; i < kTogether * kRows; ++i)
        sums[i] = zero();
      for (int line = 0; line < lines; ++line)
#pragma GCC unroll 1
        for (int part = 0; part < 64; part += kLaneBytes)
#pragma GCC unroll 8
          for (int i = 0; i < kTogether; ++i) {
            if (kPrefetch && part == 0)
              prefetch(next[i] + line * 64);
            const Lanes v = load(at[i] + line * 64 + part);
            const Lanes code[4] = {codes(v, 0), codes(v, 1), codes(v, 2), codes(v, 3)};
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
              const int8_t *x = rows.x[r] + line * 256 + part;
              if (!kKeepsInputs)
                asm volatile("" : "+r"(x)); // loads from here are not those of another neuron
              const Lanes planes[4] = {load(x), load(x + 64), load(x + 128), load(x + 192)};
              sums[i * kRows + r] = dots(sums[i * kRows + r], code, planes);
            }
          }
      int32_t out[kTogether * kRows];
#pragma GCC unroll 4
      for (int i = 0; i < kTogether * kRows; i += 4)
        _mm_storeu_si128(reinterpret_cast<__m128i *>(out + i),
                         sums_of(sums[i], sums[i + 1], sums[i + 2], sums[i + 3]));
      for (int i = 0; i < kTogether; ++i)
        for (int r = 0; r < kRows; ++r)
          rows.sums[r][active.at(first + i, g)] = out[i * kRows + r];
    }
}

} // namespace

extern "C" int bitnet_kernel(void *const *args) {
  const CallArgs a{args, n_buffers};
  const int lines = a.extent(w, 1);
  int32_t list[kMostNeurons + kListSlack];
  for (int32_t begin = a.begin() * 16, end = a.end() * 16; begin < end; begin += kMostNeurons) {
    const int32_t to = end - begin < kMostNeurons ? end : begin + kMostNeurons;
    for (int32_t first = 0; first < a.rows(); first += kRows) {
      const int32_t n_rows = a.rows() - first < kRows ? a.rows() - first : kRows;
      RowPointers rows;
      const float *open[kRows];
      for (int r = 0; r < kRows; ++r) { // what is short of a tile repeats its last row
        const int32_t row = first + (r < n_rows ? r : n_rows - 1);
        rows.x[r] = a.row<int8_t>(q, row);
        rows.sums[r] = a.row<Sum>(h, row);
        open[r] = a.row<float>(gate, row);
      }
      int n = 0;
      for (int32_t i = begin; i < to; i += 16) {
        unsigned any = 0;
        for (int r = 0; r < kRows; ++r)
          any |= positive(open[r] + i);
        n = append(list, n, i, any);
      }
      const Segments active(list, n, to - begin);
      if (active.is_dense)
        add_up<false>(rows, a.data<uint8_t>(w), lines, active);
      else
        add_up<true>(rows, a.data<uint8_t>(w), lines, active);
      for (int r = 0; r < n_rows; ++r)
        finish(a, first + r, begin, to);
    }
  }
  return 0;
}

} // namespace bitnet::intrinsics
