// The packing cost model: what its table says of the orders that were measured, and what the compiler makes
// of it.
#include "codegen/spec/ternary_cost.h"
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

using format::CpuVariant;
using format::Op;

/// Rates as if measured: a core's bytes per ns, and multiply-adds per ns with t2 and t3.
double t3_over_t2(double bytes, double t2, double t3) {
  const TernaryRates rates{"", CpuVariant::avx512vnni, bytes, t2, t3};
  return ternary_ns(Op::linear_t3, 13824, 2560, rates) / ternary_ns(Op::linear_t2, 13824, 2560, rates);
}

TEST(TernaryCost, SlowMemoryCountsBytesAndFastMemoryWork) {
  EXPECT_NEAR(t3_over_t2(1, 100, 50), 0.8, 0.01);
  EXPECT_NEAR(t3_over_t2(1000, 100, 50), 2.0, 1e-6);
}

/// The order that was measured on Zen 4: one core reads so fast that base 3 is bound by its work; two cores
/// share the memory, and the fewer bytes win.
TEST(TernaryCost, OrderTurnsBetweenOneCoreAndTwo) {
  for (const TernaryRates &rates : ternary_rates()) {
    if (rates.cpu != CpuVariant::avx512vnni)
      continue;
    const bool slower =
        ternary_ns(Op::linear_t3, 13824, 2560, rates) > ternary_ns(Op::linear_t2, 13824, 2560, rates);
    EXPECT_EQ(slower, std::string(rates.machine) == "Zen 4, one core") << rates.machine;
  }
}

/// Medians of codegen_ternary_cost_speed_test and of Ice Lake's prototypes, t3 over t2: what is between a
/// clear gain and a clear loss is neither in the model.
TEST(TernaryCost, IsNearTheMeasuredRatios) {
  const auto ratio = [](const std::string &machine, CpuVariant cpu) {
    for (const TernaryRates &rates : ternary_rates())
      if (machine == rates.machine && cpu == rates.cpu)
        return ternary_ns(Op::linear_t3, 13824, 2560, rates) / ternary_ns(Op::linear_t2, 13824, 2560, rates);
    return 0.0;
  };
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::avx512vnni), 1.35, 0.1);
  EXPECT_NEAR(ratio("Zen 4, two cores", CpuVariant::avx512vnni), 0.89, 0.05);
  EXPECT_NEAR(ratio("Ice Lake, one core", CpuVariant::avx512vnni), 0.92, 0.05);
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::avx512), 1.9, 0.4);
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::avx2), 2.7, 0.4);
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::portable), 2.3, 0.5);
}

TEST(TernaryCost, TakesBase3OnlyWhereNoMachineLoses) {
  EXPECT_EQ(cheapest_ternary(13824, 2560, {CpuVariant::avx512vnni}), Op::linear_t2);
  EXPECT_EQ(cheapest_ternary(13824, 2560, {CpuVariant::avx2, CpuVariant::avx512vnni}), Op::linear_t2);
  EXPECT_EQ(cheapest_ternary(16, 33040, {}), Op::linear_t2); // too long for base 3
}

TEST(TernaryCost, HasRatesOfEveryVariant) {
  for (int v = 0; v < int(CpuVariant::count); ++v) {
    int n = 0;
    for (const TernaryRates &rates : ternary_rates())
      n += rates.cpu == CpuVariant(v);
    EXPECT_GT(n, 0) << format::cpu_variant(CpuVariant(v)).name;
  }
}

} // namespace
} // namespace bitnet::codegen
