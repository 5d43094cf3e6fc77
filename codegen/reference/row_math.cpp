// Row steps of the twins. Float sums run over norm_lanes(k) lanes (element i in lane i % lanes, in order) and
// then a halving tree.
#include "codegen/reference/row_math.h"
#include "codegen/reference/scalar_math.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {
namespace {
constexpr int32_t kMaxLanes = 64;
}

void rms_norm_row(const float *x, const float *gain, float eps, int32_t k, float *y) {
  const int32_t lanes = format::norm_lanes(k);
  float ss[kMaxLanes] = {};
  for (int32_t i = 0; i < k; ++i)
    ss[i % lanes] = ss[i % lanes] + x[i] * x[i];
  const float sum = halving_tree(ss, lanes, [](float a, float b) { return a + b; });
  const float rs = 1.0f / std::sqrt(sum / float(k) + eps);
  for (int32_t i = 0; i < k; ++i)
    y[i] = (x[i] * rs) * gain[i];
}

void quantize_row(const float *x, int32_t k, int8_t *q, float *s, int32_t *sum) {
  float absmax = 0; // of finite values the order does not matter; a NaN is passed over
  for (int32_t i = 0; i < k; ++i)
    absmax = sel_max(std::fabs(x[i]), absmax);
  const float scale = 127.0f / sel_max(absmax, 1e-5f);
  int32_t total = 0; // |total| <= 127 * 2^20
  for (int32_t i = 0; i < k; ++i) {
    q[i] = round_to_int8(x[i] * scale);
    total += q[i];
  }
  *s = scale;
  *sum = total;
}

void gate_row(format::Act act, const float *gate, const float *up, int32_t k, float *h) {
  for (int32_t i = 0; i < k; ++i)
    h[i] = activation(act, gate[i]) * up[i];
}

} // namespace bitnet::codegen
