// See step_costs.h.
#include "runtime/exec/step_costs.h"

#include <algorithm>
#include <cmath>

namespace bitnet::runtime {
namespace {

/// For a number of rows that did not run yet: rather too little, for a trial corrects it.
double guess(size_t rows) { return 1 + 0.08 * double(rows - 1); }

/// How fast measurements are followed: what all steps have in common (depth of the texts, the machine's mood)
/// faster than what one number of rows costs compared with others.
constexpr double kCommonRate = 0.25, kOwnRate = 0.1;
/// A single measurement counts for at most this factor: a thread may have lost its CPU.
constexpr double kMostOff = 2, kMostOffFirst = 4;
/// What an unused entry forgets with each step. Half in 1,400: a number of rows that does not pay is tried
/// again about so often, at less than a thousandth of the time.
constexpr double kForgetting = 1.0 / 2048;

} // namespace

StepCosts::StepCosts() {
  for (size_t n = 1; n <= kMostRows; ++n)
    cost_[n - 1].store(guess(n), std::memory_order_relaxed);
}

void StepCosts::add(size_t rows, double seconds) {
  if (rows == 0 || rows > kMostRows || !(seconds > 0))
    return;
  if (unit_ == 0)
    unit_ = seconds / guess(rows);
  for (size_t n = 1; n <= kMostRows; ++n) {
    std::atomic<double> &cost = cost_[n - 1];
    const double now = cost.load(std::memory_order_relaxed);
    if (n != rows) {
      cost.store(now + (guess(n) - now) * kForgetting, std::memory_order_relaxed);
      continue;
    }
    const bool first = !known_[n - 1];
    const double most = first ? kMostOffFirst : kMostOff;
    const double off = std::clamp(seconds / (unit_ * now), 1 / most, most);
    cost.store(now * std::pow(off, first ? 1 : kOwnRate), std::memory_order_relaxed);
    if (!first)
      unit_ *= std::pow(off, kCommonRate);
    known_[n - 1] = true;
  }
}

double StepCosts::of(size_t rows) const {
  if (rows <= kMostRows)
    return cost_[rows - 1].load(std::memory_order_relaxed);
  return cost_[kMostRows - 1].load(std::memory_order_relaxed) * double(rows) / double(kMostRows);
}

} // namespace bitnet::runtime
