// What the forms of skip_up share: its arguments and its last step.
#pragma once
#include "codegen/intrinsics/call_args.h"

namespace bitnet::intrinsics::skip_up {

enum { q, s, sum, w, row_scale, gate, h, n_buffers };

/// h = relu2(gate) * (f32(h's sum - total) * (row_scale / s)) of neurons [begin, end) of row r; 0 where the
/// gate is shut, whatever lies there. The operations and their order are those of the scalar twin.
inline void finish(const CallArgs &a, int32_t r, int32_t begin, int32_t end) {
  const float *scale = a.data<float>(row_scale), *open = a.row<float>(gate, r);
  const float of_row = a.data<float>(s)[r];
  const int32_t total = a.data<int32_t>(sum)[r];
  float *out = a.row<float>(h, r);
  const Sum *sums = a.row<Sum>(h, r);
#pragma GCC ivdep
  for (int32_t i = begin; i < end; ++i) {
    const float product = (open[i] * open[i]) * (float(sums[i] - total) * (scale[i] / of_row));
    out[i] = open[i] > 0 ? product : 0.0f;
  }
}

} // namespace bitnet::intrinsics::skip_up
