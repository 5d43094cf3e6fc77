// The kernels of one test program: each spec is compiled and mapped once, whatever number of tests use it.
#pragma once
#include "test/codegen/kernel_runner.h"
#include <vector>

namespace bitnet::codegen {

/// The kernel's function; on a failure to compile, records a test failure and returns nullptr.
format::KernelFn compiled(const KernelSpec &spec);
/// The variants whose code this machine can run.
std::vector<format::CpuVariant> runnable_variants();

} // namespace bitnet::codegen
