// Weights for tests: every element is a function of seed, tensor name, row and column, so that the same
// tensor has the same values in any module, alone or merged with others.
#pragma once
#include "compiler/pack/WeightSource.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace bitnet::compiler {

class RandomWeights final : public WeightSource {
public:
  /// Knows the tensors that the module names, at either level.
  RandomWeights(mlir::ModuleOp module, uint64_t seed);

  llvm::Expected<import::TernaryMatrix> ternary(const std::string &name) const override;
  /// Vectors (norm gains) are near 1, matrices have elements in (-1, 1) that f16 holds exactly.
  llvm::Expected<import::DenseTensor> dense(const std::string &name, int32_t begin,
                                            int32_t end) const override;

private:
  struct Shape {
    int32_t rows = 0, cols = 0, groups = 1; ///< groups: scales of a row
  };
  llvm::Expected<Shape> shapeOf(const std::string &name) const;
  uint64_t keyOf(const std::string &name) const;

  uint64_t seed_;
  llvm::StringMap<Shape> shapes_;
};

} // namespace bitnet::compiler
