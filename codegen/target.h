// CPU variant → what code generation may assume about the machine. Each fact that a schedule uses is one
// small named function; a schedule never asks for a feature bit itself.
#pragma once
#include "runtime/format/cpu_variants.h"
#include <Halide.h>

namespace bitnet::codegen {

/// 64-bit Linux with exactly the variant's features, strict floats, and none of Halide's runtime, asserts or
/// queries.
Halide::Target halide_target(format::CpuVariant cpu);

/// Bits of the widest vector register worth using.
int vector_bits(format::CpuVariant cpu);
/// f32 or i32 lanes of such a register.
inline int vector_lanes(format::CpuVariant cpu) { return vector_bits(cpu) / 32; }
/// Architectural vector registers.
int vector_registers(format::CpuVariant cpu);
/// u8 x i8 dot products of four, added to i32 lanes (vpdpbusd).
bool has_dot4(format::CpuVariant cpu);
/// u8 x i8 products added in pairs to i16 lanes (vpmaddubsw).
bool has_pair_dot(format::CpuVariant cpu);

} // namespace bitnet::codegen
