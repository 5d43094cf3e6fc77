// gated_activation [+ rms_norm] + quantize_activation → gate_norm_quantize. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_FUSEGATENORMQUANTPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

/// The gate that makes `h`, if nothing else reads it.
GatedActivationOp onlyUseOfGate(Value h) {
  auto gate = h.getDefiningOp<GatedActivationOp>();
  return gate && gate->hasOneUse() ? gate : GatedActivationOp();
}

struct FoldGateIntoQuantize : OpRewritePattern<QuantizeActivationOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(QuantizeActivationOp op, PatternRewriter &rewriter) const override {
    auto norm = op.getX().getDefiningOp<RmsNormOp>();
    if (norm && !norm->hasOneUse())
      return rewriter.notifyMatchFailure(op, "the normed rows have another use");
    GatedActivationOp gate = onlyUseOfGate(norm ? norm.getX() : op.getX());
    if (!gate)
      return rewriter.notifyMatchFailure(op, "input is not a gate of its own");
    rewriter.replaceOpWithNewOp<GateNormQuantizeOp>(op, op.getResultTypes(), gate.getGate(), gate.getUp(),
                                                    norm ? norm.getGain() : Value(), gate.getActAttr(),
                                                    norm ? norm.getEpsAttr() : FloatAttr());
    if (norm)
      rewriter.eraseOp(norm);
    rewriter.eraseOp(gate);
    return success();
  }
};

struct FoldGateIntoNormQuantize : OpRewritePattern<NormQuantizeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(NormQuantizeOp op, PatternRewriter &rewriter) const override {
    GatedActivationOp gate = onlyUseOfGate(op.getX());
    if (!gate)
      return rewriter.notifyMatchFailure(op, "input is not a gate of its own");
    rewriter.replaceOpWithNewOp<GateNormQuantizeOp>(op, op.getResultTypes(), gate.getGate(), gate.getUp(),
                                                    op.getGain(), gate.getActAttr(), op.getEpsAttr());
    rewriter.eraseOp(gate);
    return success();
  }
};

struct FuseGateNormQuant final : impl::FuseGateNormQuantPassBase<FuseGateNormQuant> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FoldGateIntoQuantize, FoldGateIntoNormQuantize>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace bitnet::compiler
