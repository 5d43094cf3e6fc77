// bitnet functions → kernel calls on slices of an arena that is not planned yet. See Passes.td.
#include "compiler/transforms/KernelOf.h"
#include "compiler/transforms/Labels.h"
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "dialects/Kernel/Kernel.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/format/layouts.h"

using namespace mlir;
using namespace mlir::bitnet;
using kernel::RowSpace;

namespace bitnet::compiler {
#define GEN_PASS_DEF_LOWERTOKERNELPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

/// One function. What a bitnet value became: the kernel arguments that it stands for (KernelOf.h).
class FunctionLowering {
public:
  explicit FunctionLowering(func::FuncOp from) : from_(from), b_(from) {}

  LogicalResult run() {
    if (!from_.getBody().hasOneBlock())
      return from_.emitOpError("expected a body of one block");
    auto to = func::FuncOp::create(b_, from_.getLoc(), from_.getName(), b_.getFunctionType({}, {}));
    b_.setInsertionPointToStart(to.addEntryBlock());
    if (failed(lowerArguments()))
      return failure();
    for (Operation &op : from_.getBody().front()) {
      if (auto ret = dyn_cast<func::ReturnOp>(op)) {
        if (failed(lowerReturn(ret, to)))
          return failure();
      } else if (failed(lowerOp(op))) {
        return failure();
      }
    }
    from_.erase();
    return success();
  }

private:
  LogicalResult lowerArguments() {
    int32_t layer = 0;
    for (BlockArgument arg : from_.getArguments()) {
      if (auto cache = dyn_cast<KvCacheType>(arg.getType())) {
        using kernel::CacheHalf;
        if (cache.getQ8())
          for (CacheHalf half : {CacheHalf::k_q8, CacheHalf::k_scale, CacheHalf::v_q8, CacheHalf::v_scale})
            lowered_[arg].push_back(cacheHalf(half, cache, layer));
        else
          lowered_[arg] = {cacheHalf(CacheHalf::k, cache, layer), cacheHalf(CacheHalf::v, cache, layer)};
        cacheOf_[arg] = arg;
        ++layer;
        continue;
      }
      auto name = from_.getArgAttrOfType<StringAttr>(arg.getArgNumber(), kInputAttr);
      if (!name)
        return from_.emitOpError("argument ")
               << arg.getArgNumber() << ": expected a kv_cache or a tensor with " << kInputAttr << ", got "
               << arg.getType();
      Type type = kernel::InputType::get(b_.getContext(), *kernel::symbolizeInput(name.getValue()));
      lowered_[arg] = {kernel::InputOp::create(b_, arg.getLoc(), type)};
    }
    return success();
  }

  Value cacheHalf(kernel::CacheHalf half, KvCacheType cache, int32_t layer) {
    Type type = kernel::CacheType::get(b_.getContext(), half, cache.getHeads(), cache.getHeadDim());
    return kernel::CacheOp::create(b_, from_.getLoc(), type, layer);
  }

  LogicalResult lowerReturn(func::ReturnOp ret, func::FuncOp to) {
    if (ret.getNumOperands() < 1 || !isRows(ret.getOperand(0).getType()))
      return ret.emitOpError("expected the logits as the first value");
    // The caches live in one place, so what the function returns must be where each of them ended up.
    SmallVector<Value> caches;
    for (BlockArgument arg : from_.getArguments())
      if (isa<KvCacheType>(arg.getType()))
        caches.push_back(arg);
    if (ret.getNumOperands() != caches.size() + 1)
      return ret.emitOpError("expected the logits and ")
             << caches.size() << " caches, got " << ret.getNumOperands() << " values";
    for (auto [i, arg] : llvm::enumerate(caches))
      if (cacheOf_.lookup(ret.getOperand(i + 1)) != arg || changed_.contains(ret.getOperand(i + 1)))
        return ret.emitOpError("value ") << i + 1 << ": expected the last state of cache " << i;
    Value logits = lowered_[ret.getOperand(0)].front();
    to.setType(b_.getFunctionType({}, logits.getType()));
    func::ReturnOp::create(b_, ret.getLoc(), logits);
    return success();
  }

