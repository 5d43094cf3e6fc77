// q|k|v and gate|up as one product each. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_MERGEPROJECTIONSPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

struct MergeProjections final : impl::MergeProjectionsPassBase<MergeProjections> {
  void runOnOperation() override {
    // Linears of one input in one block with scales of as many columns, in the order of the block.
    llvm::MapVector<std::tuple<Block *, Value, Value, int64_t>, SmallVector<TernaryLinearOp>> alike;
    getOperation().walk([&](TernaryLinearOp op) {
      if (!op.getResidual() && op.getW().getDefiningOp<WeightOp>())
        alike[{op->getBlock(), op.getQ(), op.getS(), op.getW().getType().getGroup()}].push_back(op);
    });
    for (auto &[input, linears] : alike)
      if (linears.size() > 1)
        merge(linears);
  }

  void merge(MutableArrayRef<TernaryLinearOp> linears) {
    OpBuilder b(linears.front());
    const Location loc = linears.front().getLoc();
    SmallVector<Attribute> names;
    SmallVector<int32_t> rows;
    SmallVector<Type> pieces;
    int64_t n = 0;
    for (TernaryLinearOp linear : linears) {
      auto weight = linear.getW().getDefiningOp<WeightOp>();
      llvm::append_range(names, weight.getNames());
      llvm::append_range(rows, weight.partRows());
      pieces.push_back(linear.getY().getType());
      n += linear.getW().getType().getRows();
    }
    TernaryLinearOp first = linears.front();
    const TernaryType part = first.getW().getType();
    Type matrix = TernaryType::get(&getContext(), n, part.getCols(), part.getGroup());
    Value w = WeightOp::create(b, loc, matrix, b.getArrayAttr(names), b.getDenseI32ArrayAttr(rows));
    Type wide = cast<RankedTensorType>(first.getY().getType()).clone({ShapedType::kDynamic, n});
    Value y = TernaryLinearOp::create(b, loc, wide, first.getQ(), first.getS(), w, Value());
    auto split = SplitOp::create(b, loc, pieces, y);
    for (auto [linear, piece] : llvm::zip_equal(linears, split.getPieces())) {
      auto weight = linear.getW().getDefiningOp<WeightOp>();
      linear.getY().replaceAllUsesWith(piece);
      linear.erase();
      if (weight->use_empty())
        weight.erase();
    }
  }
};

} // namespace
} // namespace bitnet::compiler
