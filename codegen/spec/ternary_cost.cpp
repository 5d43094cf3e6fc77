#include "codegen/spec/ternary_cost.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <cmath>

namespace bitnet::codegen {

using format::CpuVariant;
using format::Op;

const std::vector<TernaryRates> &ternary_rates() {
  // Measured: Zen 4's (2 cores of a server part), by codegen_linear_bench, with --cache for the
  // multiply-adds; Ice Lake's, by hand-tuned prototypes of the same loops, but t5's reckoned from t2's by
  // the numbers of instructions. Without vpdpbusd a base-3 code costs a digit each time.
  static const std::vector<TernaryRates> rates = {
      {"Zen 4, one core", CpuVariant::avx512vnni, 28, 210, 84, 136},
      {"Zen 4, two cores", CpuVariant::avx512vnni, 15.5, 210, 84, 136},
      {"Ice Lake, one core", CpuVariant::avx512vnni, 14.4, 140, 82, 110},
      {"Ice Lake, two cores", CpuVariant::avx512vnni, 14.2, 140, 82, 110},
      {"Zen 4, one core", CpuVariant::avx512, 28, 113, 45, 80},
      {"Zen 4, one core", CpuVariant::avx2, 28, 103, 33, 71},
      {"Zen 4, one core", CpuVariant::portable, 28, 25, 9, 20},
  };
  return rates;
}

double ternary_ns(Op op, int32_t n, int32_t k, const TernaryRates &rates) {
  double bytes = double(format::t2_bytes(n, k)), macs_per_ns = rates.t2_macs_per_ns;
  if (op == Op::linear_t3)
    bytes = double(format::t3_bytes(n, k)), macs_per_ns = rates.t3_macs_per_ns;
  if (op == Op::linear_t5)
    bytes = double(format::t5_bytes(n, k)), macs_per_ns = rates.t5_macs_per_ns;
  const double macs = double(n) * k / macs_per_ns;
  const double read = bytes / rates.bytes_per_ns / macs;
  return macs * std::sqrt(std::sqrt(1 + read * read * read * read));
}

Op cheapest_ternary(int32_t n, int32_t k, const std::vector<CpuVariant> &cpus) {
  format::OpDims dims;
  dims.n = n, dims.k = k;
  // Of all machines together, a row of t2 on each of them counting 1.
  const auto cost = [&](Op op) {
    double sum = 0;
    bool clear = format::op_dims_error(op, dims) == nullptr;
    for (const TernaryRates &rates : ternary_rates()) {
      if (std::find(cpus.begin(), cpus.end(), rates.cpu) == cpus.end())
        continue;
      const double ratio = ternary_ns(op, n, k, rates) / ternary_ns(Op::linear_t2, n, k, rates);
      clear &= op == Op::linear_t2 || ratio <= kClearlyFaster;
      sum += ratio;
    }
    return clear ? sum : HUGE_VAL;
  };
  Op best = Op::linear_t2;
  for (const Op op : {Op::linear_t3, Op::linear_t5})
    if (cost(op) < cost(best))
      best = op;
  return best;
}

} // namespace bitnet::codegen
