// The steps of a row that several ops share, in scalar form; a fused op's twin is these in sequence, which is
// what makes fused and unfused plans give the same bits.
#pragma once
#include "runtime/format/kernel_ops.h"
#include <cstdint>

namespace bitnet::codegen {

/// x, gain, y: [k]. y may be x.
void rms_norm_row(const float *x, const float *gain, float eps, int32_t k, float *y);
/// x, q: [k].
void quantize_row(const float *x, int32_t k, int8_t *q, float *s, int32_t *sum);
/// gate, up, h: [k]. h may be gate or up.
void gate_row(format::Act act, const float *gate, const float *up, int32_t k, float *h);

} // namespace bitnet::codegen
