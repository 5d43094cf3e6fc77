// See ffn_zeros.h.
#include "tools/make-dummy-model/ffn_zeros.h"
#include "runtime/format/layouts.h"
#include "tools/bitnet/arguments.h"
#include <algorithm>
#include <cmath>
#include <random>
#include <string>

namespace bitnet::dummy {
namespace {

/// Channels of the residual stream that are 1. So they are in the embedding: no more than the exact head's
/// screen keeps apart of a row, or it would tell nothing of all others.
constexpr int32_t kChannels = format::kScreenOutliers;
constexpr int32_t kLoudEvery = 64; ///< one neuron of so many has a larger sub-norm gain

bool shifts_gates(const Options &o) { return o.gate_zeros >= 0; }

bool is(const Tensor &t, const char *role) {
  const std::string suffix = std::string(role) + ".weight";
  return t.gguf_name.size() > suffix.size() &&
         t.gguf_name.compare(t.gguf_name.size() - suffix.size(), suffix.size(), suffix) == 0;
}
int32_t layer_of(const Tensor &t) { return std::stoi(t.gguf_name.substr(t.gguf_name.find('.') + 1)); }

/// How many deviations a gate is shifted down so that this share of a bell curve is not above 0. A share of 0
/// means 6 deviations up: one gate in a thousand million.
double shift_for(double share) {
  double low = -6, high = 6;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < share ? low : high) = middle;
  }
  return low;
}

/// What a gate row takes from each constant channel, in units of the other channels' deviation.
double gate_shift(const Options &o) {
  const double others = double(o.dim - kChannels) * (1 - std::clamp(double(o.zeros), 0.0, 255.0 / 256));
  return shift_for(o.gate_zeros) * std::sqrt(others) / kChannels;
}

/// Share of inputs of down that are 0 with this gain of the loud neurons: tried on bell curves, as the gates
/// and products of a dummy are.
double down_zeros_with(const Options &o, double gain) {
  const double shift = shifts_gates(o) ? shift_for(o.gate_zeros) : 0;
  std::mt19937 random(1);
  const auto bell = [&] { // a sum of twelve uniform numbers; no library's distribution, which differ
    double sum = -6;
    for (int i = 0; i < 12; ++i)
      sum += double(random()) / 4294967296.0;
    return sum;
  };
  std::vector<double> h(static_cast<size_t>(o.ffn));
  double zeros = 0;
  constexpr int kRows = 8;
  for (int r = 0; r < kRows; ++r) {
    double most = 0;
    for (size_t i = 0; i < h.size(); ++i) {
      const double gate = std::max(bell() - shift, 0.0);
      h[i] = std::fabs(gate * gate * bell()) * (i % kLoudEvery == 0 ? gain : 1);
      most = std::max(most, h[i]);
    }
    for (const double v : h)
      zeros += most == 0 || v * 127 / most <= 0.5;
  }
  return zeros / (kRows * double(o.ffn));
}

constexpr double kMostGain = 256;

double loud_gain(const Options &o) {
  double low = 1, high = kMostGain;
  for (int i = 0; i < 12; ++i) {
    const double middle = std::sqrt(low * high);
    (down_zeros_with(o, middle) < o.down_zeros ? low : high) = middle;
  }
  return low;
}

} // namespace

void shape_ternary(const Options &options, const Tensor &tensor, import::TernaryMatrix &m) {
  if (!shifts_gates(options))
    return;
  if (is(tensor, "ffn_gate"))
    for (int32_t r = 0; r < m.rows; ++r)
      std::fill_n(m.trits.begin() + ptrdiff_t(r) * m.cols, kChannels,
                  int8_t(gate_shift(options) < 0 ? 1 : -1));
  if (is(tensor, "attn_output") || is(tensor, "ffn_down"))
    std::fill_n(m.trits.begin(), size_t(kChannels) * size_t(m.cols), int8_t(0));
}

void shape_norm(const Options &options, const Tensor &tensor, std::vector<float> &values) {
  const auto rounded = [](double v) { return import::roundTo(import::FloatType::bf16, float(v)); };
  if (shifts_gates(options) && is(tensor, "ffn_norm")) {
    // Each attention and FFN before has added about a unit of deviation to the embedding's 0.05.
    const double deviation = std::sqrt(0.05 * 0.05 + 2 * layer_of(tensor) + 1);
    std::fill_n(values.begin(), kChannels, rounded(std::fabs(gate_shift(options)) * deviation));
  }
  if (options.down_zeros >= 0 && is(tensor, "ffn_sub_norm")) {
    static const double gain = loud_gain(options); // one set of options a run
    for (size_t i = 0; i < values.size(); i += kLoudEvery)
      values[i] = rounded(values[i] * gain);
  }
}

void shape_embedding(const Options &options, int32_t cols, float *row) {
  if (shifts_gates(options))
    std::fill_n(row, std::min(kChannels, cols), 1.0f);
}

void check_zeros(const Options &o) {
  if (o.gate_zeros >= 0 && (o.gate_zeros >= 1 || o.dim <= 2 * kChannels))
    throw tools::UsageError("--gate-zeros: expected a share from 0 to below 1 and --dim above 16, got " +
                            std::to_string(o.gate_zeros) + " and " + std::to_string(o.dim));
  if (o.down_zeros < 0)
    return;
  const double least = down_zeros_with(o, 1), most = down_zeros_with(o, kMostGain);
  if (o.down_zeros > most || o.down_zeros < least - 0.02)
    throw tools::UsageError("--down-zeros: expected " + std::to_string(least) + " to " +
                            std::to_string(most) + " with these gates, got " + std::to_string(o.down_zeros) +
                            "; --gate-zeros changes the range");
}

} // namespace bitnet::dummy
