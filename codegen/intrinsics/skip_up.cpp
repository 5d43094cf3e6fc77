// skip_up (runtime/format/kernel_ops.h) for few rows: the products of those neurons only whose gate is open
// in some row. A list of them is made; their rows of weights (layout U2) are taken a group at a time while
// the next group is prefetched, or all rows in order where the list is nearly full; then gate and scale over
// all neurons.
//
// Not in Halide, because version 21 cannot compress a list.
#include "codegen/intrinsics/skip_up.h"
#include "codegen/intrinsics/active_list.h"
#include "codegen/intrinsics/lanes.h"

namespace bitnet::intrinsics {
namespace {

using namespace skip_up;

constexpr int kRows = BITNET_ROWS;
/// Neurons of a group: their sums, a vector for each row of inputs, stay in the first-level cache.
constexpr int kTogether = kRows <= 2 ? 64 : 128 / kRows;
/// Neurons of one list; bounds the stack.
constexpr int32_t kMostNeurons = 8192;

struct RowPointers {
  const int8_t *x[kRows];
  Sum *sums[kRows];
};

/// The sums of the listed neurons, each in its place.
void add_up(const RowPointers &rows, const uint8_t *weights, int lines, const Segments &active) {
  const auto weights_of = [&](int i, int group) {
    return weights + size_t(active.at(i, group)) * size_t(lines) * 64;
  };
  const uint8_t *pointers[2][kTogether];
  for (int i = 0; i < active.width; ++i)
    pointers[0][i] = weights_of(i, 0);
  for (int g = 0; g < active.groups; ++g) {
    const uint8_t **at = pointers[g % 2], **next = pointers[(g + 1) % 2];
    for (int i = 0; i < active.width; ++i)
      next[i] = weights_of(i, g + 1 < active.groups ? g + 1 : g);
    Lanes sums[kTogether * kRows];
    for (int i = 0; i < kTogether * kRows; ++i)
      sums[i] = zero();
    for (int line = 0; line < lines; ++line)
#pragma GCC unroll 1
      for (int part = 0; part < 64; part += kLaneBytes) {
        const int32_t place = line * 64 + part;
        Lanes x[kRows][4]; // kept in registers as far as they reach
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
          for (int plane = 0; plane < 4; ++plane)
            x[r][plane] = load(rows.x[r] + line * 256 + plane * 64 + part);
#pragma GCC unroll 1
        for (int i = 0; i < active.width; ++i) {
          if (part == 0)
            prefetch(next[i] + place);
          const Lanes v = load(at[i] + place);
          const Lanes code[4] = {codes(v, 0), codes(v, 1), codes(v, 2), codes(v, 3)};
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r)
            sums[i * kRows + r] = dots(sums[i * kRows + r], code, x[r]);
        }
      }
    int32_t out[kTogether * kRows];
    for (int i = 0; i < active.width * kRows; i += 4)
      _mm_storeu_si128(reinterpret_cast<__m128i *>(out + i),
                       sums_of(sums[i], sums[i + 1], sums[i + 2], sums[i + 3]));
    for (int i = 0; i < active.width; ++i)
      for (int r = 0; r < kRows; ++r)
        rows.sums[r][active.at(i, g)] = out[i * kRows + r];
  }
}

/// One row's sums of all neurons in [begin, end), in four streams as those of a dense kernel: nothing is
/// prefetched, and sums stay in registers.
void add_up_all(const RowPointers &rows, const uint8_t *weights, int lines, int32_t begin, int32_t end) {
  constexpr int kStreams = 4;
  const int32_t each = (end - begin) / kStreams; // a work unit has 16
  const size_t stream_bytes = size_t(each) * size_t(lines) * 64;
  const uint8_t *at = weights + size_t(begin) * size_t(lines) * 64;
  for (int32_t neuron = begin; neuron < begin + each; ++neuron) {
    Lanes sums[kStreams] = {zero(), zero(), zero(), zero()};
    for (int line = 0; line < lines; ++line, at += 64)
#pragma GCC unroll 1
      for (int part = 0; part < 64; part += kLaneBytes) {
        Lanes x[4];
#pragma GCC unroll 4
        for (int plane = 0; plane < 4; ++plane)
          x[plane] = load(rows.x[0] + line * 256 + plane * 64 + part);
#pragma GCC unroll 4
        for (int i = 0; i < kStreams; ++i) {
          const Lanes v = load(at + i * stream_bytes + part);
          const Lanes code[4] = {codes(v, 0), codes(v, 1), codes(v, 2), codes(v, 3)};
          sums[i] = dots(sums[i], code, x);
        }
      }
    int32_t out[kStreams];
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out), sums_of(sums[0], sums[1], sums[2], sums[3]));
    for (int i = 0; i < kStreams; ++i)
      rows.sums[0][neuron + i * each] = out[i];
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
      if (kRows == 1 && is_nearly_all(n, to - begin))
        add_up_all(rows, a.data<uint8_t>(w), lines, begin, to);
      else
        add_up(rows, a.data<uint8_t>(w), lines, Segments(list, n, kTogether));
      for (int r = 0; r < n_rows; ++r)
        finish(a, first + r, begin, to);
    }
  }
  return 0;
}

} // namespace bitnet::intrinsics
