// ternary_linear + add → ternary_linear with a residual. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_FUSERESIDUALADDPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

struct FoldAddIntoLinear : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AddOp op, PatternRewriter &rewriter) const override {
    Value residual = op.getA(), product = op.getB();
    auto takes = [](Value v) {
      auto linear = v.getDefiningOp<TernaryLinearOp>();
      return linear && !linear.getResidual() && linear->hasOneUse();
    };
    if (!takes(product))
      std::swap(residual, product);
    if (!takes(product))
      return rewriter.notifyMatchFailure(op, "neither side is a ternary_linear that only this add reads");
    auto linear = product.getDefiningOp<TernaryLinearOp>();
    rewriter.replaceOpWithNewOp<TernaryLinearOp>(op, op.getY().getType(), linear.getQ(), linear.getS(),
                                                 linear.getW(), residual);
    rewriter.eraseOp(linear);
    return success();
  }
};

struct FuseResidualAdd final : impl::FuseResidualAddPassBase<FuseResidualAdd> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FoldAddIntoLinear>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace bitnet::compiler
