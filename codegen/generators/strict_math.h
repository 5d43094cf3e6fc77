// codegen/reference/scalar_math.h as Halide expressions: the same operations in the same order, so that a
// kernel equals its twin bit for bit on every CPU variant. Targets must carry strict_float, which keeps LLVM
// from contracting or reassociating them. Never Halide's own max, min, round, exp or unary minus here: they
// differ between machines.
#pragma once
#include "runtime/format/cpu_variants.h"
#include "runtime/format/kernel_ops.h"
#include <Halide.h>

namespace bitnet::codegen {

constexpr float kLowest = -3.402823466e38f; ///< -FLT_MAX
constexpr float kRoundMagic = 12582912.0f;  ///< 1.5 * 2^23: added, the low bits are the nearest integer

inline Halide::Expr plus(Halide::Expr a, Halide::Expr b) { return a + b; }
Halide::Expr sel_max(Halide::Expr a, Halide::Expr b);
Halide::Expr sel_min(Halide::Expr a, Halide::Expr b);
/// clamp(round_half_even(x), -127, 127) as Int(8). NaN gives -127.
Halide::Expr round_to_int8(Halide::Expr x);
/// exp(x) for x <= 0; 0 below -87.
Halide::Expr exp_nonpositive(Halide::Expr x);
/// act(x), in the forms that scalar_math.h documents.
Halide::Expr activation(format::Act act, Halide::Expr x);

/// u16 bits of a finite f16 → f32, by the machine's conversion where the variant has one: the same bits, but
/// for infinities and NaNs, which weights and caches never hold.
Halide::Expr f16_to_f32(Halide::Expr bits, format::CpuVariant cpu);
/// f32 → u16 bits of the nearest f16, ties to even, saturated to ±65504.
Halide::Expr f32_to_f16_saturated(Halide::Expr x);

/// Reduces a Func of (lane, rest...), lane in [0, n), by halving: lane l takes lane l + n/2, then n/4 and so
/// on; the result is lane 0. Every step is one vector operation, computed at `at`, in registers or on the
/// stack.
Halide::Func halving_tree(Halide::Func lanes, int n, const std::vector<Halide::Var> &rest,
                          Halide::Expr (*combine)(Halide::Expr, Halide::Expr), const Halide::LoopLevel &at);

} // namespace bitnet::codegen
