// The packing cost model: what its table says of the orders that were measured, and what the compiler makes
// of it.
#include "codegen/spec/ternary_cost.h"
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

using format::CpuVariant;
using format::Op;

/// A row's time by that with t2.
double over_t2(Op op, const TernaryRates &rates) {
  return ternary_ns(op, 13824, 2560, rates) / ternary_ns(Op::linear_t2, 13824, 2560, rates);
}

/// Rates as if measured: a core's bytes per ns, and multiply-adds per ns with t2, t3 and t5.
TEST(TernaryCost, SlowMemoryCountsBytesAndFastMemoryWork) {
  const TernaryRates slow{"", CpuVariant::avx512vnni, 1, 100, 50, 80},
      fast{"", CpuVariant::avx512vnni, 1000, 100, 50, 80};
  EXPECT_NEAR(over_t2(Op::linear_t3, slow), 0.8, 0.01);
  EXPECT_NEAR(over_t2(Op::linear_t5, slow), 27 * 5 / 160.0, 0.01); // lines of 2560 inputs
  EXPECT_NEAR(over_t2(Op::linear_t3, fast), 2.0, 1e-6);
  EXPECT_NEAR(over_t2(Op::linear_t5, fast), 1.25, 1e-6);
}

/// The order that was measured on Zen 4: one core reads so fast that base 3 is bound by its work; two cores
/// share the memory, and the fewer bytes win. Three in five bits are between them in bytes and in work.
TEST(TernaryCost, OrderTurnsBetweenOneCoreAndTwo) {
  for (const TernaryRates &rates : ternary_rates()) {
    if (rates.cpu != CpuVariant::avx512vnni)
      continue;
    EXPECT_EQ(over_t2(Op::linear_t3, rates) > 1, std::string(rates.machine) == "Zen 4, one core")
        << rates.machine;
    EXPECT_LT(over_t2(Op::linear_t5, rates), 1) << rates.machine;
  }
}

/// Medians of codegen_ternary_cost_speed_test and of Ice Lake's prototypes, by t2: what is between a clear
/// gain and a clear loss is neither in the model.
TEST(TernaryCost, IsNearTheMeasuredRatios) {
  const auto ratio = [](const std::string &machine, CpuVariant cpu, Op op = Op::linear_t3) {
    for (const TernaryRates &rates : ternary_rates())
      if (machine == rates.machine && cpu == rates.cpu)
        return over_t2(op, rates);
    return 0.0;
  };
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::avx512vnni), 1.35, 0.1);
  EXPECT_NEAR(ratio("Zen 4, two cores", CpuVariant::avx512vnni), 0.89, 0.05);
  EXPECT_NEAR(ratio("Ice Lake, one core", CpuVariant::avx512vnni), 0.92, 0.05);
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::avx512), 1.9, 0.4);
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::avx2), 2.7, 0.4);
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::portable), 2.3, 0.5);
  EXPECT_NEAR(ratio("Zen 4, one core", CpuVariant::avx512vnni, Op::linear_t5), 1.02, 0.06);
  EXPECT_NEAR(ratio("Zen 4, two cores", CpuVariant::avx512vnni, Op::linear_t5), 0.85, 0.05);
}

TEST(TernaryCost, TakesAnotherThanT2OnlyWhereAllMachinesClearlyGain) {
  EXPECT_EQ(cheapest_ternary(13824, 2560, {CpuVariant::avx512vnni}), Op::linear_t2); // one core of Zen 4
  EXPECT_EQ(cheapest_ternary(13824, 2560, {CpuVariant::avx2, CpuVariant::avx512vnni}), Op::linear_t2);
  EXPECT_EQ(cheapest_ternary(13824, 16, {CpuVariant::avx512vnni}),
            Op::linear_t2); // five lines instead of one
  EXPECT_EQ(cheapest_ternary(13824, 2560, {}), Op::linear_t2);
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
