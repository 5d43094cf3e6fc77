// The scalar definitions against double precision and exact arithmetic: that they are the functions they are
// named after, within bounds that follow from their operations.
#include "codegen/reference/scalar_math.h"
#include <algorithm>
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

constexpr double kUnit = 0x1p-24; ///< largest relative error of one rounded operation
constexpr double kExpError = 2 * kUnit;

// Own exp: the last addition rounds a result in [0.7, 1.42] (at most 1.42 units), r carries at most half a
// unit (|r| < 0.35, n * 0.693359375 is exact), the polynomial is good to a tenth of a unit. Together below 2
// units.
TEST(ScalarMath, ExpIsWithinTwoUnits) {
  double worst = 0;
  for (uint32_t bits = float_bits(-87.0f); bits > float_bits(-1e-9f); bits -= 1021) {
    const float x = float_from_bits(bits);
    worst = std::max(worst, std::fabs(double(exp_nonpositive(x)) / std::exp(double(x)) - 1));
  }
  EXPECT_LT(worst, kExpError);
  RecordProperty("worst_relative_error", std::to_string(worst));
  EXPECT_EQ(exp_nonpositive(0.0f), 1.0f);
  EXPECT_EQ(exp_nonpositive(-0.0f), 1.0f);
  EXPECT_EQ(exp_nonpositive(-87.00001f), 0.0f);
  EXPECT_EQ(exp_nonpositive(-INFINITY), 0.0f);
}

double exact_silu(double x) { return x / (1 + std::exp(-x)); }
double exact_gelu(double x) { return x / (1 + std::exp(-1.5957691216057308 * (x + 0.044715 * x * x * x))); }

// x*e/(1+e) rounds three times after e; e carries exp's error and |z| times the relative error of its
// argument z, which silu has exact and gelu computes in six roundings (one of them its constant). Below z =
// -87 they are zero, where the exact value is under 88 e^-87 < 2e-36.
TEST(ScalarMath, ActivationsAreWithinTheirRoundings) {
  for (float x = -100; x < 100; x += 0.0037f) {
    const double z = 1.5957691216057308 * (x + 0.044715 * double(x) * x * x);
    const double silu_bound = std::fabs(exact_silu(x)) * (kExpError + 4 * kUnit) + 2e-36;
    const double gelu_bound =
        std::fabs(exact_gelu(x)) * (kExpError + (4 + 6 * std::min(std::fabs(z), 90.0)) * kUnit) + 2e-36;
    ASSERT_NEAR(silu(x), exact_silu(x), silu_bound) << x;
    ASSERT_NEAR(gelu(x), exact_gelu(x), gelu_bound) << x;
    ASSERT_EQ(relu2(x), x > 0 ? x * x : 0.0f) << x;
  }
}

TEST(ScalarMath, ActivationsOfHugeValuesStayFinite) {
  for (float x : {-3e38f, -1e20f, -200.0f, -0.0f, 1e-40f, 200.0f, 1e20f, 3e38f}) {
    EXPECT_EQ(silu(x), x > 0 && x > 1 ? x : x < -1 ? -0.0f : x / 2) << x;
    EXPECT_EQ(gelu(x), x > 0 && x > 1 ? x : x < -1 ? -0.0f : x / 2) << x;
  }
}

TEST(ScalarMath, RoundsHalfToEvenAndClamps) {
  for (int32_t i = -600; i <= 600; ++i) {
    const float x = float(i) * 0.25f;
    EXPECT_EQ(round_to_int8(x), std::clamp(int(std::nearbyint(x)), -127, 127)) << x;
  }
  EXPECT_EQ(round_to_int8(1e30f), 127);
  EXPECT_EQ(round_to_int8(-INFINITY), -127);
  EXPECT_EQ(round_to_int8(NAN), -127);
}

double exact_f16(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const double magnitude = exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
  return h & 0x8000 ? -magnitude : magnitude;
}

TEST(ScalarMath, HalvesConvertExactlyAndComeBack) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    if ((h & 0x7c00) == 0x7c00)
      continue;
    ASSERT_EQ(f16_to_f32(uint16_t(h)), exact_f16(uint16_t(h))) << h;
    ASSERT_EQ(f32_to_f16_saturated(f16_to_f32(uint16_t(h))), h);
  }
}

TEST(ScalarMath, FloatsRoundToTheNearestHalf) {
  for (uint16_t h = 0; h < 0x7bff; ++h) { // between each half and the next: below, at and above the middle
    const float low = f16_to_f32(h), high = f16_to_f32(uint16_t(h + 1)),
                middle = (low + high) / 2; // exact in f32
    const uint16_t even = h & 1 ? uint16_t(h + 1) : h;
    ASSERT_EQ(f32_to_f16_saturated(middle), even) << h;
    ASSERT_EQ(f32_to_f16_saturated(std::nextafter(middle, 0.0f)), h) << h;
    ASSERT_EQ(f32_to_f16_saturated(std::nextafter(middle, 1e9f)), h + 1) << h;
    ASSERT_EQ(f32_to_f16_saturated(-middle), even | 0x8000) << h;
  }
  EXPECT_EQ(f32_to_f16_saturated(65519.99f), 0x7bff);
  EXPECT_EQ(f32_to_f16_saturated(INFINITY), 0x7bff);
  EXPECT_EQ(f32_to_f16_saturated(-3e38f), 0xfbff);
  EXPECT_EQ(f32_to_f16_saturated(NAN), 0xfbff);
}

TEST(ScalarMath, TreeAddsHalves) {
  float lanes[] = {1, 1e8f, -1, -1e8f}; // (1 + -1) + (1e8 + -1e8); any other order loses the ones
  EXPECT_EQ(halving_tree(lanes, 4, [](float a, float b) { return a + b; }), 0.0f);
  float order[] = {1, 2, 4, 8};
  EXPECT_EQ(halving_tree(order, 4, [](float a, float b) { return a - b; }), (1.0f - 4.0f) - (2.0f - 8.0f));
}

TEST(ScalarMath, KnownFloatsRoundToKnownHalves) {
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturated(2049.0f)), 2048.0f); // between 2048 and 2050
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturated(2051.0f)), 2052.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturated(1e6f)), 65504.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturated(-65519.0f)), -65504.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturated(0x1p-25f)), 0.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16_saturated(0x1.8p-24f)), 0x1p-23f);
}

} // namespace
} // namespace bitnet::codegen
