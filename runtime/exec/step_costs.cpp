// See step_costs.h.
#include "runtime/exec/step_costs.h"

#include <algorithm>
#include <cmath>

namespace bitnet::runtime {
namespace {

/// Costs of 1, 2, 4 and 8 rows. Weights from memory are read once for all rows (2B-4T on a Zen 4: 1, 1.13,
/// 2.0, 3.9 on one core, 1, 1.09, 1.3, 2.5 on two), weights in the caches are computed with once for each
/// (the repository's model: 1, 1.68, 2.95, 5.9).
constexpr std::array<double, 4> kFromMemory = {1, 1.1, 1.6, 3}, kFromCaches = {1, 1.7, 3, 6};
/// Weights of at most so many bytes are taken to lie in the caches.
constexpr uint64_t kInCaches = uint64_t(16) << 20;

/// How fast measurements are followed: what all steps have in common (depth of the texts, the machine's mood)
/// faster than what one number of rows costs compared with others. Its first measurements are averaged, and
/// say nothing of the others before there are kSettled of them.
constexpr double kCommonRate = 0.25, kOwnRate = 0.1;
constexpr double kAloneRate = 0.5; ///< where no other number of rows ran
constexpr uint32_t kSettled = 4, kMostRuns = 1000;
/// A single measurement counts for at most this factor: a thread may have lost its CPU.
constexpr double kMostOff = 2, kMostOffAtFirst = 2.5;
/// What an unused entry forgets with each step. Half in 1,400: a number of rows that seemed not to pay is
/// tried again about so often, at less than a thousandth of the time.
constexpr double kForgetting = 1.0 / 2048;

} // namespace

StepCosts::StepCosts(uint64_t weight_bytes) : usual_(weight_bytes <= kInCaches ? kFromCaches : kFromMemory) {
  for (size_t n = 1; n <= kMostRows; ++n)
    cost_[n - 1].store(usual(n), std::memory_order_relaxed);
}

/// For rows of which nothing is known: kernels take 1, 2, 4 or 8 rows at once, and fewer cost as many.
double StepCosts::usual(size_t rows) const {
  const double more = 0.01 * double(rows); // attention, the head's exact rows
  if (rows <= 1)
    return usual_[0];
  if (rows <= 2)
    return usual_[1] + more;
  if (rows <= 4)
    return usual_[2] + more;
  return usual_[3] * double((rows + 7) / 8) + more;
}

/// Moves one row count's cost, or where no other ran, the unit, towards a measurement.
void StepCosts::follow(size_t rows, double seconds) {
  std::atomic<double> &cost = cost_[rows - 1];
  const double now = cost.load(std::memory_order_relaxed);
  if (unit_ == 0)
    unit_ = seconds / now;
  const uint32_t before = runs_[rows - 1];
  const double most = before <= 1 ? kMostOffAtFirst : kMostOff;
  const double off = std::clamp(seconds / (unit_ * now), 1 / most, most);
  // The first run finds code and memory cold, the first of one row twice as slow as the next: it says what
  // the rows cost at most.
  const double average = 1 / double(std::max(before, 1u));
  const auto is_other = [&](const uint32_t &runs) { return runs > 0 && &runs != &runs_[rows - 1]; };
  if (before == 0)
    cost.store(now * std::min(off, 1.0), std::memory_order_relaxed);
  else if (std::none_of(runs_.begin(), runs_.end(), is_other))
    unit_ *= std::pow(off, std::max(kAloneRate, average));
  else {
    cost.store(now * std::pow(off, std::max(kOwnRate, average)), std::memory_order_relaxed);
    if (before >= kSettled)
      unit_ *= std::pow(off, kCommonRate);
  }
  runs_[rows - 1] = std::min(before + 1, kMostRuns);
}

void StepCosts::add(size_t rows, double seconds) {
  if (rows == 0 || rows > kMostRows || !(seconds > 0))
    return;
  follow(rows, seconds);

  // What the nearest numbers of rows that ran say of each: as many times the usual as they cost, the dearer
  // one.
  std::array<double, kMostRows> factors{};
  const auto pass = [&](size_t n, double &nearest) {
    factors[n - 1] = std::max(factors[n - 1], nearest);
    if (runs_[n - 1])
      nearest = cost_[n - 1].load(std::memory_order_relaxed) / usual(n);
  };
  double nearest = 0;
  for (size_t n = 1; n <= kMostRows; ++n)
    pass(n, nearest);
  nearest = 0;
  for (size_t n = kMostRows; n >= 1; --n)
    pass(n, nearest);
  for (size_t n = 1; n <= kMostRows; ++n) {
    std::atomic<double> &other = cost_[n - 1];
    const double was = other.load(std::memory_order_relaxed);
    const double expected = usual(n) * (factors[n - 1] > 0 ? factors[n - 1] : 1);
    if (!runs_[n - 1])
      other.store(expected, std::memory_order_relaxed);
    else if (n != rows && was > expected)
      other.store(was + (expected - was) * kForgetting, std::memory_order_relaxed);
  }
}

double StepCosts::of(size_t rows) const {
  if (rows <= kMostRows)
    return cost_[rows - 1].load(std::memory_order_relaxed);
  return cost_[kMostRows - 1].load(std::memory_order_relaxed) * double(rows) / double(kMostRows);
}

} // namespace bitnet::runtime
