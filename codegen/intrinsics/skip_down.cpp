// skip_down (runtime/format/kernel_ops.h) for few rows: the sums over those columns of the weights only whose
// input is not 0 in some row. Columns (layout D2) are taken a group at a time while the next group is
// prefetched, or all of them in order where nearly all are in use. Four columns' bytes are transposed, so
// that every i32 holds the codes of one output, and half a line's sums stay in registers for all of the
// group.
//
// Not in Halide, because version 21 can neither compress a list nor transpose bytes by unpacks (it moves them
// one by one).
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

/// Columns of a group, and how many fours of them that is.
constexpr int kTogether = 64, kQuads = kTogether / 4;
static_assert(kQuads <= kSumSteps);
/// Rows whose sums of half a line are in registers at once, eight vectors each.
constexpr int kRowsTogether = kRows == 1 || kLaneBytes < 64 ? 1 : 2;

/// Adds to the sums of half a line the products of a group's columns; `at` is where in them the line lies, or
/// the part of it that a vector holds.
template <bool kUpper>
void add_half(const uint8_t *const (&columns)[kQuads][4], const int32_t (&inputs)[kQuads][kRows], int quads,
              int at, Sum *const (&out)[kRows]) {
#pragma GCC unroll 1
  for (int first = 0; first < kRows; first += kRowsTogether) {
    Lanes sums[2][4][kRowsTogether];
#pragma GCC unroll 2
    for (auto &of_vector : sums)
#pragma GCC unroll 4
      for (auto &of_plane : of_vector)
#pragma GCC unroll 2
        for (Lanes &each : of_plane)
          each = zero();
#pragma GCC unroll(kRows == 1 ? 2 : 1) // add_up_all has only two
    for (int quad = 0; quad < quads; ++quad) {
      Lanes fours[2];
      transpose<kUpper>(columns[quad], at, fours);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i)
#pragma GCC unroll 4
        for (int plane = 0; plane < 4; ++plane)
#pragma GCC unroll 2
          for (int r = 0; r < kRowsTogether; ++r)
            sums[i][plane][r] =
                add_dot(sums[i][plane][r], plane_of(fours[i], plane), all(inputs[quad][first + r]));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
#pragma GCC unroll 4
      for (int plane = 0; plane < 4; ++plane)
#pragma GCC unroll 2
        for (int r = 0; r < kRowsTogether; ++r) {
          Sum *to = out[first + r] + ((2 * kUpper + i) * 4 + plane) * 16;
          store(to, add(load(to), whole(sums[i][plane][r], plane)));
        }
  }
}

/// Adds the listed columns' products. `then` is the list that follows: its first group is prefetched at the
/// end.
void add_up(const RowPointers &rows, const uint8_t *weights, size_t column_bytes, int lines,
            const Segments &active, const Segments &then) {
  for (int g = 0; g < active.groups; ++g) {
    const bool is_last = g + 1 == active.groups;
    const Segments &following = is_last && !then.empty() ? then : active;
    const int next_group = !is_last ? g + 1 : then.empty() ? g : 0;
    const uint8_t *at[kQuads][4], *next[kTogether];
    int32_t inputs[kQuads][kRows];
    const int quads = (active.width + 3) / 4;
    for (int i = 0; i < 4 * quads; ++i)
      at[i / 4][i % 4] = weights + size_t(active.at(i, g)) * column_bytes;
    for (int i = 0; i < following.width; ++i)
      next[i] = weights + size_t(following.at(i, next_group)) * column_bytes;
    for (int quad = 0; quad < quads; ++quad)
      for (int r = 0; r < kRows; ++r) {
        uint32_t four = 0;
        for (int i = 4 * quad; i < 4 * quad + 4; ++i) {
          const uint32_t one = uint8_t(rows.x[r][active.at(i, g)]);
          four |= (active.is_repeat(i, g) || rows.is_repeat[r] ? 0 : one) << (8 * (i % 4));
        }
        inputs[quad][r] = int32_t(four);
      }
    for (int line = 0; line < lines; ++line) {
      for (int i = 0; i < following.width; ++i)
        prefetch(next[i] + line * 64);
      for (int part = 0; part < 64; part += kLaneBytes) {
        Sum *out[kRows];
        for (int r = 0; r < kRows; ++r)
          out[r] = rows.sums[r] + line * 256 + part / 4;
        add_half<false>(at, inputs, quads, line * 64 + part, out);
        add_half<true>(at, inputs, quads, line * 64 + part, out);
      }
    }
  }
}

