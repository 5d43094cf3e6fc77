#include "codegen/spec/ternary_cost.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <cmath>

namespace bitnet::codegen {

using format::CpuVariant;
using format::Op;

const std::vector<TernaryRates> &ternary_rates() {
  // Measured: Zen 4's (2 cores of a server part), by codegen_linear_bench, with --cache for the
  // multiply-adds; Ice Lake's, by hand-tuned prototypes of the same loops. Without vpdpbusd a base-3 code
  // costs a digit each time.
  static const std::vector<TernaryRates> rates = {
      {"Zen 4, one core", CpuVariant::avx512vnni, 28, 210, 84},
      {"Zen 4, two cores", CpuVariant::avx512vnni, 15.5, 210, 84},
      {"Ice Lake, one core", CpuVariant::avx512vnni, 14.4, 140, 82},
      {"Ice Lake, two cores", CpuVariant::avx512vnni, 14.2, 140, 82},
      {"Zen 4, one core", CpuVariant::avx512, 28, 113, 45},
      {"Zen 4, one core", CpuVariant::avx2, 28, 103, 33},
      {"Zen 4, one core", CpuVariant::portable, 28, 25, 9},
  };
  return rates;
}

double ternary_ns(Op op, int32_t n, int32_t k, const TernaryRates &rates) {
  const bool t3 = op == Op::linear_t3;
  const double bytes = double(t3 ? format::t3_bytes(n, k) : format::t2_bytes(n, k)),
               macs = double(n) * k / (t3 ? rates.t3_macs_per_ns : rates.t2_macs_per_ns);
  const double read = bytes / rates.bytes_per_ns / macs;
  return macs * std::sqrt(std::sqrt(1 + read * read * read * read));
}

Op cheapest_ternary(int32_t n, int32_t k, const std::vector<CpuVariant> &cpus) {
  format::OpDims dims;
  dims.n = n, dims.k = k;
  bool gains = format::op_dims_error(Op::linear_t3, dims) == nullptr, faster = false;
  for (const TernaryRates &rates : ternary_rates()) {
    if (std::find(cpus.begin(), cpus.end(), rates.cpu) == cpus.end())
      continue;
    const double t2 = ternary_ns(Op::linear_t2, n, k, rates), t3 = ternary_ns(Op::linear_t3, n, k, rates);
    faster |= t3 < t2;
    gains &= t3 <= t2;
  }
  return gains && faster ? Op::linear_t3 : Op::linear_t2;
}

} // namespace bitnet::codegen
