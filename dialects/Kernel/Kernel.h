// The kernel dialect: kernel calls on arena slices and packed constants. Definitions are in the .td files
// beside this header; kernels, sizes and argument lists are runtime/format/kernel_ops.h's.
#pragma once
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "runtime/format/kernel_ops.h"

#include "dialects/Kernel/KernelEnums.h.inc"

namespace mlir::kernel {
bool isKernelName(Attribute attr);
/// Constraint C5 of kernel.call.
LogicalResult verifyChoices(Operation *op, DenseI32ArrayAttr choices);

inline constexpr llvm::StringLiteral kMaxRowsAttr = "kernel.max_rows";       ///< i32
inline constexpr llvm::StringLiteral kArenaBytesAttr = "kernel.arena_bytes"; ///< i64
} // namespace mlir::kernel

// Generated code leaves parameters unused.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "dialects/Kernel/KernelDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Kernel/KernelTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/Kernel/KernelOps.h.inc"
#pragma GCC diagnostic pop
