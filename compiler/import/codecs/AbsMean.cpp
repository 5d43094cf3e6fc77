// Latent weights to ternary ones, by the arithmetic of transformers' WeightQuant ("online" checkpoints), all
// in f32:
//   s = 1 / max(mean|W|, 1e-5);  t = clamp(round_half_even(w * s), -1, 1);  weight = t / s, cast to the
//   stored type.
// So the scale is 1/s rounded to the stored type: what the model multiplies by when it runs in that type, and
// what the packed form of the same model stores as weight_scale.
//
// The order of the sum is part of the rule. bf16 weights of exactly half the mean are common (about one in
// 400 of a trained matrix whose mean is a bf16 number), and the last bit of the f32 mean decides whether all
// of them become 0 or +-1. An exact sum gets two of 42 matrices of a real model wrong; the order of the
// reference, torch's reduction on a CPU with 256-bit vectors, gets all of them right, so that is the order
// here.
//
// microsoft/BitNet's convert_checkpoint.py works in the stored type instead: the sum, the mean, s, w * s and
// 1/s are each rounded to it. In bf16 that makes other trits of about one weight in a thousand. So it is with
// torch 1, which wrote the files that this is checked against, and in bitnet_py's converter; torch 2 does not
// round the sum.
#include "compiler/import/Codec.h"
#include <algorithm>
#include <array>
#include <cmath>

namespace bitnet::import {
namespace {

/// Sums values in the order of torch's f32 reduction: 32 lanes (4 vectors of 8) side by side, and in each
/// lane four levels of partial sums, of which a level is added to the next after 2^power additions. Feed it
/// lane by lane.
class CascadeSum {
public:
  explicit CascadeSum(size_t n) : steps_(n / kLanes), tail_(n - steps_ * kLanes) {
    size_t log = 0;
    while ((size_t(1) << log) < steps_)
      ++log;
    power_ = std::max<size_t>(4, log / kLevels);
  }

  void add(float value) {
    if (step_ == steps_) { // what is left after the last whole step of 32
      rest_[atRest_++] = value;
      return;
    }
    levels_[0][lane_] += value;
    if (++lane_ < kLanes)
      return;
    lane_ = 0;
    ++step_;
    size_t mask = (size_t(1) << power_) - 1;
    if ((step_ & mask) != 0)
      return;
    for (size_t level = 1; level < kLevels; ++level) {
      addLanes(levels_[level], levels_[level - 1]);
      levels_[level - 1].fill(0);
      if ((step_ & mask << level * power_) != 0)
        break;
    }
  }

  float total() {
    for (size_t level = 1; level < kLevels; ++level)
      addLanes(levels_[0], levels_[level]);
    // Whole vectors of the rest join the first vector; then the four vectors, then the last few values, then
    // 8 lanes.
    std::array<float, kVector> sum;
    std::copy_n(levels_[0].begin(), kVector, sum.begin());
    size_t whole = tail_ / kVector * kVector;
    for (size_t i = 0; i < whole; ++i)
      sum[i % kVector] += rest_[i];
    for (size_t i = kVector; i < kLanes; ++i)
      sum[i % kVector] += levels_[0][i];
    float total = 0;
    for (size_t i = whole; i < tail_; ++i)
      total += rest_[i];
    for (float lane : sum)
      total += lane;
    return total;
  }

private:
  static constexpr size_t kVector = 8, kLanes = 4 * kVector, kLevels = 4;
  using Lanes = std::array<float, kLanes>;
  static void addLanes(Lanes &to, const Lanes &from) {
    for (size_t i = 0; i < kLanes; ++i)
      to[i] += from[i];
  }

  size_t steps_, tail_, power_, step_ = 0, lane_ = 0, atRest_ = 0;
  std::array<Lanes, kLevels> levels_ = {};
  Lanes rest_ = {};
};

} // namespace

Decoded decodeAbsMean(FloatType type, AbsMean arithmetic, const uint8_t *bytes, int32_t nRows, int32_t nCols,
                      TernaryMatrix &out) {
  auto rounded = [&](float x) { return arithmetic == AbsMean::stored ? roundTo(type, x) : x; };
  const size_t rows = size_t(nRows), cols = size_t(nCols), n = rows * cols, width = floatBytes(type);
  std::vector<float> row(cols);
  CascadeSum sum(n);
  for (size_t r = 0; r < rows; ++r) {
    widenRow(type, bytes + r * cols * width, cols, row.data());
    for (size_t c = 0; c < cols; ++c) {
      if (!std::isfinite(row[c]))
        return Fault{(r * cols + c) * width, "expected finite weights, got " + std::to_string(row[c])};
      sum.add(std::fabs(row[c]));
    }
  }
  float mean = rounded(rounded(sum.total()) / float(n));
  if (!std::isfinite(mean))
    return Fault{0, "expected weights whose sum is finite, got " + std::to_string(mean)};
  float s = rounded(1.0f / std::max(mean, rounded(1e-5f)));
  out.rows = nRows;
  out.cols = nCols;
  out.groupCols = 0;
  out.trits.resize(n);
  for (size_t r = 0; r < rows; ++r) {
    widenRow(type, bytes + r * cols * width, cols, row.data());
    for (size_t c = 0; c < cols; ++c) {
      // Rounding half to even and clamping to [-1, 1]: |x| <= 0.5 gives 0.
      float x = rounded(row[c] * s);
      out.trits[r * cols + c] = int8_t((x > 0.5f) - (x < -0.5f));
    }
  }
  out.scales.assign(1, roundTo(type, 1.0f / s));
  return std::nullopt;
}

} // namespace bitnet::import
