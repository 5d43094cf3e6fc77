// The q8 head: int8 rows instead of f16; the exact head: f16 rows and a screen. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_QUANTIZEHEADPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

struct QuantizeHead final : impl::QuantizeHeadPassBase<QuantizeHead> {
  using QuantizeHeadPassBase::QuantizeHeadPassBase;

  void runOnOperation() override {
    if (head == "f16")
      return;
    if (head != "q8" && head != "exact") {
      getOperation().emitError("head: expected exact, f16 or q8, got ") << head;
      return signalPassFailure();
    }
    SmallVector<LinearOp> heads;
    getOperation().walk([&](LinearOp op) {
      if (op.getW().getDefiningOp<WeightOp>())
        heads.push_back(op);
    });
    for (LinearOp op : heads)
      if (head == "exact")
        op.setScreened(true);
      else
        quantize(op);
  }

  void quantize(LinearOp op) {
    OpBuilder b(op);
    auto weight = op.getW().getDefiningOp<WeightOp>();
    auto dense = cast<RankedTensorType>(weight.getValue().getType());
    Type matrix = Int8MatrixType::get(&getContext(), dense.getDimSize(0), dense.getDimSize(1));
    Value w = WeightOp::create(b, weight.getLoc(), matrix, weight.getNames(), DenseI32ArrayAttr());
    Type qType = cast<RankedTensorType>(op.getX().getType()).clone(b.getI8Type());
    Type sType = RankedTensorType::get({ShapedType::kDynamic}, b.getF32Type());
    auto q = QuantizeActivationOp::create(b, op.getLoc(), qType, sType, op.getX());
    Value y = Int8LinearOp::create(b, op.getLoc(), op.getY().getType(), q.getQ(), q.getS(), w);
    op.getY().replaceAllUsesWith(y);
    op.erase();
    if (weight->use_empty()) // a tied embedding keeps its f16 table
      weight.erase();
  }
};

} // namespace
} // namespace bitnet::compiler
