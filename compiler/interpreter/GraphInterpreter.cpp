// See GraphInterpreter.h. How an op's operands and results become a kernel's arguments is KernelOf.h's rule.
#include "compiler/interpreter/GraphInterpreter.h"
#include "compiler/bundle/PlanExport.h"
#include "compiler/pack/Pack.h"
#include "compiler/transforms/KernelOf.h"
#include "dialects/BitNet/BitNet.h"
#include "dialects/Kernel/Kernel.h"
#include "runtime/format/layouts.h"
#include <cstring>

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
namespace {

llvm::Error unsupported(Operation &op, const char *what) {
  return llvm::createStringError("interpreter: '%s': %s", op.getName().getStringRef().str().c_str(), what);
}

int64_t rowBytes(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return (isRows(type) ? width(type) : 1) * (tensor.getElementTypeBitWidth() / 8);
}

std::shared_ptr<std::vector<uint8_t>> memoryOf(const void *data, size_t bytes) {
  auto *first = static_cast<const uint8_t *>(data);
  return std::make_shared<std::vector<uint8_t>>(first, first + bytes);
}

} // namespace

GraphInterpreter::Cell GraphInterpreter::allocate(bool ofLogitRows, int64_t rowBytes) const {
  const int32_t rows = ofLogitRows ? extents_.logits : extents_.rows;
  return {std::make_shared<std::vector<uint8_t>>(size_t(rows) * rowBytes, 0xff), 0, 0, ofLogitRows};
}

/// f32 in (-4, 4), a function of seed, argument, sequence, position and column.
GraphInterpreter::Cell GraphInterpreter::randomRows(BlockArgument arg, const StepInput &input) const {
  const int64_t k = width(arg.getType());
  Cell cell = allocate(false, rowBytes(arg.getType()));
  auto *values = reinterpret_cast<float *>(cell.memory->data());
  for (int32_t r = 0; r < input.rows(); ++r) {
    const uint64_t key = mix(mix(seed_ + arg.getArgNumber()) ^ uint64_t(input.sequences[r])) ^
                         mix(uint64_t(input.positions[r]));
    for (int64_t i = 0; i < k; ++i)
      values[r * k + i] = float(int64_t(mix(key + uint64_t(i)) >> 40) - (1 << 23)) * 0x1p-21f;
  }
  return cell;
}

llvm::Error GraphInterpreter::bindArguments(StepInput &input) {
  size_t layer = 0;
  for (BlockArgument arg : function_.getArguments()) {
    if (auto cache = dyn_cast<KvCacheType>(arg.getType())) {
      const size_t scales = size_t(extents_.kvBlocks) * format::kKvBlockTokens * cache.getHeads();
      if (layer == caches_.size()) {
        caches_.emplace_back();
        for (int half = 0; half < 2; ++half) {
          const size_t bytes = scales * cache.getHeadDim() * (cache.getQ8() ? 1 : 2);
          caches_.back().push_back(Cell{std::make_shared<std::vector<uint8_t>>(bytes)});
          if (cache.getQ8())
            caches_.back().push_back(Cell{std::make_shared<std::vector<uint8_t>>(scales * 4)});
        }
      }
      values_[arg] = caches_[layer++];
      continue;
    }
    if (auto name = function_.getArgAttrOfType<StringAttr>(arg.getArgNumber(), kInputAttr)) {
      const auto which = *kernel::symbolizeInput(name.getValue());
      const std::vector<int32_t> &data = *input.byInput()[size_t(which)];
      values_[arg] = {Cell{memoryOf(data.data(), data.size() * 4)}};
    } else if (isRows(arg.getType()) && cast<RankedTensorType>(arg.getType()).getElementType().isF32()) {
      values_[arg] = {randomRows(arg, input)};
    } else {
      return llvm::createStringError(
          "interpreter: argument %u: expected a kv_cache, f32 rows or one with bitnet.input",
          arg.getArgNumber());
    }
  }
  return llvm::Error::success();
}

llvm::Expected<GraphInterpreter::Cells> GraphInterpreter::weightCells(Operation &op) {
  auto weight = cast<WeightOp>(op);
  Cells cells;
  for (const PackedShape &shape : packedShapes(weight.getValue())) {
    Constant c;
    c.packing = packingOf(shape.packing);
    for (Attribute name : weight.getNames())
      c.names.push_back(cast<StringAttr>(name).str());
    c.rows = shape.rows;
    c.cols = shape.cols;
    llvm::Expected<std::vector<uint8_t>> bytes = packConstant(c, weights_);
    if (!bytes)
      return bytes.takeError();
    cells.push_back({std::make_shared<std::vector<uint8_t>>(std::move(*bytes))});
  }
  return cells;
}

