// Labels of kernel calls, for people: "blk.3.attn_qkv", "blk.3.rope", "output". They mean nothing to the
// compiler.
#pragma once
#include "mlir/IR/Operation.h"
#include <string>

namespace bitnet::compiler {

/// Names the ops of a function in its order: by the tensors that they read, else by the op and the layer of
/// the last tensor before it.
class Labels {
public:
  std::string of(mlir::Operation *op);

private:
  std::string layer_; ///< "blk.3." or empty
};

} // namespace bitnet::compiler
