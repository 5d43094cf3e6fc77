// What the forms of skip_down share: its arguments, and what a work unit is (runtime/format/kernel_ops.h).
#pragma once
#include "codegen/intrinsics/call_args.h"
#include "runtime/format/layouts.h"

namespace bitnet::intrinsics::skip_down {

enum { q, w, sums, n_buffers };

/// Inputs [k_begin, k_end) of lines [line_begin, line_end) of outputs, and where their sums go.
struct Unit {
  int32_t k_begin, k_end, line_begin, line_end;

  Unit(const CallArgs &a, int32_t unit) : unit(unit), few(a.rows() <= format::kRowPad) {
    const int32_t k = a.extent(q, 0), lines = a.extent(w, 1);
    k_begin = few ? format::skip_range_begin(k, unit) : 0;
    k_end = few ? format::skip_range_begin(k, unit + 1) : k;
    line_begin = few ? 0 : lines * unit / format::kSkipRanges;
    line_end = few ? lines : lines * (unit + 1) / format::kSkipRanges;
  }
  /// Row r's sum of the first output of line_begin.
  Sum *out(const CallArgs &a, int32_t r) const {
    const int32_t row = few ? r : r / format::kSkipRanges, place = few ? unit : r % format::kSkipRanges;
    return a.row<Sum>(sums, row) + size_t(place * a.extent(w, 1) + line_begin) * 256;
  }
  void clear(const CallArgs &a, int32_t r) const {
    Sum *at = out(a, r);
    for (int32_t i = 0; i < (line_end - line_begin) * 256; ++i)
      at[i] = 0;
  }

private:
  int32_t unit;
  bool few;
};

} // namespace bitnet::intrinsics::skip_down
