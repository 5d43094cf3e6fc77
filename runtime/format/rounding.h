// Rounding of doubles for what is computed in double and kept in fewer bits, alike in the compiler and the
// runtime.
#pragma once
#include <cmath>

namespace bitnet::format {

/// The nearest whole number, half to even, for |x| < 2^51. Assumes the default rounding mode.
inline double nearest(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

/// The least float that is not below x, and the largest that is not above it.
inline float round_up(double x) {
  const auto f = float(x);
  return double(f) < x ? std::nextafter(f, INFINITY) : f;
}
inline float round_down(double x) {
  const auto f = float(x);
  return double(f) > x ? std::nextafter(f, -INFINITY) : f;
}

} // namespace bitnet::format
