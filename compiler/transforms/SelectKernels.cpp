// A kernel, its row tiles and a packing for everything. See Passes.td. What suits a CPU is codegen's
// business: the choices are the same for every variant, and each variant brings the kernels for them.
#include "codegen/spec/kernel_spec.h"
#include "compiler/transforms/KernelOf.h"
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_SELECTKERNELSPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

/// A tile of t rows for steps of up to t rows: a smaller one would read the weights more than once, a larger
/// one would compute rows that nobody wants. Beyond the largest tile, the kernel for any number of rows.
SmallVector<int32_t> choicesOf(format::Op op) {
  const codegen::RowTiles tiles = codegen::row_tiles(op);
  SmallVector<int32_t> choices;
  for (int32_t i = 0; i < tiles.count; ++i)
    choices.append({tiles.tiles[i], tiles.tiles[i]});
  return choices;
}

struct SelectKernels final : impl::SelectKernelsPassBase<SelectKernels> {
  void runOnOperation() override {
    Builder b(&getContext());
    WalkResult result = getOperation().walk([&](Operation *op) {
      if (auto weight = dyn_cast<WeightOp>(op)) {
        const StringRef packing =
            kernel::stringifyPacking(packedShapes(weight.getValue().getType()).front().packing);
        op->setAttr(kPackingAttr, b.getStringAttr(packing));
        return WalkResult::advance();
      }
      std::optional<KernelOf> kernel = kernelOf(op);
      if (!kernel)
        return WalkResult::advance();
      if (const char *why = kernelError(op, *kernel)) {
        op->emitOpError("no kernel '") << format::op_name(kernel->op) << "' of these sizes: " << why;
        return WalkResult::interrupt();
      }
      op->setAttr(kKernelAttr, b.getStringAttr(format::op_name(kernel->op)));
      op->setAttr(kChoicesAttr, b.getDenseI32ArrayAttr(choicesOf(kernel->op)));
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
} // namespace bitnet::compiler
