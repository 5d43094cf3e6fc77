// Constants of a plan → the bytes that kernels read (runtime/format/layouts.h). A big matrix is packed in
// pieces of whole 16-row stripes, so that memory stays bounded by one source tensor whatever the model's
// size.
#pragma once
#include "compiler/bundle/Plan.h"
#include "compiler/pack/WeightSource.h"
#include <functional>

namespace bitnet::compiler {

/// Bytes of the packed constant.
uint64_t packedBytes(const Constant &constant);

/// What packing found out; summed over constants by the caller.
struct PackReport {
  uint64_t ternaryWeights = 0; ///< weights packed by the ternary packings
  uint64_t inexactF16 = 0;     ///< dense values that f16 cannot hold exactly (rounded to nearest even)
  std::map<std::string, import::MatrixFacts> matrices; ///< of the ternary matrices, by canonical name
};

/// Packs in order, handing consecutive pieces to `sink`, which returns an error to stop. Ternary packing is
/// proved on the spot: every packed byte is decoded again and compared with what was read.
llvm::Error packConstant(const Constant &constant, const WeightSource &weights,
                         const std::function<llvm::Error(const uint8_t *bytes, size_t size)> &sink,
                         PackReport &report);

/// The whole constant at once (tests, the interpreter).
llvm::Expected<std::vector<uint8_t>> packConstant(const Constant &constant, const WeightSource &weights);

/// One 16-row stripe of layout A, B or C from trits [rows <= 16, cols] row-major; missing rows are zero
/// weights.
void packT2Stripe(const int8_t *trits, int32_t rows, int32_t cols, uint8_t *out);
void packT3Stripe(const int8_t *trits, int32_t rows, int32_t cols, uint8_t *out);
void packT5Stripe(const int8_t *trits, int32_t rows, int32_t cols, uint8_t *out);

} // namespace bitnet::compiler
