// See RandomWeights.h.
#include "compiler/interpreter/RandomWeights.h"
#include "compiler/interpreter/Steps.h"
#include "dialects/BitNet/BitNet.h"
#include "dialects/Kernel/Kernel.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;

namespace bitnet::compiler {

/// Columns of each tensor that a weight op names.
static int32_t columns(mlir::bitnet::WeightOp op) {
  Type type = op.getValue().getType();
  if (auto t = dyn_cast<mlir::bitnet::TernaryType>(type))
    return int32_t(t.getCols());
  if (auto t = dyn_cast<mlir::bitnet::Int8MatrixType>(type))
    return int32_t(t.getCols());
  return int32_t(cast<RankedTensorType>(type).getShape().back());
}

/// Scales of a row.
static int32_t groups(mlir::bitnet::WeightOp op) {
  auto t = dyn_cast<mlir::bitnet::TernaryType>(op.getValue().getType());
  return t ? int32_t(t.groups()) : 1;
}

RandomWeights::RandomWeights(ModuleOp module, uint64_t seed) : seed_(seed) {
  module.walk([&](mlir::bitnet::WeightOp op) {
    for (auto [name, rows] : llvm::zip_equal(op.getNames(), op.partRows()))
      shapes_[cast<StringAttr>(name).getValue()] = {rows, columns(op), groups(op)};
  });
  module.walk([&](kernel::ConstantOp op) {
    for (auto [name, rows] : llvm::zip_equal(op.getNames(), op.getRows())) {
      Shape &shape = shapes_[cast<StringAttr>(name).getValue()];
      shape.rows = rows;
      const bool ofGroups = op.getValue().getType().getPacking() == kernel::Packing::group_scale;
      (ofGroups ? shape.groups : shape.cols) = int32_t(op.getValue().getType().getCols());
    }
  });
}

llvm::Expected<RandomWeights::Shape> RandomWeights::shapeOf(const std::string &name) const {
  auto at = shapes_.find(name);
  if (at == shapes_.end())
    return llvm::createStringError("tensor '%s': expected one that the module names", name.c_str());
  return at->second;
}

uint64_t RandomWeights::keyOf(const std::string &name) const { return mix(seed_ ^ llvm::xxh3_64bits(name)); }

llvm::Expected<import::TernaryMatrix> RandomWeights::ternary(const std::string &name) const {
  llvm::Expected<Shape> shape = shapeOf(name);
  if (!shape)
    return shape.takeError();
  import::TernaryMatrix m{shape->rows, shape->cols, 0, {}, {}};
  const uint64_t key = keyOf(name);
  m.trits.reserve(size_t(m.rows) * m.cols);
  for (uint64_t i = 0; i < uint64_t(m.rows) * uint64_t(m.cols); ++i)
    m.trits.push_back(int8_t(mix(key + i) % 3) - 1);
  m.scales = {0.01f + float(key % 1000) * 1e-4f};
  if (shape->groups == 1)
    return m;
  m.groupCols = m.cols / shape->groups;
  m.scales.clear();
  for (uint64_t i = 0; i < uint64_t(m.rows) * uint64_t(shape->groups); ++i)
    m.scales.push_back(0.01f + float(mix(key - i) % 1000) * 1e-4f);
  return m;
}

llvm::Expected<import::DenseTensor> RandomWeights::dense(const std::string &name, int32_t begin,
                                                         int32_t end) const {
  llvm::Expected<Shape> shape = shapeOf(name);
  if (!shape)
    return shape.takeError();
  end = std::min(end, shape->rows);
  import::DenseTensor t{std::max(end - begin, 0), shape->cols, {}};
  const uint64_t key = keyOf(name);
  for (uint64_t i = uint64_t(begin) * t.cols; i < uint64_t(end) * t.cols; ++i) {
    const float unit =
        (float(mix(key + i) % 2048) - 1023.5f) / 1024.0f; // 11 bits and a half: exact in f16 below 1/2
    t.values.push_back(shape->rows == 1 ? 1.0f + unit / 8 : unit);
  }
  return t;
}

} // namespace bitnet::compiler
