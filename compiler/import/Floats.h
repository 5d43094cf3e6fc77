// f32, f16 and bf16 of checkpoints: widened to f32, and rounded back.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitnet::import {

enum class FloatType { f32, f16, bf16 };
constexpr unsigned floatBytes(FloatType type) { return type == FloatType::f32 ? 4 : 2; }
float widen(FloatType type, const uint8_t *at);
void widenRow(FloatType type, const uint8_t *bytes, size_t n, float *out);
/// Round to nearest even; f16 overflows to infinity.
float roundTo(FloatType type, float value);
void narrowRow(FloatType type, const float *values, size_t n, uint8_t *out);

} // namespace bitnet::import
