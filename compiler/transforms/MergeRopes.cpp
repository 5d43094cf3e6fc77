// rope of neighbouring column slices as one. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_MERGEROPESPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

int64_t width(Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1); }

Type ofWidth(Value like, int64_t width) {
  return cast<RankedTensorType>(like.getType()).clone({ShapedType::kDynamic, width});
}

struct MergeRopes final : impl::MergeRopesPassBase<MergeRopes> {
  void runOnOperation() override {
    SmallVector<SplitOp> splits;
    getOperation().walk([&](SplitOp split) { splits.push_back(split); });
    for (SplitOp split : splits)
      mergeRopesOf(split);
  }

  /// The rope that is all that reads this piece.
  static RopeOp onlyRope(Value piece) {
    return piece.hasOneUse() ? dyn_cast<RopeOp>(*piece.user_begin()) : RopeOp();
  }
  static bool turnAlike(RopeOp a, RopeOp b) {
    return a && b && a->getBlock() == b->getBlock() && a.getPositions() == b.getPositions() &&
           a->getAttrs() == b->getAttrs();
  }

  /// The longest runs of pieces that turn alike, one after the other.
  static void mergeRopesOf(SplitOp split) {
    SmallVector<SmallVector<RopeOp>> runs; // one or no rope: the piece stays as it is
    SmallVector<Type> types;
    for (Value piece : split.getPieces()) {
      RopeOp rope = onlyRope(piece);
      if (!runs.empty() && !runs.back().empty() && turnAlike(runs.back().back(), rope)) {
        runs.back().push_back(rope);
        types.back() = ofWidth(piece, cast<RankedTensorType>(types.back()).getDimSize(1) + width(piece));
        continue;
      }
      runs.emplace_back();
      if (rope)
        runs.back().push_back(rope);
      types.push_back(piece.getType());
    }
    if (types.size() == split.getPieces().size())
      return;

    OpBuilder b(split);
    auto fewer = SplitOp::create(b, split.getLoc(), types, split.getX());
    size_t old = 0;
    for (auto [run, piece] : llvm::zip_equal(runs, fewer.getPieces())) {
      if (run.size() < 2) {
        split.getPieces()[old++].replaceAllUsesWith(piece);
        continue;
      }
      old += run.size();
      mergeRun(run, piece);
    }
    split.erase();
  }

  static void mergeRun(MutableArrayRef<RopeOp> run, Value x) {
    RopeOp first = *llvm::min_element(run, [](RopeOp a, RopeOp b) { return a->isBeforeInBlock(b); });
    OpBuilder b(first);
    Value y = RopeOp::create(b, first.getLoc(), x.getType(), ValueRange{x, first.getPositions()},
                             first->getAttrs());
    SmallVector<Type> types;
    for (RopeOp rope : run)
      types.push_back(rope.getY().getType());
    auto split = SplitOp::create(b, first.getLoc(), types, y);
    for (auto [rope, piece] : llvm::zip_equal(run, split.getPieces())) {
      rope.getY().replaceAllUsesWith(piece);
      rope.erase();
    }
  }
};

} // namespace
} // namespace bitnet::compiler
