// Inside compiler/pack: one function for each packing, chosen in Pack.cpp.
#pragma once
#include "compiler/pack/Pack.h"

namespace bitnet::compiler {
using Sink = std::function<llvm::Error(const uint8_t *, size_t)>;

llvm::Error packT2(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report);
llvm::Error packRowScale(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packF16(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report);
llvm::Error packS8(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packS8Scale(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packF32(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packRope(const Constant &c, const Sink &sink);
} // namespace bitnet::compiler