  LogicalResult lowerOp(Operation &op) {
    if (auto weight = dyn_cast<WeightOp>(op))
      return lowerWeight(weight);
    if (auto split = dyn_cast<SplitOp>(op)) {
      int64_t begin = 0;
      for (Value piece : split.getPieces()) {
        lowered_[piece] = {view(lowered_[split.getX()].front(), begin, width(piece.getType()))};
        begin += width(piece.getType());
      }
      return success();
    }
    return lowerCall(op);
  }

  LogicalResult lowerWeight(WeightOp weight) {
    auto packing = weight->getAttrOfType<StringAttr>(kPackingAttr);
    if (!packing)
      return weight.emitOpError("has no packing; run --bitnet-select-kernels first");
    SmallVector<Value, 2> &values = lowered_[weight.getValue()];
    if (weight->use_empty()) // its sizes were never checked
      return success();
    auto shapes = packedShapes(weight.getValue());
    shapes.front().packing = *kernel::symbolizePacking(packing.getValue());
    for (const PackedShape &shape : shapes) {
      Type type = kernel::ConstType::get(b_.getContext(), shape.packing, shape.rows, shape.cols);
      values.push_back(kernel::ConstantOp::create(b_, weight.getLoc(), type, weight.getNames(),
                                                  b_.getDenseI32ArrayAttr(weight.partRows()), FloatAttr(),
                                                  DenseF64ArrayAttr(), FloatAttr()));
    }
    return success();
  }

  /// An op with a kernel: its operands and results in the order of the signature (KernelOf.h).
  LogicalResult lowerCall(Operation &op) {
    std::optional<KernelOf> kernel = kernelOf(&op);
    if (!kernel)
      return op.emitOpError("cannot become a kernel call");
    auto choices = op.getAttrOfType<DenseI32ArrayAttr>(kChoicesAttr);
    if (!choices)
      return op.emitOpError("has no kernel; run --bitnet-select-kernels first");

    const StringRef name = op.getAttrOfType<StringAttr>(kKernelAttr).getValue();
    if (name == format::op_name(format::Op::skip_down))
      return lowerSkippingDown(cast<TernaryLinearOp>(op), kernel->dims, choices.asArrayRef());
    if (name == format::op_name(format::Op::skip_up)) { // the arguments are the same
      format::OpDims dims;
      dims.n = kernel->dims.n, dims.k = kernel->dims.k;
      kernel = KernelOf{format::Op::skip_up, dims};
    }

    SmallVector<Value> ins, outs;
    RowSpace space = RowSpace::R;
    for (Value operand : op.getOperands()) {
      if (isa<KvCacheType>(operand.getType())) {
        if (changed_.contains(operand))
          return op.emitOpError("reads a cache that a kv_append before it has changed");
        llvm::append_range(isa<KvAppendOp>(op) ? outs : ins, lowered_[operand]);
        continue;
      }
      llvm::append_range(ins, lowered_[operand]);
      if (auto slice = dyn_cast<kernel::SliceType>(lowered_[operand].front().getType()))
        space = slice.getRowSpace();
    }
    if (auto rope = dyn_cast<RopeOp>(op))
      llvm::append_range(ins, ropeTables(rope));
    if (isa<GatherRowsOp>(op))
      space = RowSpace::L;
    if (kernel->dims.group) // q, s, sum
      ins[2] = groupSums(op, ins[0], kernel->dims, space);
    for (Value result : op.getResults())
      lowerResult(op, result, *kernel, space, outs);
    if (isa<AttentionOp>(op))
      lowerAttention(op, *kernel, ins, outs);
    else
      kernel::CallOp::create(b_, op.getLoc(), kernel->op, kernel->dims, choices.asArrayRef(), labels_.of(&op),
                             ins, outs);
    if (auto screened = op.getAttrOfType<DenseI32ArrayAttr>(kScreenChoicesAttr))
      kernel::ScreenOp::create(b_, op.getLoc(), screenOf(cast<LinearOp>(op), *kernel), screened);
    // Only the columns that exist in the model go on.
    for (Value result : op.getResults())
      if (isRows(result.getType()))
        lowered_[result].front() = view(lowered_[result].front(), 0, width(result.getType()));
    return success();
  }

