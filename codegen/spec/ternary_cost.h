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
};
const std::vector<TernaryRates> &ternary_rates();

/// ns of one row on one core. Reading and computing overlap: the longer of the two where it is much the
/// longer, and up to a fifth more where they are alike, (read^4 + compute^4)^(1/4). Fits what Zen 4 does
/// where two cores share the memory (t3 over t2: 0.84 to 0.91, model 0.91) and Ice Lake (0.89 to 0.97, model
/// 0.89). `op`: linear_t2 or linear_t3.
double ternary_ns(format::Op op, int32_t n, int32_t k, const TernaryRates &rates);

/// linear_t3 if the sizes allow it and its row is faster on some machine of these variants and slower on
/// none; linear_t2 otherwise.
format::Op cheapest_ternary(int32_t n, int32_t k, const std::vector<format::CpuVariant> &cpus);

} // namespace bitnet::codegen
