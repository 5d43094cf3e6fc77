// Twins of the ops that move or rotate rows: embed, gather_rows, rope, kv_append. Tokens, positions, slots
// and row indices are trusted here, as in the kernels: the runtime checks them before a step.
#include "codegen/reference/op_twins.h"
#include "codegen/reference/scalar_math.h"
#include "codegen/reference/twin_args.h"
#include "runtime/format/layouts.h"
#include <algorithm>

namespace bitnet::codegen {
using format::Op;
using format::OpDims;

int embed_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::embed, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r)
    for (int32_t i = 0; i < d.k; ++i)
      a.row<float>(2, r)[i] =
          f16_to_f32(a.data<uint16_t>(1)[format::f16_index(d.k, a.data<int32_t>(0)[r], i)]);
  return 0;
}

int gather_rows_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::gather_rows, d, args);
  for (int32_t l = a.begin(); l < a.end(); ++l)
    std::copy_n(a.row<float>(0, a.data<int32_t>(1)[l]), d.k, a.row<float>(2, l));
  return 0;
}

int rope_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::rope, d, args);
  const int32_t half = d.head_dim / 2;
  for (int32_t r = a.begin(); r < a.end(); ++r) {
    const float *cos = a.row<float>(2, a.data<int32_t>(1)[r]);
    const float *sin = a.row<float>(3, a.data<int32_t>(1)[r]);
    for (int32_t h = 0; h < d.heads; ++h) {
      const float *x = a.row<float>(0, r) + h * d.head_dim;
      float *y = a.row<float>(4, r) + h * d.head_dim;
      for (int32_t i = 0; i < half; ++i) {
        const float x0 = x[i], x1 = x[i + half]; // both read before a write: y may be x
        y[i] = x0 * cos[i] - x1 * sin[i];
        y[i + half] = x1 * cos[i] + x0 * sin[i];
      }
    }
  }
  return 0;
}

int kv_append_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::kv_append, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r) {
    const int32_t slot = a.data<int32_t>(2)[r];
    for (int32_t h = 0; h < d.kv_heads; ++h)
      for (int32_t i = 0; i < d.head_dim; ++i) {
        const float k = a.row<float>(0, r)[h * d.head_dim + i], v = a.row<float>(1, r)[h * d.head_dim + i];
        a.data<uint16_t>(3)[format::k_index(d.head_dim, d.kv_heads, slot, h, i)] = f32_to_f16_saturated(k);
        a.data<uint16_t>(4)[format::v_index(d.head_dim, d.kv_heads, slot, h, i)] = f32_to_f16_saturated(v);
      }
  }
  return 0;
}

// Of the k (and v) of one head, saturated like f16, with the largest magnitude a (at least 1e-30): code =
// round(k * (127 / a)), scale = a * 1/127. NaN counts as -65504.
int kv_append_q8_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::kv_append_q8, d, args);
  const auto saturated = [](float x) { return sel_min(sel_max(x, -65504.0f), 65504.0f); };
  for (int32_t r = a.begin(); r < a.end(); ++r) {
    const int32_t slot = a.data<int32_t>(2)[r];
    for (int32_t h = 0; h < d.kv_heads; ++h)
      for (const int32_t half : {0, 1}) {
        const float *x = a.row<float>(half, r) + h * d.head_dim;
        float largest = 1e-30f;
        for (int32_t i = 0; i < d.head_dim; ++i)
          largest = sel_max(std::fabs(saturated(x[i])), largest);
        const float to_int8 = 127.0f / largest;
        a.data<float>(half ? 6 : 4)[format::kv_scale_index(d.kv_heads, slot, h)] = largest * (1.0f / 127.0f);
        for (int32_t i = 0; i < d.head_dim; ++i) {
          const int8_t code = round_to_int8(saturated(x[i]) * to_int8);
          if (half)
            a.data<int8_t>(5)[format::v_q8_index(d.head_dim, d.kv_heads, slot, h, i)] = code;
          else
            a.data<uint8_t>(3)[format::k_q8_index(d.head_dim, d.kv_heads, slot, h, i)] = uint8_t(code + 128);
        }
      }
  }
  return 0;
}

} // namespace bitnet::codegen
