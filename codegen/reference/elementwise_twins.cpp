// Twins of the ops that work row by row on activations: norms, quantiser, gates, add. A fused op is its parts
// in sequence over a scratch row.
#include "codegen/reference/op_twins.h"
#include "codegen/reference/row_math.h"
#include "codegen/reference/twin_args.h"
#include <vector>

namespace bitnet::codegen {
using format::Op;
using format::OpDims;
namespace {

/// Quantises x into row r of the outputs q, s, sum, which are the three arguments from `first` on.
void quantize_into(const TwinArgs &a, int32_t first, const float *x, int32_t k, int32_t r) {
  quantize_row(x, k, a.row<int8_t>(first, r), a.row<float>(first + 1, r), a.row<int32_t>(first + 2, r));
}

} // namespace

int rms_norm_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::rms_norm, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r)
    rms_norm_row(a.row<float>(0, r), a.data<float>(1), d.eps, d.k, a.row<float>(2, r));
  return 0;
}

int head_norm_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::head_norm, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r)
    for (int32_t h = 0; h < d.heads; ++h)
      rms_norm_row(a.row<float>(0, r) + h * d.head_dim, a.data<float>(1), d.eps, d.head_dim,
                   a.row<float>(2, r) + h * d.head_dim); // y may be x
  return 0;
}

int quantize_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::quantize, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r)
    quantize_into(a, 1, a.row<float>(0, r), d.k, r);
  return 0;
}

int norm_quant_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::norm_quant, d, args);
  std::vector<float> y(size_t(d.k));
  for (int32_t r = a.begin(); r < a.end(); ++r) {
    rms_norm_row(a.row<float>(0, r), a.data<float>(1), d.eps, d.k, y.data());
    quantize_into(a, 2, y.data(), d.k, r);
  }
  return 0;
}

int gate_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::gate, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r)
    gate_row(d.act, a.row<float>(0, r), a.row<float>(1, r), d.k, a.row<float>(2, r));
  return 0;
}

int gate_quant_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::gate_quant, d, args);
  std::vector<float> h(size_t(d.k));
  for (int32_t r = a.begin(); r < a.end(); ++r) {
    gate_row(d.act, a.row<float>(0, r), a.row<float>(1, r), d.k, h.data());
    quantize_into(a, 2, h.data(), d.k, r);
  }
  return 0;
}

int gate_norm_quant_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::gate_norm_quant, d, args);
  std::vector<float> h(size_t(d.k));
  for (int32_t r = a.begin(); r < a.end(); ++r) {
    gate_row(d.act, a.row<float>(0, r), a.row<float>(1, r), d.k, h.data());
    rms_norm_row(h.data(), a.data<float>(2), d.eps, d.k, h.data());
    quantize_into(a, 3, h.data(), d.k, r);
  }
  return 0;
}

int add_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::add, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r) {
    const float *x = a.row<float>(0, r), *y = a.row<float>(1, r);
    float *sum = a.row<float>(2, r);
    for (int32_t i = 0; i < d.k; ++i)
      sum[i] = x[i] + y[i];
  }
  return 0;
}

} // namespace bitnet::codegen
