// One kernel on raw memory, computed by its scalar twin. Builds the argument list that a compiled kernel
// would get; knows nothing of IR or plans.
#pragma once
#include "runtime/format/kernel_ops.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

namespace bitnet::compiler {

/// Memory of one argument. The caller answers for its size.
struct TwinArg {
  void *data = nullptr;
  int64_t rowStride = 0; ///< bytes between rows; 0 = dense
};

/// The symbolic extents of format::Arg.
struct StepExtents {
  int32_t rows = 0;   ///< R
  int32_t logits = 0; ///< L
  int32_t kvBlocks = 0, sequences = 0, sequenceBlocks = 0;
  int32_t lastPosition = 0; ///< of all rows
};

/// All rows and work units of a call. `args` in the order of format::signature(op, dims).
llvm::Error runTwin(format::Op op, const format::OpDims &dims, bool overLogitRows,
                    llvm::ArrayRef<TwinArg> args, const StepExtents &extents);

} // namespace bitnet::compiler
