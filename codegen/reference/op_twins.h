// The scalar twin of each op, one function an op, with the argument list of the compiled kernel
// (kernel_ops.h). What twins promise is said in twins.h; run_twin dispatches here.
#pragma once
#include "runtime/format/kernel_ops.h"

namespace bitnet::codegen {

int twin_add(const format::OpDims &dims, void *const *args);
int twin_attention(const format::OpDims &dims, void *const *args);
int twin_embed(const format::OpDims &dims, void *const *args);
int twin_gate(const format::OpDims &dims, void *const *args);
int twin_gate_norm_quant(const format::OpDims &dims, void *const *args);
int twin_gate_quant(const format::OpDims &dims, void *const *args);
int twin_gather_rows(const format::OpDims &dims, void *const *args);
int twin_kv_append(const format::OpDims &dims, void *const *args);
int twin_linear_f16(const format::OpDims &dims, void *const *args);
int twin_linear_s8(const format::OpDims &dims, void *const *args);
int twin_linear_t2(const format::OpDims &dims, void *const *args);
int twin_norm_quant(const format::OpDims &dims, void *const *args);
int twin_quantize(const format::OpDims &dims, void *const *args);
int twin_rms_norm(const format::OpDims &dims, void *const *args);
int twin_rope(const format::OpDims &dims, void *const *args);

} // namespace bitnet::codegen
