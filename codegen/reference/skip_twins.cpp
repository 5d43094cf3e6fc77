// Twins of the ops that skip: what a neuron or an input that is left out would have added is 0, so these just
// compute everything from the bytes that layouts.h addresses.
#include "codegen/reference/op_twins.h"
#include "codegen/reference/scalar_math.h"
#include "codegen/reference/twin_args.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using format::Epilogue;
using format::kSkipRanges;
using format::Op;
using format::OpDims;

int skip_up_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::skip_up, d, args);
  enum { q, s, sum, w, row_scale, gate, h };
  for (int32_t r = 0; r < a.rows(); ++r)
    for (int32_t n = a.begin() * 16; n < a.end() * 16; ++n) {
      const float open = a.row<float>(gate, r)[n];
      float &out = a.row<float>(h, r)[n] = 0;
      if (!(open > 0))
        continue;
      int32_t dot = 0; // |dot| <= 2 * 127 * k
      for (int32_t k = 0; k < d.k; ++k)
        dot += (a.data<uint8_t>(w)[format::u2_byte(d.k, n, k)] >> format::u2_shift(k) & 3) *
               a.row<int8_t>(q, r)[k];
      const float scale = a.data<float>(row_scale)[n] / a.data<float>(s)[r];
      out = relu2(open) * (float(dot - a.data<int32_t>(sum)[r]) * scale);
    }
  return 0;
}

int skip_down_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::skip_down, d, args);
  enum { q, w, sums };
  const bool few = a.rows() <= format::kRowPad;
  const int32_t lines = d.n / 256;
  for (int32_t r = 0; r < a.rows(); ++r)
    for (int32_t u = a.begin(); u < a.end(); ++u) {
      const int32_t k_begin = few ? format::skip_range_begin(d.k, u) : 0;
      const int32_t k_end = few ? format::skip_range_begin(d.k, u + 1) : d.k;
      const int32_t n_begin = few ? 0 : lines * u / kSkipRanges * 256;
      const int32_t n_end = few ? d.n : lines * (u + 1) / kSkipRanges * 256;
      int32_t *out = few ? a.row<int32_t>(sums, r) + u * d.n
                         : a.row<int32_t>(sums, r / kSkipRanges) + r % kSkipRanges * d.n;
      for (int32_t n = n_begin; n < n_end; ++n) {
        int32_t dot = 0;
        for (int32_t k = k_begin; k < k_end; ++k)
          dot += (a.data<uint8_t>(w)[format::d2_byte(d.n, n, k)] >> format::d2_shift(n) & 3) *
                 a.row<int8_t>(q, r)[k];
        out[n] = dot;
      }
    }
  return 0;
}

int skip_sum_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::skip_sum, d, args);
  enum { sums, s, sum, row_scale, residual };
  const bool adds = d.epilogue == Epilogue::residual;
  const int32_t y = adds ? residual + 1 : residual;
  const bool few = a.rows() <= format::kRowPad;
  for (int32_t r = a.begin(); r < a.end(); ++r)
    for (int32_t n = 0; n < d.n; ++n) {
      int32_t dot = few ? 0 : a.row<int32_t>(sums, r / kSkipRanges)[r % kSkipRanges * d.n + n];
      for (int32_t u = 0; few && u < kSkipRanges; ++u)
        dot += a.row<int32_t>(sums, r)[u * d.n + n];
      const float scale = a.data<float>(row_scale)[n] / a.data<float>(s)[r];
      const float value = float(dot - a.data<int32_t>(sum)[r]) * scale;
      a.row<float>(y, r)[n] = adds ? a.row<float>(residual, r)[n] + value : value;
    }
  return 0;
}

} // namespace bitnet::codegen
