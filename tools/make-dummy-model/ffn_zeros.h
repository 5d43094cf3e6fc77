// Dummy models whose FFNs have as many zeros as a trained model's (or none), for measuring kernels that skip
// them.
//
// Gates: the first channels of the residual stream are 1 in every embedding, and nothing writes to them. The
// norm before each FFN scales them alike, and every gate row subtracts (or adds) them: all gates are shifted
// by the same amount, and which of them are open still depends on the token. Inputs of down: some neurons'
// sub-norm gains are larger, which raises the largest input of a row and so makes more of the others round to
// 0.
#pragma once
#include "tools/make-dummy-model/dummy_model.h"

namespace bitnet::dummy {

/// Changes a tensor as it was drawn to what options.gate_zeros and options.down_zeros ask for; nothing where
/// they do not.
void shape_ternary(const Options &options, const Tensor &tensor, import::TernaryMatrix &matrix);
void shape_norm(const Options &options, const Tensor &tensor, std::vector<float> &values);
void shape_embedding(const Options &options, int32_t cols, float *row);

/// Throws tools::UsageError where the shares cannot be had.
void check_zeros(const Options &options);

} // namespace bitnet::dummy
