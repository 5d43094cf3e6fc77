// ternary_linear + gated_activation → gated_linear. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_FUSEGATEDLINEARPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

struct FoldGateIntoLinear : OpRewritePattern<GatedActivationOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(GatedActivationOp op, PatternRewriter &rewriter) const override {
    auto up = op.getUp().getDefiningOp<TernaryLinearOp>();
    if (!up || up.getResidual())
      return rewriter.notifyMatchFailure(op, "up is not a plain ternary_linear");
    if (!up->hasOneUse())
      return rewriter.notifyMatchFailure(op, "up has another use");
    rewriter.replaceOpWithNewOp<GatedLinearOp>(op, op.getH().getType(), up.getQ(), up.getS(), up.getW(),
                                               op.getGate(), op.getActAttr());
    rewriter.eraseOp(up);
    return success();
  }
};

struct FuseGatedLinear final : impl::FuseGatedLinearPassBase<FuseGatedLinear> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FoldGateIntoLinear>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace bitnet::compiler
