// What a pass decided, for people: bitnetc --explain prints it.
#pragma once
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Operation.h"

namespace bitnet::compiler {

/// One line for each decision, as a remark, in the form in which the importer tells its own:
/// "decided: WHAT = VALUE: REASON". A pass that has something to say has an option `explain`, off by default.
inline void explain(mlir::Operation *op, const llvm::Twine &what, const llvm::Twine &value,
                    const llvm::Twine &reason) {
  mlir::emitRemark(op->getLoc()) << "decided: " << what << " = " << value << ": " << reason;
}

} // namespace bitnet::compiler
