// The kernels that are not generated: compiled with this project, one object for each op, row tile and CPU
// variant, and carried along as bytes.
#pragma once
#include "codegen/compile.h"

namespace bitnet::codegen {

/// Whether the op's kernels are built ones.
bool is_built(format::Op op);
/// compile_kernel for such a spec, which is legal. There is no stmt.
bool built_kernel(const KernelSpec &spec, Emit what, std::string *bytes, std::string *error);

} // namespace bitnet::codegen
