// Rows of floats that find mistakes which random values do not: denormals, signed zeros, ties of the
// quantiser, values whose squares overflow, constants. Shared by the tests of kernels on activations.
#pragma once
#include "codegen/reference/scalar_math.h"
#include <cstdint>
#include <random>

namespace bitnet::codegen {

enum class Nasty {
  normal,
  tiny,
  huge,
  denormal,
  signed_zero,
  equal,
  any_bits,
  outliers,
  ties,
  some_max,
  near_denormal,
  negative,
  count
};

/// A finite float of the given kind. mt19937's raw words only: distributions differ between libraries.
inline float nasty_float(Nasty kind, std::mt19937 &random) {
  const auto unit = [&] { return float(random() >> 8) * 0x1p-24f; };
  const float normal = (unit() + unit() + unit() + unit() - 2) * 1.7320508f;
  switch (kind) {
  case Nasty::tiny:
    return normal * 1e-20f;
  case Nasty::huge:
    return normal * 1e19f;
  case Nasty::denormal:
    return float_from_bits(random() & 0x807fffff);
  case Nasty::signed_zero:
    return random() & 1 ? 0.0f : -0.0f;
  case Nasty::equal:
    return 1.37f;
  case Nasty::any_bits: {
    const uint32_t bits = random();
    return float_from_bits((bits & 0x7f800000) == 0x7f800000 ? bits & 0xff7fffff : bits);
  }
  case Nasty::outliers:
    return random() % 64 == 0 ? normal * 300 : normal * 0.01f;
  case Nasty::ties: // with a 127 in the row, s = 1 and every odd multiple of 0.5 is a tie
    return random() % 16 == 0 ? 127.0f : (float(random() % 509) - 254) * 0.5f;
  case Nasty::some_max:
    return random() % 7 == 0 ? 3.40282347e38f : normal;
  case Nasty::near_denormal:
    return normal * 1e-38f;
  case Nasty::negative:
    return -2.5f;
  default:
    return normal;
  }
}

} // namespace bitnet::codegen
