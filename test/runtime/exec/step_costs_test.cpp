// Costs follow what was measured, whatever all measurements have in common.
#include "runtime/exec/step_costs.h"
#include <gtest/gtest.h>
#include <random>

namespace bitnet::runtime {
namespace {

constexpr uint64_t kInMemory = uint64_t(1) << 30;

double ratio(const StepCosts &costs, size_t rows) { return costs.of(rows) / costs.of(1); }

TEST(StepCosts, FollowWhatIsMeasured) {
  StepCosts costs(kInMemory);
  for (int i = 0; i < 200; ++i)
    for (size_t rows : {1, 2, 4, 8})
      costs.add(rows, 1e-3 * (1 + 0.3 * double(rows - 1)));
  EXPECT_NEAR(ratio(costs, 2), 1.3, 0.03);
  EXPECT_NEAR(ratio(costs, 4), 1.9, 0.05);
  EXPECT_NEAR(ratio(costs, 8), 3.1, 0.1);
}

TEST(StepCosts, WhatAllStepsHaveInCommonChangesNothing) {
  StepCosts costs(kInMemory);
  for (int i = 0; i < 3000; ++i)
    costs.add(i % 2 ? 4 : 1, (i % 2 ? 1.9 : 1.0) * (1e-3 + 1e-6 * i)); // the text grows
  EXPECT_NEAR(ratio(costs, 4), 1.9, 0.1);
}

/// Speculation tries what seems to pay, so what never ran must not seem cheap.
TEST(StepCosts, WhatNeverRanIsAsDearAsItsNeighbours) {
  StepCosts costs(kInMemory);
  costs.add(1, 1e-3);
  EXPECT_GT(ratio(costs, 2), 1.05);
  EXPECT_GT(ratio(costs, 8), 2.5);
  for (int i = 0; i < 100; ++i) {
    costs.add(1, 1e-3);
    costs.add(5, 4e-3); // dearer than usual: so are 3 and 6
  }
  EXPECT_GT(ratio(costs, 3), 2);
  EXPECT_NEAR(ratio(costs, 6), 4, 0.2);
  StepCosts cheap(kInMemory);
  for (int i = 0; i < 100; ++i) {
    cheap.add(1, 1e-3);
    cheap.add(2, 1.02e-3);
  }
  EXPECT_LT(ratio(cheap, 3), 1.5); // as two rows say
  EXPECT_LT(ratio(cheap, 2), 1.1);
}

/// A first trial is not to pay for what the size of the model tells: more rows gain little where weights are
/// not read from memory.
TEST(StepCosts, RowsAreDearerWhereWeightsLieInTheCaches) {
  const StepCosts large(kInMemory), small(4 << 20);
  EXPECT_LT(ratio(large, 4), 2);
  EXPECT_GT(ratio(small, 2), 1.6);
  EXPECT_GT(ratio(small, 4), 2.9);
  EXPECT_GT(ratio(small, 8), 5.5);
}

/// Few tokens are drawn in a text, and what the first step of a size finds cold is warm in the next.
TEST(StepCosts, ColdFirstStepsDoNotCount) {
  StepCosts costs(4 << 20);
  for (const double of_one : {3.2, 2.0, 1.1, 1.0, 1.0, 1.0})
    costs.add(1, of_one * 1e-4);
  costs.add(2, 4e-4);
  costs.add(1, 1e-4);
  EXPECT_LT(ratio(costs, 2), 1.8); // as usual
  for (const double of_two : {1.2, 1.3, 1.2})
    costs.add(2, of_two * 1e-4);
  EXPECT_NEAR(ratio(costs, 2), 1.23, 0.05);
  StepCosts cheap(4 << 20);
  cheap.add(1, 1e-4);
  cheap.add(2, 1.1e-4); // cold, and yet cheap
  EXPECT_NEAR(ratio(cheap, 2), 1.1, 0.01);
}

TEST(StepCosts, ABadMeasurementIsForgotten) {
  StepCosts costs(kInMemory);
  costs.add(1, 1e-3);
  costs.add(4, 2e-3);
  costs.add(4, 1); // the thread lost its CPU for a second
  const double bad = ratio(costs, 4);
  EXPECT_LT(bad, 5);
  EXPECT_GT(bad, 3);
  for (int i = 0; i < 4000; ++i)
    costs.add(1, 1e-3);
  EXPECT_LT(ratio(costs, 4), 2 + (bad - 2) / 4);
}

TEST(StepCosts, AreDefinedForAnyNumberOfRows) {
  StepCosts costs(kInMemory);
  for (size_t rows : {0, 33, 1000})
    costs.add(rows, 1);
  costs.add(1, 0);
  EXPECT_EQ(costs.of(1), 1);
  for (size_t rows = 2; rows < 100; ++rows)
    EXPECT_GT(costs.of(rows), costs.of(rows - 1));
}

} // namespace
} // namespace bitnet::runtime
