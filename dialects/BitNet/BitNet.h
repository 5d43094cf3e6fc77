// The bitnet dialect: what a ternary language model computes. Definitions are in the .td files beside this
// header.
#pragma once
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace mlir::bitnet {

/// tensor<?xWIDTHxelem>: the rows of a step, one activation vector each.
bool isRows(Type type);
/// tensor<?xelem>: one number for each row.
bool isRowScalars(Type type);
/// tensor<?x?xi32>: cache blocks of each sequence.
bool isBlockTable(Type type);
/// Columns of a rows tensor, elements of a vector.
int64_t width(Type type);
bool isActivation(Attribute attr);
bool isEpsilon(Attribute attr);

/// Names of the attributes that this dialect puts on others' ops and arguments, and that select-kernels adds.
inline constexpr llvm::StringLiteral kInputAttr = "bitnet.input";
inline constexpr llvm::StringLiteral kKernelAttr = "bitnet.kernel";
inline constexpr llvm::StringLiteral kChoicesAttr = "bitnet.choices";
inline constexpr llvm::StringLiteral kScreenChoicesAttr = "bitnet.screen_choices"; ///< of a screened linear
inline constexpr llvm::StringLiteral kPackingAttr = "bitnet.packing";

} // namespace mlir::bitnet

// Generated code leaves parameters unused.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "dialects/BitNet/BitNetDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/BitNet/BitNetTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/BitNet/BitNetOps.h.inc"
#pragma GCC diagnostic pop
