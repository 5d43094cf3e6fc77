// Integer arithmetic only, so that the result does not depend on the compiler's or the CPU's idea of half
// floats.
#include "compiler/import/Floats.h"
#include <cstring>

namespace bitnet::import {
namespace {

float bitsToFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t floatToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// The exponent moves into place with the bits, and one exact multiplication corrects its bias, for
/// subnormals too. No branch: checkpoints have thousands of millions of these.
float f16ToF32(uint16_t half) {
  uint32_t shifted = uint32_t(half & 0x7fff) << 13;
  uint32_t bits = floatToBits(bitsToFloat(shifted) * 0x1p112f);
  uint32_t infiniteOrNaN = shifted >= 0x0f800000 ? 0x7f800000 : 0;
  return bitsToFloat(bits | infiniteOrNaN | uint32_t(half & 0x8000) << 16);
}

uint16_t f32ToF16(float value) {
  uint32_t bits = floatToBits(value), magnitude = bits & 0x7fffffff;
  uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  if (magnitude > 0x7f800000)
    return sign | 0x7e00;
  if (magnitude >= 0x477ff000) // rounds to 65536 or more
    return sign | 0x7c00;
  if (magnitude <
      0x38800000) { // below 2^-14: units of 2^-24; adding 0.5 leaves round-to-even to the f32 addition
    float shifted = bitsToFloat(magnitude) + 0.5f;
    return sign | uint16_t(floatToBits(shifted) - floatToBits(0.5f));
  }
  uint32_t odd = magnitude >> 13 & 1;
  return sign | uint16_t((magnitude - (112u << 23) + 0xfff + odd) >> 13);
}

float bf16ToF32(uint16_t half) { return bitsToFloat(uint32_t(half) << 16); }

uint16_t f32ToBf16(float value) {
  uint32_t bits = floatToBits(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// In pieces of a fixed size, which the compiler turns into vector instructions.
template <float (*kWiden)(uint16_t)> void widenHalves(const uint8_t *bytes, size_t n, float *out) {
  constexpr size_t kPiece = 32;
  uint16_t halves[kPiece];
  for (; n >= kPiece; n -= kPiece, bytes += sizeof halves, out += kPiece) {
    std::memcpy(halves, bytes, sizeof halves);
    for (size_t i = 0; i < kPiece; ++i)
      out[i] = kWiden(halves[i]);
  }
  if (n > 0)
    std::memcpy(halves, bytes, 2 * n);
  for (size_t i = 0; i < n; ++i)
    out[i] = kWiden(halves[i]);
}

} // namespace

float widen(FloatType type, const uint8_t *at) {
  if (type == FloatType::f32) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, at, sizeof half);
  return type == FloatType::f16 ? f16ToF32(half) : bf16ToF32(half);
}

void widenRow(FloatType type, const uint8_t *bytes, size_t n, float *out) {
  if (type == FloatType::f32) {
    if (n > 0)
      std::memcpy(out, bytes, n * sizeof(float));
    return;
  }
  type == FloatType::f16 ? widenHalves<f16ToF32>(bytes, n, out) : widenHalves<bf16ToF32>(bytes, n, out);
}

float roundTo(FloatType type, float value) {
  if (type == FloatType::f32)
    return value;
  return type == FloatType::f16 ? f16ToF32(f32ToF16(value)) : bf16ToF32(f32ToBf16(value));
}

void narrowRow(FloatType type, const float *values, size_t n, uint8_t *out) {
  if (type == FloatType::f32) {
    if (n > 0)
      std::memcpy(out, values, n * sizeof(float));
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    uint16_t half = type == FloatType::f16 ? f32ToF16(values[i]) : f32ToBf16(values[i]);
    std::memcpy(out + 2 * i, &half, sizeof half);
  }
}

} // namespace bitnet::import
