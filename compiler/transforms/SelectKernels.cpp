// A kernel, its row tiles and a packing for everything. See Passes.td. What suits a CPU is codegen's
// business: the choices are the same for every variant, and each variant brings the kernels for them.
#include "codegen/spec/kernel_spec.h"
#include "codegen/spec/ternary_cost.h"
#include "compiler/transforms/Explain.h"
#include "compiler/transforms/KernelOf.h"
#include "compiler/transforms/Passes.h"
#include "compiler/transforms/Skipping.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include <map>

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
  using SelectKernelsPassBase::SelectKernelsPassBase;

  /// t2, t3 or t5 for a ternary matrix, and why.
  std::pair<kernel::Packing, const char *> ternaryPacking(TernaryType type) const {
    if (type.getGroup())
      return {kernel::Packing::t2,
              "columns that t3 or t5 packs together would belong to two groups of scales"};
    if (packing.getValue() != "auto")
      return {*kernel::symbolizePacking(packing.getValue()), "asked for"};
    const format::Op op =
        codegen::cheapest_ternary(paddedRows(type.getRows()), int32_t(type.getCols()), cpus_);
    if (op == format::Op::linear_t2)
      return {kernel::Packing::t2,
              "t3 and t5 are not clearly faster on every measured machine, or do not fit"};
    return {op == format::Op::linear_t3 ? kernel::Packing::t3 : kernel::Packing::t5,
            "a row is clearly faster on every measured machine"};
  }

  LogicalResult initialize(MLIRContext *context) override {
    const std::string &wanted = packing.getValue();
    if (wanted != "auto" && wanted != "t2" && wanted != "t3" && wanted != "t5")
      return emitError(UnknownLoc::get(context), "packing: expected auto, t2, t3 or t5, got '")
             << wanted << "'";
    cpus_.clear();
    for (const std::string &name : cpus) {
      const format::CpuVariant cpu = format::cpu_variant_from_name(name.c_str());
      if (cpu == format::CpuVariant::count)
        return emitError(UnknownLoc::get(context), "cpus: expected names of CPU variants, got '")
               << name << "'";
      cpus_.push_back(cpu);
    }
    return success();
  }

  void runOnOperation() override {
    chooseSkipping();
    Builder b(&getContext());
    std::map<std::pair<std::string, std::string>, int> matrices; // by packing and reason
    WalkResult result = getOperation().walk([&](Operation *op) {
      if (auto weight = dyn_cast<WeightOp>(op)) {
        if (op->hasAttr(kPackingAttr)) // chosen by chooseSkipping
          return WalkResult::advance();
        auto ternary = dyn_cast<TernaryType>(weight.getValue().getType());
        kernel::Packing chosen = packedShapes(weight.getValue()).front().packing;
        if (ternary) {
          const char *why;
          std::tie(chosen, why) = ternaryPacking(ternary);
          ++matrices[{kernel::stringifyPacking(chosen).str(), why}];
        }
        op->setAttr(kPackingAttr, b.getStringAttr(kernel::stringifyPacking(chosen)));
        return WalkResult::advance();
      }
      std::optional<KernelOf> kernel = kernelOf(op);
      if (!kernel)
        return WalkResult::advance();
      if (const char *why = kernelError(op, *kernel)) {
        op->emitOpError("no kernel '") << format::op_name(kernel->op) << "' of these sizes: " << why;
        return WalkResult::interrupt();
      }
      if (auto chosen =
              op->getAttrOfType<StringAttr>(kKernelAttr)) // one that skips; its sizes were looked at
        kernel->op = format::op_from_name(chosen.str().c_str());
      op->setAttr(kKernelAttr, b.getStringAttr(format::op_name(kernel->op)));
      op->setAttr(kChoicesAttr, b.getDenseI32ArrayAttr(choicesOf(kernel->op)));
      if (auto head = dyn_cast<LinearOp>(op); head && head.getScreened()) {
        if (const char *why = format::op_dims_error(format::Op::screen_q4, kernel->dims)) {
          op->emitOpError("no screen of these sizes: ") << why;
          return WalkResult::interrupt();
        }
        op->setAttr(kScreenChoicesAttr, b.getDenseI32ArrayAttr(choicesOf(format::Op::screen_q4)));
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
    else if (explain)
      for (const auto &[chosen, count] : matrices)
        compiler::explain(getOperation(), "packing",
                          chosen.first + " for " + std::to_string(count) + " matrices", chosen.second);
  }

  /// Marks the products that skip, and their weights.
  void chooseSkipping() {
    Builder b(&getContext());
    std::map<std::string, int> chosen, refused; // kernel or reason → products
    getOperation().walk([&](WeightOp weight) {
      const Skipping found = skippingOf(weight);
      if (!found.whyNot.empty())
        ++refused[found.whyNot];
      if (!found.kernel || !skip)
        return;
      ++chosen[found.kernel];
      weight->setAttr(kPackingAttr, b.getStringAttr(found.packing));
      (*weight->user_begin())->setAttr(kKernelAttr, b.getStringAttr(found.kernel));
    });
    if (!explain)
      return;
    if (!skip)
      compiler::explain(getOperation(), "skipping", "off", "asked for");
    for (const auto &[kernel, products] : chosen)
      compiler::explain(getOperation(), "skipping", kernel + " for " + std::to_string(products) + " products",
                        kernel == "skip_up"
                            ? "relu2: a neuron whose gate is shut gives 0, its row of up is not read"
                            : "relu2: many inputs of down are 0, their columns are not read");
    for (const auto &[why, products] : refused)
      compiler::explain(getOperation(), "skipping", "off for " + std::to_string(products) + " products", why);
  }

private:
  std::vector<format::CpuVariant> cpus_;
};

} // namespace
} // namespace bitnet::compiler
