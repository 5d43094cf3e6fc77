// The random numbers and the exponential of the samplers: own code made of IEEE operations only, so that a
// seed gives the same tokens on every machine, compiler and C library.
#pragma once
#include <cstdint>
#include <cstring>

namespace bitnet::runtime {

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): 64 bits of state,
/// period 2^64, every seed is good.
class Random {
public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, 1): a multiple of 2^-53.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
  uint64_t state_;
};

/// e^x for x <= 0, within 1e-15 relative; 0 below -700. x = n ln2 + r with |r| <= ln2/2, and 13 terms of the
/// series at r (the first one left out is (ln2/2)^14/14! < 5e-18).
inline double exp_nonpositive(double x) {
  if (!(x > -700))
    return 0;
  constexpr double kLog2e = 1.4426950408889634, kLn2High = 6.93147180369123816490e-01,
                   kLn2Low = 1.90821492927058770002e-10;
  const auto n = static_cast<int64_t>(x * kLog2e - 0.5);
  const double r = (x - static_cast<double>(n) * kLn2High) - static_cast<double>(n) * kLn2Low;
  double sum = 1.0 / 6227020800;
  for (const double inverse : {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                               1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0})
    sum = sum * r + inverse;
  const uint64_t bits = static_cast<uint64_t>(n + 1023) << 52; // 2^n; n >= -1010, so never subnormal
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return sum * power;
}

} // namespace bitnet::runtime
