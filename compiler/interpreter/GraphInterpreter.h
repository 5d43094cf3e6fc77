// Runs a function of the bitnet dialect, op by op, on the scalar twins: every tensor in memory of its own, no
// plan. What a pass must leave unchanged is what this computes.
#pragma once
#include "compiler/interpreter/Steps.h"
#include "compiler/interpreter/TwinCall.h"
#include "compiler/pack/WeightSource.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <memory>

namespace bitnet::compiler {

class GraphInterpreter {
public:
  /// `function` and `weights` must outlive this. Rows arguments that no bitnet.input names get seeded values.
  GraphInterpreter(mlir::func::FuncOp function, const WeightSource &weights, uint64_t seed)
      : function_(function), weights_(weights), seed_(seed) {}

  /// The returned tensors' bytes, one after the other, rows dense.
  llvm::Expected<std::vector<uint8_t>> step(StepInput input);

private:
  /// One kernel argument: memory that is shared with the values it is a part of.
  struct Cell {
    std::shared_ptr<std::vector<uint8_t>> memory;
    int64_t begin = 0, rowStride = 0; ///< bytes; 0 = dense
    bool ofLogitRows = false;
    TwinArg arg() const { return {memory->data() + begin, rowStride}; }
  };
  using Cells = llvm::SmallVector<Cell, 2>;

  llvm::Error bindArguments(StepInput &input);
  llvm::Error runOp(mlir::Operation &op);
  llvm::Expected<Cells> weightCells(mlir::Operation &op);
  llvm::Expected<Cells> ropeTables(mlir::Operation &op);
  Cell allocate(bool ofLogitRows, int64_t rowBytes) const;
  Cell randomRows(mlir::BlockArgument arg, const StepInput &input) const;
  void appendRows(mlir::Value value, std::vector<uint8_t> &out);

  mlir::func::FuncOp function_;
  const WeightSource &weights_;
  uint64_t seed_;
  StepExtents extents_;
  llvm::DenseMap<mlir::Value, Cells> values_;          ///< of this step
  llvm::DenseMap<mlir::Operation *, Cells> constants_; ///< packed weights and rope tables, kept
  llvm::SmallVector<Cells> caches_;                    ///< by layer, kept
};

} // namespace bitnet::compiler
