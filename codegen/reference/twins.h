// The scalar twins: for each op a plain C++ function with the kernel's own argument list. They define the numbers:
// every CPU variant must equal them bit for bit. Compiled with -ffp-contract=off; no libm but sqrtf and fabsf.
#pragma once
#include "runtime/format/kernel_ops.h"

namespace bitnet::codegen {

/// Runs the twin of `op`: args as for a compiled kernel (kernel_ops.h Signature). Computes exactly rows [0, rows), work
/// units [begin, end) of linear ops; never touches pad rows.
int run_twin(format::Op op, const format::OpDims &dims, void *const *args);

} // namespace bitnet::codegen