/// Adds one row's products of all columns in [begin, end), in eight streams: four would store every sum twice
/// as often. So many are more than the hardware follows well, so they are prefetched, kAhead columns ahead.
void add_up_all(const RowPointers &rows, const uint8_t *weights, size_t column_bytes, int lines,
                int32_t begin, int32_t end) {
  constexpr int kStreams = 8, kAhead = 2;
  const int32_t each = (end - begin) / kStreams; // a range has a multiple of 16
  const uint8_t *at[kQuads][4];
  for (int i = 0; i < kStreams; ++i)
    at[i / 4][i % 4] = weights + size_t(begin + i * each) * column_bytes;
  for (int32_t k = begin; k < begin + each; ++k) {
    int32_t inputs[kQuads][kRows];
    for (int quad = 0; quad < kStreams / 4; ++quad) {
      uint32_t four = 0;
      for (int i = 0; i < 4; ++i)
        four |= uint32_t(uint8_t(rows.x[0][k + (4 * quad + i) * each])) << (8 * i);
      inputs[quad][0] = int32_t(four);
    }
    // After a stream's last columns come the first ones of the next range's.
    const int32_t ahead = k + kAhead < begin + each ? kAhead : kAhead + (kStreams - 1) * each;
    for (int line = 0; line < lines; ++line) {
      for (int i = 0; i < kStreams; ++i)
        prefetch(at[i / 4][i % 4] + line * 64 + size_t(ahead) * column_bytes);
      for (int part = 0; part < 64; part += kLaneBytes) {
        Sum *const out[kRows] = {rows.sums[0] + line * 256 + part / 4};
        add_half<false>(at, inputs, kStreams / 4, line * 64 + part, out);
        add_half<true>(at, inputs, kStreams / 4, line * 64 + part, out);
      }
    }
    for (int i = 0; i < kStreams; ++i)
      at[i / 4][i % 4] += column_bytes;
  }
}

/// The columns in use of [begin, end).
struct Used {
  int32_t begin = 0, end = 0;
  bool nearly_all = false; ///< then there are no segments
  Segments segments;
};
Used list_used(const RowPointers &rows, int32_t begin, int32_t end, int32_t *list) {
  int n = 0;
  for (int32_t i = begin; i < end; i += 16) {
    unsigned any = 0;
    for (int r = 0; r < kRows; ++r)
      any |= nonzero(rows.x[r] + i);
    n = append(list, n, i, any);
  }
  const bool nearly_all = kRows == 1 && is_nearly_all(n, end - begin);
  return {begin, end, nearly_all, nearly_all ? Segments() : Segments(list, n, kTogether)};
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
    // A list is made before the one before it is walked, which ends with prefollowing.width of its first
    // columns.
    int32_t unit = a.begin(), begin = unit < a.end() ? Unit(a, unit).k_begin : 0, which = 0;
    Used then;
    const auto take_next = [&] { // makes the list of the next columns at [unit, begin), and steps on
      then = Used();
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
      const int lines = u.line_end - u.line_begin;
      bool is_last;
      do {
        const Used now = then;
        is_last = unit != at || begin == u.k_end;
        take_next();
        if (kRows == 1 && now.nearly_all)
          add_up_all(rows, weights, column_bytes, lines, now.begin, now.end);
        else
          add_up(rows, weights, column_bytes, lines, now.segments, then.segments);
      } while (!is_last);
    }
  }
  return 0;
}

} // namespace bitnet::intrinsics