llvm::Expected<GraphInterpreter::Cells> GraphInterpreter::ropeTables(Operation &op) {
  auto rope = cast<RopeOp>(op);
  Cells cells;
  for (Packing packing : {Packing::ropeCos, Packing::ropeSin}) {
    Constant c;
    c.packing = packing;
    c.rows = int32_t(rope.getContextLength());
    c.cols = int32_t(rope.getHeadDim() / 2);
    c.theta = rope.getTheta().convertToFloat();
    if (rope.getFrequencies())
      c.frequencies = rope.getFrequencies()->vec();
    c.magnitude = rope.getMagnitude() ? rope.getMagnitude()->convertToFloat() : 1;
    llvm::Expected<std::vector<uint8_t>> bytes = packConstant(c, weights_);
    if (!bytes)
      return bytes.takeError();
    cells.push_back({std::make_shared<std::vector<uint8_t>>(std::move(*bytes))});
  }
  return cells;
}

llvm::Error GraphInterpreter::runOp(Operation &op) {
  if (isa<WeightOp, RopeOp>(op) && !constants_.count(&op)) {
    llvm::Expected<Cells> cells = isa<WeightOp>(op) ? weightCells(op) : ropeTables(op);
    if (!cells)
      return cells.takeError();
    constants_[&op] = std::move(*cells);
  }
  if (auto weight = dyn_cast<WeightOp>(op)) {
    values_[weight.getValue()] = constants_[&op];
    return llvm::Error::success();
  }
  if (auto split = dyn_cast<SplitOp>(op)) {
    Cell piece = values_[split.getX()].front();
    if (!piece.rowStride)
      piece.rowStride = rowBytes(split.getX().getType());
    for (Value result : split.getPieces()) {
      values_[result] = {piece};
      piece.begin += rowBytes(result.getType());
    }
    return llvm::Error::success();
  }

  std::optional<KernelOf> kernel = kernelOf(&op);
  if (!kernel)
    return unsupported(op, "not an op of the bitnet dialect that computes something");
  if (const char *why = kernelError(&op, *kernel))
    return unsupported(op, why);
  llvm::SmallVector<TwinArg> args;
  bool ofLogitRows = isa<GatherRowsOp>(op);
  for (Value operand : op.getOperands()) {
    for (const Cell &cell : values_[operand])
      args.push_back(cell.arg());
    if (isRows(operand.getType()))
      ofLogitRows |= values_[operand].front().ofLogitRows;
  }
  if (isa<RopeOp>(op))
    for (const Cell &cell : constants_[&op])
      args.push_back(cell.arg());
  Cell groupSums; // take the place of sum, after q and s
  if (kernel->dims.group) {
    format::OpDims dims;
    dims.k = kernel->dims.k, dims.group = kernel->dims.group;
    groupSums = allocate(ofLogitRows, dims.k / dims.group * 4);
    if (llvm::Error e =
            runTwin(format::Op::group_sums, dims, ofLogitRows, {args[0], groupSums.arg()}, extents_))
      return e;
    args[2] = groupSums.arg();
  }
  for (Value result : op.getResults()) {
    Cells &cells = values_[result];
    if (auto append = dyn_cast<KvAppendOp>(op)) { // its cache is the last operand, and written in place
      Cells updated = values_[append.getCache()];
      values_[result] = updated;
      continue;
    }
    const bool isLinear = isa<TernaryLinearOp, GatedLinearOp, LinearOp, Int8LinearOp>(op);
    const int64_t bytes = isLinear ? int64_t(kernel->dims.n) * 4 : rowBytes(result.getType());
    cells = {allocate(ofLogitRows, bytes)};
    if (isLinear)
      cells.front().rowStride = bytes; // rows may be padded beyond the result's width
    if (isRowScalars(result.getType()))
      cells.push_back(allocate(ofLogitRows, 4)); // sum
    for (const Cell &cell : cells)
      args.push_back(cell.arg());
  }
  return runTwin(kernel->op, kernel->dims, ofLogitRows, args, extents_);
}

void GraphInterpreter::appendRows(Value value, std::vector<uint8_t> &out) {
  const Cell &cell = values_[value].front();
  const int64_t bytes = rowBytes(value.getType()), stride = cell.rowStride ? cell.rowStride : bytes;
  const int32_t rows = cell.ofLogitRows ? extents_.logits : extents_.rows;
  for (int32_t r = 0; r < rows; ++r) {
    const uint8_t *row = cell.memory->data() + cell.begin + r * stride;
    out.insert(out.end(), row, row + bytes);
  }
}

llvm::Expected<std::vector<uint8_t>> GraphInterpreter::step(StepInput input) {
  if (!function_.getBody().hasOneBlock())
    return llvm::createStringError("interpreter: expected a function of one block");
  extents_ = {input.rows(),     int32_t(input.logitRows.size()), input.kvBlocks(),
              input.nSequences, input.blocksPerSequence,         input.lastPosition()};
  values_.clear();
  if (llvm::Error e = bindArguments(input))
    return e;
  std::vector<uint8_t> out;
  for (Operation &op : function_.getBody().front()) {
    if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      for (Value value : ret.getOperands())
        if (isa<RankedTensorType>(value.getType()))
          appendRows(value, out);
    } else if (llvm::Error e = runOp(op)) {
      return e;
    }
  }
  return out;
}

} // namespace bitnet::compiler
