// rms_norm + quantize_activation → norm_quantize. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_FUSENORMQUANTPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

struct FoldNormIntoQuantize : OpRewritePattern<QuantizeActivationOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(QuantizeActivationOp op, PatternRewriter &rewriter) const override {
    auto norm = op.getX().getDefiningOp<RmsNormOp>();
    if (!norm)
      return rewriter.notifyMatchFailure(op, "input is not an rms_norm");
    if (norm.getGain().getType().getDimSize(0) != op.getX().getType().getDimSize(1))
      return rewriter.notifyMatchFailure(op, "norms each head by itself");
    if (!norm->hasOneUse())
      return rewriter.notifyMatchFailure(op, "the normed rows have another use");
    rewriter.replaceOpWithNewOp<NormQuantizeOp>(op, op.getResultTypes(), norm.getX(), norm.getGain(),
                                                norm.getEpsAttr());
    rewriter.eraseOp(norm);
    return success();
  }
};

struct FuseNormQuant final : impl::FuseNormQuantPassBase<FuseNormQuant> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FoldNormIntoQuantize>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace bitnet::compiler
