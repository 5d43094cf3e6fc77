// Which kernel computes a bitnet op, and with which sizes. The one place that relates the two levels' ops.
#pragma once
#include "dialects/Kernel/Kernel.h"
#include "mlir/IR/Operation.h"
#include "runtime/format/kernel_ops.h"
#include <optional>

namespace bitnet::compiler {

struct KernelOf {
  format::Op op = format::Op::count;
  format::OpDims dims; ///< may be illegal, see kernelError
};

/// nullopt for ops that compute nothing (weight, split) and ops of other dialects.
///
/// The arguments of the kernel (format::signature) are the operands and then the results of the op in order,
/// where
/// - a ternary or int8 matrix stands for two: its bytes and its scales,
/// - row scales `s` of int8 rows stand for two: s and sum; where the matrix has groups of columns, the sums
/// of the groups (kernel group_sums) take the place of sum,
/// - a KV cache stands for two, keys and values, or for four, each with its scales; the updated cache of
/// kv_append is the cache it was given,
/// - rope's cos and sin tables follow its positions.
std::optional<KernelOf> kernelOf(mlir::Operation *op);

/// Why no kernel computes `op` with these sizes, or nullptr.
const char *kernelError(mlir::Operation *op, const KernelOf &kernel);

/// Rows of a matrix as packed: whole stripes.
int32_t paddedRows(int64_t rows);

/// The packed constants that a weight of this type stands for, in the order of the kernel's arguments.
struct PackedShape {
  mlir::kernel::Packing packing;
  int32_t rows, cols;
};
/// Of a ternary matrix: by the packing that select-kernels gave it, t2 before.
llvm::SmallVector<PackedShape, 2> packedShapes(mlir::Value weight);

} // namespace bitnet::compiler
