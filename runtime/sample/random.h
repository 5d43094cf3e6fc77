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
/// series at r (the first one left out is (ln2/2)^14/14! < 5e-18). Without branches and conversions, so that
/// loops of it become vector code, of the same bits.
inline double exp_nonpositive(double x) {
  constexpr double kLog2e = 1.4426950408889634, kLn2High = 6.93147180369123816490e-01,
                   kLn2Low = 1.90821492927058770002e-10;
  constexpr double kWhole = 0x1.8p52, kBits = 0x1p52; // adding them leaves whole numbers in the low bits
  const double y = x * kLog2e - 0.5;
  const double nearest = (y + kWhole) - kWhole;
  const double n = nearest + (nearest < y ? 1.0 : 0.0); // y toward 0
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1.0 / 6227020800;
  sum = sum * r + 1.0 / 479001600;
  sum = sum * r + 1.0 / 39916800;
  sum = sum * r + 1.0 / 3628800;
  sum = sum * r + 1.0 / 362880;
  sum = sum * r + 1.0 / 40320;
  sum = sum * r + 1.0 / 5040;
  sum = sum * r + 1.0 / 720;
  sum = sum * r + 1.0 / 120;
  sum = sum * r + 1.0 / 24;
  sum = sum * r + 1.0 / 6;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  const double whole = n + (kBits + 1023); // n >= -1010, so 2^n is never subnormal
  uint64_t bits;
  std::memcpy(&bits, &whole, sizeof bits);
  bits <<= 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  const double value = sum * power;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= x > -700 ? ~uint64_t(0) : 0;
  double kept;
  std::memcpy(&kept, &bits, sizeof kept);
  return kept;
}

} // namespace bitnet::runtime
