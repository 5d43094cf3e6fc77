// The table of twins.
#include "codegen/reference/op_twins.h"
#include "codegen/reference/twins.h"

namespace bitnet::codegen {

int run_twin(format::Op op, const format::OpDims &dims, void *const *args) {
  using format::Op;
  switch (op) {
  case Op::embed:
    return embed_twin(dims, args);
  case Op::rms_norm:
    return rms_norm_twin(dims, args);
  case Op::quantize:
    return quantize_twin(dims, args);
  case Op::norm_quant:
    return norm_quant_twin(dims, args);
  case Op::gate:
    return gate_twin(dims, args);
  case Op::gate_quant:
    return gate_quant_twin(dims, args);
  case Op::gate_norm_quant:
    return gate_norm_quant_twin(dims, args);
  case Op::add:
    return add_twin(dims, args);
  case Op::linear_t2:
    return linear_t2_twin(dims, args);
  case Op::linear_t3:
    return linear_t3_twin(dims, args);
  case Op::linear_t5:
    return linear_t5_twin(dims, args);
  case Op::linear_s8:
    return linear_s8_twin(dims, args);
  case Op::linear_f16:
    return linear_f16_twin(dims, args);
  case Op::rope:
    return rope_twin(dims, args);
  case Op::kv_append:
    return kv_append_twin(dims, args);
  case Op::attention:
    return attention_twin(dims, args);
  case Op::kv_append_q8:
    return kv_append_q8_twin(dims, args);
  case Op::attention_q8:
    return attention_q8_twin(dims, args);
  case Op::attention_chunk:
    return attention_chunk_twin(dims, args);
  case Op::attention_chunk_q8:
    return attention_chunk_q8_twin(dims, args);
  case Op::attention_merge:
    return attention_merge_twin(dims, args);
  case Op::gather_rows:
    return gather_rows_twin(dims, args);
  case Op::screen_q4:
    return screen_q4_twin(dims, args);
  case Op::rescore_f16:
    return rescore_f16_twin(dims, args);
  case Op::skip_up:
    return skip_up_twin(dims, args);
  case Op::skip_down:
    return skip_down_twin(dims, args);
  case Op::skip_sum:
    return skip_sum_twin(dims, args);
  case Op::group_sums:
    return group_sums_twin(dims, args);
  case Op::head_norm:
    return head_norm_twin(dims, args);
  case Op::count:
    break;
  }
  return -1;
}

} // namespace bitnet::codegen
