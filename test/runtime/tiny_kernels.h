// Machine code for the tiny bundle: the bytes of a section of this very program.
#pragma once
#include "runtime/format/kernel_ops.h"
#include <string>

namespace bitnet::test {

/// Position-independent code of all tiny kernels, padded to 4096.
std::string tiny_code();
/// Offset in tiny_code() of the kernel for an op.
uint64_t tiny_entry(format::Op op);

} // namespace bitnet::test
