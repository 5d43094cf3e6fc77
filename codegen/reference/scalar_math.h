// The arithmetic that defines every float result: each function here is one fixed sequence of IEEE single
// operations and bit operations, so that any CPU gives the same bits. codegen/generators/strict_math.h writes
// the same sequences as Halide expressions; the two must change together. Compile with -ffp-contract=off, in
// the default rounding mode, without flush-to-zero.
//
// Not here: anything with a shape. No libm but sqrtf and fabsf, which IEEE defines exactly.
#pragma once
#include "runtime/format/kernel_ops.h"
#include <cmath>
#include <cstdint>
#include <cstring>

namespace bitnet::codegen {

inline uint32_t float_bits(float f) {
  uint32_t b;
  std::memcpy(&b, &f, sizeof b);
  return b;
}
inline float float_from_bits(uint32_t b) {
  float f;
  std::memcpy(&f, &b, sizeof f);
  return f;
}

/// Maximum and minimum as a compare and a select: fixes which zero and which operand of a NaN comparison wins
/// (the second), where the machines' own max instructions differ.
inline float sel_max(float a, float b) { return a > b ? a : b; }
inline float sel_min(float a, float b) { return a < b ? a : b; }

/// 1.5 * 2^23: adding it to |x| < 2^22 rounds x to an integer, half to even, and leaves that integer in the
/// low bits.
constexpr float kRoundMagic = 12582912.0f;

/// clamp(round_half_even(x), -127, 127). NaN gives -127.
inline int8_t round_to_int8(float x) {
  const float c = sel_min(sel_max(x, -127.0f), 127.0f);
  return int8_t(uint8_t(float_bits(c + kRoundMagic)));
}

/// exp(x) for x <= 0: 2^n times a degree-5 polynomial (Cephes) in the rest; 0 below -87, so that no result is
/// denormal. Relative error below 2^-23 for x in [-87, 0] (largest seen: 2^-23.57). NaN counts as -87.
inline float exp_nonpositive(float x) {
  const float xc = sel_max(x, -87.0f);
  const float t = xc * 1.44269504f + kRoundMagic;
  const float n = t - kRoundMagic;
  const float r =
      (xc - n * 0.693359375f) - n * -2.12194440e-4f; // ln 2 in two parts; n * 0.693359375 is exact
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float y = ((p * (r * r)) + r) + 1.0f;
  const float power = float_from_bits((float_bits(t) + 127u) << 23); // 2^n: the low bits of t hold n
  return x < -87.0f ? 0.0f : y * power;
}

/// x * sigmoid(z), z having the sign of x. Only exp(-|z|) is needed, which never overflows:
///   z >= 0: x / (1 + e)      z < 0: (x * e) / (1 + e)      e = exp(-|z|)
inline float times_sigmoid(float x, float z) {
  const float e = exp_nonpositive(std::fabs(z) * -1.0f);
  return (z < 0.0f ? x * e : x) / (1.0f + e);
}
inline float relu2(float x) {
  const float r = sel_max(x, 0.0f);
  return r * r;
}
inline float silu(float x) { return times_sigmoid(x, x); }
/// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)).
inline float gelu(float x) {
  const float z = (x * ((x * x) * 0.044715f + 1.0f)) * 1.5957691216f;
  return times_sigmoid(x, z);
}
inline float activation(format::Act act, float x) {
  switch (act) {
  case format::Act::silu:
    return silu(x);
  case format::Act::gelu:
    return gelu(x);
  default:
    return relu2(x);
  }
}

/// Exact for every finite f16. Infinities and NaNs come out as large finite numbers: the importer refuses
/// such weights and kv_append never writes them.
inline float f16_to_f32(uint16_t h) {
  const float magnitude = float_from_bits(uint32_t(h & 0x7fff) << 13) * 0x1p112f;
  return float_from_bits(float_bits(magnitude) | uint32_t(h & 0x8000) << 16);
}

/// Nearest f16, ties to even, saturated to +-65504, so the result is always finite. NaN gives -65504.
inline uint16_t f32_to_f16_saturated(float x) {
  const uint32_t b = float_bits(sel_min(sel_max(x, -65504.0f), 65504.0f));
  const uint32_t magnitude = b & 0x7fffffffu;
  const uint32_t denormal =
      float_bits(float_from_bits(magnitude) * 0x1p24f + kRoundMagic) & 0xffffu; // units of 2^-24
  const uint32_t normal = ((magnitude + 0xfffu + ((magnitude >> 13) & 1u)) >> 13) - 0x1c000u;
  return uint16_t((b >> 16 & 0x8000u) | (magnitude < 0x38800000u ? denormal : normal));
}

/// Reduces lanes[0, n) (n a power of two) into lanes[0]: lane l takes lane l + n/2, then n/4 and so on.
template <class Combine> float halving_tree(float *lanes, int32_t n, Combine combine) {
  for (int32_t half = n / 2; half >= 1; half /= 2)
    for (int32_t l = 0; l < half; ++l)
      lanes[l] = combine(lanes[l], lanes[l + half]);
  return lanes[0];
}

} // namespace bitnet::codegen