  /// The sums of q's groups of columns, once for all products that want the same.
  Value groupSums(Operation &op, Value q, const format::OpDims &product, RowSpace space) {
    Value &sums = groupSums_[{q, product.group}];
    if (sums)
      return sums;
    sums = alloc(space, product.k / product.group, b_.getI32Type());
    format::OpDims dims;
    dims.k = product.k, dims.group = product.group;
    kernel::CallOp::create(b_, op.getLoc(), format::Op::group_sums, dims, {0, 0},
                           labels_.of(&op) + ".group_sums", q, sums);
    return sums;
  }

  /// Few rows: chunk by chunk, then merged. More: whole. The numbers are the same.
  void lowerAttention(Operation &op, const KernelOf &whole, ValueRange ins, ValueRange outs) {
    const format::Op chunk =
        whole.op == format::Op::attention_q8 ? format::Op::attention_chunk_q8 : format::Op::attention_chunk;
    const int32_t few[] = {format::kSplitRows, 0, 0, -1}, many[] = {format::kSplitRows, -1, 0, 0};
    Type type = kernel::CacheType::get(b_.getContext(), kernel::CacheHalf::parts, whole.dims.heads,
                                       whole.dims.head_dim);
    Value parts = kernel::CacheOp::create(b_, op.getLoc(), type, 0);
    const std::string label = labels_.of(&op);
    kernel::CallOp::create(b_, op.getLoc(), chunk, whole.dims, few, label + ".chunks", ins, parts);
    Value positions = ins[ins.size() - 3];
    kernel::CallOp::create(b_, op.getLoc(), format::Op::attention_merge, whole.dims, few, label + ".merge",
                           {parts, positions}, outs);
    kernel::CallOp::create(b_, op.getLoc(), whole.op, whole.dims, many, label, ins, outs);
  }

  /// The screen of a head's matrix; it stands before the head's call, which is the last.
  Value screenOf(LinearOp head, const KernelOf &kernel) {
    OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPoint(&b_.getInsertionBlock()->back());
    auto weight = head.getW().getDefiningOp<WeightOp>();
    Type type =
        kernel::ConstType::get(b_.getContext(), kernel::Packing::screen, kernel.dims.n, kernel.dims.k);
    return kernel::ConstantOp::create(b_, weight.getLoc(), type, weight.getNames(),
                                      b_.getDenseI32ArrayAttr(weight.partRows()), FloatAttr(),
                                      DenseF64ArrayAttr(), FloatAttr());
  }

  /// A product that leaves out inputs of 0: its sums by ranges of inputs, then their sum.
  LogicalResult lowerSkippingDown(TernaryLinearOp op, const format::OpDims &dims, ArrayRef<int32_t> choices) {
    const SmallVector<Value, 2> s = lowered_.lookup(op.getS()), w = lowered_.lookup(op.getW());
    Value q = lowered_.lookup(op.getQ()).front();
    const RowSpace space = cast<kernel::SliceType>(q.getType()).getRowSpace();
    const std::string label = labels_.of(op);
    Value sums = alloc(space, int64_t(format::kSkipRanges) * dims.n, b_.getI32Type());
    format::OpDims down, sum;
    down.n = dims.n, down.k = dims.k;
    sum.n = dims.n, sum.epilogue = dims.epilogue;
    kernel::CallOp::create(b_, op.getLoc(), format::Op::skip_down, down, choices, label, ValueRange{q, w[0]},
                           ValueRange{sums});
    SmallVector<Value> ins{sums, s[0], s[1], w[1]};
    if (op.getResidual())
      ins.push_back(lowered_.lookup(op.getResidual()).front());
    Value y = alloc(space, dims.n, b_.getF32Type());
    lowered_[op.getY()] = {y};
    kernel::CallOp::create(b_, op.getLoc(), format::Op::skip_sum, sum, {0, 0}, label + ".sum", ins,
                           ValueRange{y});
    return success();
  }

