// See step_costs.h.
#include "runtime/exec/step_costs.h"

#include <algorithm>
#include <cmath>

namespace bitnet::runtime {
namespace {

/// Costs of 1, 2, 4 and 8 rows. Weights from memory are read once for all rows (2B-4T on two Zen 4 cores: 1,
/// 1.25, 1.66, 3.0), weights in the caches are computed with once for each (the repository's model: 1, 1.66,
/// 2.93, 5.9).
constexpr std::array<double, 4> kFromMemory = {1, 1.3, 1.75, 3}, kFromCaches = {1, 1.7, 3, 6};
/// Weights of at most so many bytes are taken to lie in the caches.
constexpr uint64_t kInCaches = uint64_t(16) << 20;

/// How fast measurements are followed: what all steps have in common (depth of the texts, the machine's mood)
/// faster than what one number of rows costs compared with others.
constexpr double kCommonRate = 0.25, kOwnRate = 0.1;
/// A single measurement counts for at most this factor: a thread may have lost its CPU.
constexpr double kMostOff = 2, kMostOffFirst = 2.5;
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

void StepCosts::add(size_t rows, double seconds) {
  if (rows == 0 || rows > kMostRows || !(seconds > 0))
    return;
  std::atomic<double> &cost = cost_[rows - 1];
  const double now = cost.load(std::memory_order_relaxed);
  if (unit_ == 0)
    unit_ = seconds / now;
  const bool first = !known_[rows - 1];
  const double most = first ? kMostOffFirst : kMostOff;
  const double off = std::clamp(seconds / (unit_ * now), 1 / most, most);
  cost.store(now * std::pow(off, first ? 1 : kOwnRate), std::memory_order_relaxed);
  if (!first)
    unit_ *= std::pow(off, kCommonRate);
  known_[rows - 1] = true;

  // What the nearest numbers of rows that ran say of each: as many times the usual as they cost, the dearer
  // one.
  std::array<double, kMostRows> factors{};
  const auto pass = [&](size_t n, double &nearest) {
    factors[n - 1] = std::max(factors[n - 1], nearest);
    if (known_[n - 1])
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
    if (!known_[n - 1])
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
