// Which products can leave out neurons, exactly: with relu2, a neuron whose gate is not positive gives 0
// whatever its row of up holds, and an input of down that is 0 adds nothing whatever its column holds.
#pragma once
#include "dialects/BitNet/BitNet.h"
#include <string>

namespace bitnet::compiler {

/// The kernel that skips and the packing that it needs, or why there is none.
struct Skipping {
  const char *kernel = nullptr;  ///< skip_up, skip_down, or nullptr
  const char *packing = nullptr; ///< u2, d2, or nullptr
  std::string whyNot;            ///< empty where it skips, and where there is nothing to skip
};

/// Of the product that reads this ternary weight.
Skipping skippingOf(mlir::bitnet::WeightOp weight);

} // namespace bitnet::compiler
