// The kernel dialect after plan-memory → Plan, the plain struct that everything below works with.
#pragma once
#include "compiler/bundle/Plan.h"
#include "dialects/Kernel/Kernel.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace bitnet::compiler {

/// Calls keep their order; equal constants become one, in the order of their first use. Fails on a module
/// that is not a planned step.
llvm::Expected<Plan> exportPlan(mlir::ModuleOp module);

Packing packingOf(mlir::kernel::Packing packing);

} // namespace bitnet::compiler
