// What one row of a ternary linear costs with each packing of its weights, from measured rates. The compiler
// packs a matrix by it; nothing here knows the machine that compiles.
#pragma once
#include "runtime/format/cpu_variants.h"
#include "runtime/format/kernel_ops.h"
#include <vector>

namespace bitnet::codegen {

/// A machine at work, as measured: a core's share of the memory bandwidth, and the rate of its one-row
/// kernels once the weights are there.
struct TernaryRates {
  const char *machine;
  format::CpuVariant cpu;
  double bytes_per_ns;   ///< a core's reads from memory
  double t2_macs_per_ns; ///< multiply-adds, weights in the cache
  double t3_macs_per_ns;
  double t5_macs_per_ns;
};
const std::vector<TernaryRates> &ternary_rates();

/// ns of one row on one core. Reading and computing overlap: the longer of the two where it is much the
/// longer, and up to a fifth more where they are alike, (read^4 + compute^4)^(1/4). Fits what Zen 4 does
/// where two cores share the memory (t3 over t2: 0.84 to 0.91, model 0.91) and Ice Lake (0.89 to 0.97, model
/// 0.89). `op`: linear_t2, linear_t3 or linear_t5.
double ternary_ns(format::Op op, int32_t n, int32_t k, const TernaryRates &rates);

/// The packing other than linear_t2's, if the sizes allow it, whose row takes at most kClearlyFaster times as
/// long as linear_t2's on every machine of these variants, the one that takes least in all; linear_t2
/// otherwise. Clearly, because a few rows pay more for the unpacking than one, which is not counted here
/// (n=13824 k=2560 on Zen 4 from memory, 2, 4 and 8 rows with linear_t5 by the time with linear_t2: one
/// core 1.15, 1.18 and 1.20, two cores 0.83, 1.18 and 1.19).
constexpr double kClearlyFaster = 0.95;
format::Op cheapest_ternary(int32_t n, int32_t k, const std::vector<format::CpuVariant> &cpus);

} // namespace bitnet::codegen
