// The compiler from options to output: import → bitnet dialect → passes → plan → kernels → bundle.
#pragma once
#include "compiler/driver/Options.h"

namespace bitnet::compiler {

llvm::Error compile(const Options &options);

} // namespace bitnet::compiler
