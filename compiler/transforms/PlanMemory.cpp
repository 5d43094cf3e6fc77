// Offsets in one arena. See Passes.td. Works on straight-line functions: a call's place in the order is its
// time.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "dialects/Kernel/Kernel.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/format/layouts.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::kernel;

namespace bitnet::compiler {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

/// Columns of an alloc: what a slice, directly or through a view, stands for.
struct Columns {
  AllocOp base;
  int64_t begin = 0, end = 0;
  bool overlaps(const Columns &other) const {
    return base == other.base && begin < other.end && other.begin < end;
  }
};

Columns columnsOf(Value slice) {
  int64_t begin = 0;
  const int64_t width = cast<SliceType>(slice.getType()).getWidth();
  while (auto view = slice.getDefiningOp<ViewOp>()) {
    begin += int64_t(view.getBegin());
    slice = view.getSource();
  }
  return {slice.getDefiningOp<AllocOp>(), begin, begin + width};
}

/// The input that a kernel's output may be written over: each element of the output depends on that element
/// of the input (rope: on elements of the same head), and kernels read it before they write.
Value overwritableInput(CallOp call) {
  switch (call.op()) {
  case format::Op::rope:      // x
  case format::Op::head_norm: // x
  case format::Op::add:       // a
    return call.getIns()[0];
  case format::Op::linear_t2:
  case format::Op::linear_t3:
  case format::Op::linear_t5: // residual or gate, after q, s, sum, w and row_scale
    return call.getEpilogue() ? call.getIns()[5] : Value();
  case format::Op::skip_sum: // residual, after sums, s, sum and row_scale
    return call.getEpilogue() ? call.getIns()[4] : Value();
  default:
    return {};
  }
}

/// An alloc with its bytes and its life: the first and last call that touches it.
struct Buffer {
  AllocOp alloc;
  int64_t bytes = 0;
  int64_t first = INT64_MAX, last = -1;
  bool ofLogitRows = false;
  int64_t offset = -1;
  bool livesWith(const Buffer &other) const { return first <= other.last && other.first <= last; }
};

class FunctionPlan {
public:
  FunctionPlan(func::FuncOp func, int32_t maxRows)
      : func_(func), rows_(llvm::alignTo(maxRows, format::kRowPad)) {}

  LogicalResult check() {
    if (!func_.getBody().hasOneBlock() || func_.getNumArguments() || func_.getNumResults() != 1)
      return func_.emitOpError("expected one block, no arguments and the logits as result; run "
                               "--bitnet-lower-to-kernel first");
    return success();
  }

  /// Outputs take the place of an input that nothing reads afterwards.
  void writeInPlace() {
    for (CallOp call : func_.getOps<CallOp>()) {
      Value input = overwritableInput(call);
      if (!input)
        continue;
      auto output = call.getOuts().front().getDefiningOp<AllocOp>();
      if (!output || input.getType() != output.getType() || !isFirstUse(output, call) ||
          readAfter(call, input))
        continue;
      output.getSlice().replaceAllUsesWith(input);
      output.erase();
    }
  }

  int64_t placeBuffers() {
    std::vector<Buffer> buffers = lives();
    std::vector<Buffer *> order;
    for (Buffer &b : buffers)
      order.push_back(&b);
    llvm::stable_sort(order, [](const Buffer *a, const Buffer *b) {
      return std::make_tuple(a->ofLogitRows, -a->bytes) < std::make_tuple(b->ofLogitRows, -b->bytes);
    });
    int64_t arena = 0;
    std::vector<const Buffer *> placed; // ascending by offset
    for (Buffer *b : order) {
      b->offset = lowestGap(*b, placed);
      placed.insert(llvm::upper_bound(placed, b,
                                      [](const Buffer *x, const Buffer *y) { return x->offset < y->offset; }),
                    b);
      arena = std::max(arena, b->offset + b->bytes);
    }
    for (Buffer &b : buffers)
      b.alloc.setOffset(b.offset);
    return arena;
  }

private:
  bool isFirstUse(AllocOp alloc, CallOp call) {
    return llvm::all_of(alloc->getUsers(),
                        [&](Operation *user) { return user == call || call->isBeforeInBlock(user); });
  }

  /// Does anything after `call` read columns of `slice`, or the function return them?
  bool readAfter(CallOp call, Value slice) {
    const Columns columns = columnsOf(slice);
    for (Operation *op = call->getNextNode(); op; op = op->getNextNode()) {
      if (isa<ViewOp>(op))
        continue;
      for (Value operand : op->getOperands())
        if (isa<SliceType>(operand.getType()) && columnsOf(operand).overlaps(columns))
          return true;
    }
    // Another argument of the call itself may be the same columns (add %x, %x).
    return llvm::count_if(call.arguments(), [&](Value v) {
             return isa<SliceType>(v.getType()) && columnsOf(v).overlaps(columns);
           }) > 1;
  }

  std::vector<Buffer> lives() {
    std::vector<Buffer> buffers;
    llvm::DenseMap<Operation *, size_t> index;
    for (AllocOp alloc : func_.getOps<AllocOp>()) {
      SliceType type = alloc.getSlice().getType();
      index[alloc] = buffers.size();
      Buffer b{alloc};
      b.bytes = llvm::alignTo(rows_ * type.rowBytes(), format::kTensorAlign);
      b.ofLogitRows = type.getRowSpace() == RowSpace::L;
      buffers.push_back(b);
    }
    int64_t time = 0;
    for (Operation &op : func_.getBody().front()) {
      if (!isa<CallOp, func::ReturnOp>(op))
        continue;
      ++time;
      for (Value operand : op.getOperands())
        if (isa<SliceType>(operand.getType())) {
          Buffer &b = buffers[index[columnsOf(operand).base]];
          b.first = std::min(b.first, time);
          b.last = std::max(b.last, time);
        }
    }
    return buffers;
  }

  /// `placed` ascends by offset.
  static int64_t lowestGap(const Buffer &b, ArrayRef<const Buffer *> placed) {
    int64_t at = 0;
    for (const Buffer *other : placed) {
      if (!b.livesWith(*other))
        continue;
      if (at + b.bytes <= other->offset)
        break;
      at = std::max(at, other->offset + other->bytes);
    }
    return at;
  }

  func::FuncOp func_;
  int64_t rows_;
};

struct PlanMemory final : impl::PlanMemoryPassBase<PlanMemory> {
  using PlanMemoryPassBase::PlanMemoryPassBase;

  void runOnOperation() override {
    constexpr int32_t kMostRows = 4096; // keeps every byte count far below 2^63
    if (maxRows < 1 || maxRows > kMostRows) {
      getOperation().emitError("max-rows: expected 1 to ") << kMostRows << ", got " << int32_t(maxRows);
      return signalPassFailure();
    }
    Builder b(&getContext());
    for (func::FuncOp func : getOperation().getOps<func::FuncOp>()) {
      FunctionPlan plan(func, maxRows);
      if (failed(plan.check()))
        return signalPassFailure();
      plan.writeInPlace();
      func->setAttr(kArenaBytesAttr, b.getI64IntegerAttr(plan.placeBuffers()));
      func->setAttr(kMaxRowsAttr, b.getI32IntegerAttr(maxRows));
    }
  }
};

} // namespace
} // namespace bitnet::compiler