  void lowerResult(Operation &op, Value result, const KernelOf &kernel, RowSpace space,
                   SmallVector<Value> &outs) {
    if (auto append = dyn_cast<KvAppendOp>(op)) { // written in place: outs has the cache already
      // lookup copies: a reference into the map would dangle when inserting `result` grows it.
      lowered_[result] = lowered_.lookup(append.getCache());
      cacheOf_[result] = cacheOf_.lookup(append.getCache());
      changed_.insert(append.getCache());
      return;
    }
    SmallVector<Value, 2> &values = lowered_[result];
    Type element = cast<RankedTensorType>(result.getType()).getElementType();
    if (isRowScalars(result.getType())) { // s and sum
      values = {alloc(space, 1, element), alloc(space, 1, b_.getI32Type())};
    } else {
      const bool isLinear = isa<TernaryLinearOp, GatedLinearOp, LinearOp, Int8LinearOp>(op);
      values = {alloc(space, isLinear ? kernel.dims.n : width(result.getType()), element)};
    }
    llvm::append_range(outs, values);
  }

  SmallVector<Value, 2> ropeTables(RopeOp rope) {
    SmallVector<Value, 2> &tables = ropeTables_[{
        rope.getTheta().convertToFloat(), rope.getHeadDim(), rope.getContextLength(),
        rope.getFrequenciesAttr().getAsOpaquePointer(), rope.getMagnitudeAttr().getAsOpaquePointer()}];
    if (tables.empty())
      for (auto packing : {kernel::Packing::rope_cos, kernel::Packing::rope_sin}) {
        Type type =
            kernel::ConstType::get(b_.getContext(), packing, rope.getContextLength(), rope.getHeadDim() / 2);
        tables.push_back(kernel::ConstantOp::create(b_, rope.getLoc(), type, b_.getArrayAttr({}),
                                                    b_.getDenseI32ArrayAttr({}), rope.getThetaAttr(),
                                                    rope.getFrequenciesAttr(), rope.getMagnitudeAttr()));
      }
    return tables;
  }

  Value alloc(RowSpace space, int64_t width, Type element) {
    Type type = kernel::SliceType::get(b_.getContext(), space, width, element);
    return kernel::AllocOp::create(b_, from_.getLoc(), type, IntegerAttr());
  }
  Value view(Value source, int64_t begin, int64_t width) {
    auto type = cast<kernel::SliceType>(source.getType());
    if (type.getWidth() == width)
      return source;
    Type part = kernel::SliceType::get(b_.getContext(), type.getRowSpace(), width, type.getElement());
    return b_.createOrFold<kernel::ViewOp>(source.getLoc(), part, source, begin);
  }

  func::FuncOp from_;
  OpBuilder b_;
  Labels labels_;
  llvm::DenseMap<Value, SmallVector<Value, 2>> lowered_;
  llvm::DenseMap<std::pair<Value, int32_t>, Value> groupSums_; ///< of q and a number of columns
  llvm::DenseMap<Value, Value> cacheOf_; ///< state of a cache → the argument it started as
  llvm::DenseSet<Value> changed_;        ///< states that a kv_append has replaced
  /// By theta, D, context, frequencies and magnitude (attributes are unique).
  std::map<std::tuple<float, uint32_t, uint32_t, const void *, const void *>, SmallVector<Value, 2>>
      ropeTables_;
};

struct LowerToKernel final : impl::LowerToKernelPassBase<LowerToKernel> {
  void runOnOperation() override {
    for (func::FuncOp func : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (failed(FunctionLowering(func).run()))
        return signalPassFailure();
    WalkResult result = getOperation().walk([&](Operation *op) {
      if (!isa_and_nonnull<BitNetDialect>(op->getDialect()))
        return WalkResult::advance();
      op->emitOpError("is left over after lowering to kernels");
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
} // namespace bitnet::compiler
