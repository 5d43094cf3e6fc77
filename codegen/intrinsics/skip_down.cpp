// skip_down (runtime/format/kernel_ops.h) for few rows: the sums over those columns of the weights only whose
// input is not 0 in some row. Columns (layout D2) are taken eight at a time while the next eight are
// prefetched. Four columns' bytes are transposed, so that every i32 holds the codes of one output, and the
// outputs' sums stay in the first-level cache.
//
// Not in Halide, because version 21 can neither compress a list, nor emit prefetcht0, nor transpose bytes by
// unpacks (it moves them one by one).
#include "codegen/intrinsics/skip_down.h"
#include "codegen/intrinsics/active_list.h"
#include "codegen/intrinsics/lanes.h"

namespace bitnet::intrinsics {
namespace {

using namespace skip_down;

constexpr int kRows = BITNET_ROWS;
/// Columns of one list; bounds the stack.
constexpr int32_t kMostColumns = 2048;

struct RowPointers {
  const int8_t *x[kRows];
  bool is_repeat[kRows];
  Sum *sums[kRows];
};

/// Adds the listed columns' products. `then` is the list that follows: its first group is prefetched at the
/// end.
void add_up(const RowPointers &rows, const uint8_t *weights, size_t column_bytes, int lines,
            const Segments &active, const Segments &then) {
  for (int g = 0; g < active.groups; ++g) {
    const uint8_t *at[2][4], *next[8];
    for (int i = 0; i < 8; ++i) {
      at[i / 4][i % 4] = weights + size_t(active.at(i, g)) * column_bytes;
      const int32_t following = g + 1 < active.groups ? active.at(i, g + 1)
                                : then.groups         ? then.at(i, 0)
                                                      : active.at(i, g);
      next[i] = weights + size_t(following) * column_bytes;
    }
    int32_t inputs[kRows][2];
    for (int r = 0; r < kRows; ++r)
      for (int quad = 0; quad < 2; ++quad) {
        uint32_t four = 0;
        for (int i = 0; i < 4; ++i) {
          const int segment = 4 * quad + i;
          const uint32_t one = uint8_t(rows.x[r][active.at(segment, g)]);
          four |= (active.is_repeat(segment, g) || rows.is_repeat[r] ? 0 : one) << (8 * i);
        }
        inputs[r][quad] = int32_t(four);
      }
    const bool fetches = !active.is_dense || g + 1 == active.groups;
    for (int line = 0; line < lines; ++line) {
      if (fetches)
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i)
          prefetch(next[i] + line * 64);
#pragma GCC unroll 1
      for (int part = 0; part < 64; part += kLaneBytes) {
        Lanes fours[2][4];
        transpose(at[0], line * 64 + part, fours[0]);
        transpose(at[1], line * 64 + part, fours[1]);
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t)
#pragma GCC unroll 4
          for (int plane = 0; plane < 4; ++plane) {
            const Lanes code[2] = {codes(fours[0][t], plane), codes(fours[1][t], plane)};
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
              Sum *out = rows.sums[r] + line * 256 + (t * 4 + plane) * 16 + part / 4;
              const Lanes in[2] = {all(inputs[r][0]), all(inputs[r][1])};
              store(out, dots(load(out), code, in));
            }
          }
      }
    }
  }
}

/// The used columns in [begin, end).
Segments list_used(const RowPointers &rows, int32_t begin, int32_t end, int32_t *list) {
  int n = 0;
  for (int32_t i = begin; i < end; i += 16) {
    unsigned any = 0;
    for (int r = 0; r < kRows; ++r)
      any |= nonzero(rows.x[r] + i);
    n = append(list, n, i, any);
  }
  return Segments(list, n, end - begin);
}

} // namespace

extern "C" int bitnet_kernel(void *const *args) {
  const CallArgs a{args, n_buffers};
  const size_t column_bytes = size_t(a.extent(w, 1)) * 64;
  int32_t lists[2][kMostColumns + kListSlack];
  for (int32_t first = 0; first < a.rows(); first += kRows) {
    const int32_t n_rows = a.rows() - first < kRows ? a.rows() - first : kRows;
    RowPointers rows;
    for (int r = 0; r < kRows; ++r) { // what is short of a tile repeats its last row, with inputs 0
      rows.x[r] = a.row<int8_t>(q, first + (r < n_rows ? r : n_rows - 1));
      rows.is_repeat[r] = r >= n_rows;
    }
    // A list is made before the one before it is walked, which ends with prefetches of its first columns.
    int32_t unit = a.begin(), begin = unit < a.end() ? Unit(a, unit).k_begin : 0, which = 0;
    Segments then;
    const auto take_next = [&] { // makes the list of the next columns at [unit, begin), and steps on
      then = Segments();
      if (unit == a.end())
        return;
      const Unit u(a, unit);
      const int32_t to = u.k_end - begin < kMostColumns ? u.k_end : begin + kMostColumns;
      then = list_used(rows, begin, to, lists[which ^= 1]);
      begin = to;
      if (begin == u.k_end && ++unit < a.end())
        begin = Unit(a, unit).k_begin;
    };
    take_next();
    for (int32_t at = a.begin(); at < a.end(); ++at) {
      const Unit u(a, at);
      for (int r = 0; r < kRows; ++r)
        rows.sums[r] = u.out(a, first + (r < n_rows ? r : n_rows - 1));
      for (int r = 0; r < n_rows; ++r)
        u.clear(a, first + r);
      const uint8_t *weights = a.data<uint8_t>(w) + size_t(u.line_begin) * 64;
      bool is_last;
      do {
        const Segments now = then;
        is_last = unit != at || begin == u.k_end;
        take_next();
        add_up(rows, weights, column_bytes, u.line_end - u.line_begin, now, then);
      } while (!is_last);
    }
  }
  return 0;
}

} // namespace bitnet::intrinsics
