// The scalar twin of each op, one function an op, with the argument list of the compiled kernel
// (kernel_ops.h). What twins promise is said in twins.h; run_twin dispatches here.
#pragma once
#include "runtime/format/kernel_ops.h"

namespace bitnet::codegen {

int add_twin(const format::OpDims &dims, void *const *args);
int attention_twin(const format::OpDims &dims, void *const *args);
int attention_chunk_twin(const format::OpDims &dims, void *const *args);
int attention_chunk_q8_twin(const format::OpDims &dims, void *const *args);
int attention_merge_twin(const format::OpDims &dims, void *const *args);
int attention_q8_twin(const format::OpDims &dims, void *const *args);
int embed_twin(const format::OpDims &dims, void *const *args);
int gate_twin(const format::OpDims &dims, void *const *args);
int gate_norm_quant_twin(const format::OpDims &dims, void *const *args);
int gate_quant_twin(const format::OpDims &dims, void *const *args);
int gather_rows_twin(const format::OpDims &dims, void *const *args);
int group_sums_twin(const format::OpDims &dims, void *const *args);
int head_norm_twin(const format::OpDims &dims, void *const *args);
int kv_append_twin(const format::OpDims &dims, void *const *args);
int kv_append_q8_twin(const format::OpDims &dims, void *const *args);
int linear_f16_twin(const format::OpDims &dims, void *const *args);
int linear_s8_twin(const format::OpDims &dims, void *const *args);
int linear_t2_twin(const format::OpDims &dims, void *const *args);
int linear_t3_twin(const format::OpDims &dims, void *const *args);
int linear_t5_twin(const format::OpDims &dims, void *const *args);
int norm_quant_twin(const format::OpDims &dims, void *const *args);
int quantize_twin(const format::OpDims &dims, void *const *args);
int rescore_f16_twin(const format::OpDims &dims, void *const *args);
int rms_norm_twin(const format::OpDims &dims, void *const *args);
int rope_twin(const format::OpDims &dims, void *const *args);
int screen_q4_twin(const format::OpDims &dims, void *const *args);
int skip_down_twin(const format::OpDims &dims, void *const *args);
int skip_sum_twin(const format::OpDims &dims, void *const *args);
int skip_up_twin(const format::OpDims &dims, void *const *args);

} // namespace bitnet::codegen
