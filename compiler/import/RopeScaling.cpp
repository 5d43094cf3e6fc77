// See RopeScaling.h. The formulas are those of transformers' modeling_rope_utils and of ggml.
#include "compiler/import/RopeScaling.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr double kTwoPi = 6.283185307179586;

/// The pair (a fraction) that turns `turns` times in the first training's context.
double pairOfTurns(const RopeScaling &s, double turns, float theta, int32_t headDim) {
  return headDim * std::log(s.originalContext / (turns * kTwoPi)) / (2 * std::log(double(theta)));
}

double llama3Frequency(const RopeScaling &s, double frequency) {
  const double length = kTwoPi / frequency; // positions of one turn
  if (length < s.originalContext / s.highFrequency)
    return frequency;
  if (length > s.originalContext / s.lowFrequency)
    return frequency / s.factor;
  const double kept =
      (s.originalContext / length - s.lowFrequency) / (double(s.highFrequency) - s.lowFrequency);
  return (1 - kept) * frequency / s.factor + kept * frequency;
}

} // namespace

std::optional<RopeScaling::Kind> ropeScalingFromName(StringRef name) {
  using Kind = RopeScaling::Kind;
  if (name == "default")
    return Kind::none;
  for (Kind kind : {Kind::none, Kind::linear, Kind::llama3, Kind::yarn})
    if (name == ropeScalingName(kind))
      return kind;
  return std::nullopt;
}

const char *ropeScalingName(RopeScaling::Kind kind) {
  using Kind = RopeScaling::Kind;
  switch (kind) {
  case Kind::none:
    return "none";
  case Kind::linear:
    return "linear";
  case Kind::llama3:
    return "llama3";
  case Kind::yarn:
    return "yarn";
  case Kind::divisors:
    return "divisors";
  }
  return "unknown";
}

std::string ropeScalingError(const RopeScaling &s, int32_t headDim) {
  using Kind = RopeScaling::Kind;
  std::string error;
  auto check = [&](const char *name, double value, double low, double high) {
    if (!error.empty() || (value >= low && value <= high)) // NaN is neither
      return;
    char text[128];
    std::snprintf(text, sizeof text, ": expected a number of %g to %g, got %g", low, high, value);
    error = name + std::string(text);
  };
  if (s.kind == Kind::none)
    return error;
  if (s.kind == Kind::divisors) {
    if (s.divisors.size() != size_t(headDim / 2))
      return "expected " + std::to_string(headDim / 2) + " factors, half of the head size, got " +
             std::to_string(s.divisors.size());
    for (float divisor : s.divisors)
      check("factor", divisor, 1e-6, 1e6);
    return error;
  }
  check("factor", s.factor, 1, 1e6);
  if (s.kind == Kind::linear)
    return error;
  check("original_max_position_embeddings", s.originalContext, 1, 1 << 24);
  if (s.kind == Kind::llama3) {
    check("low_freq_factor", s.lowFrequency, 1e-3, 1e6);
    check("high_freq_factor", s.highFrequency, 1e-3, 1e6);
    if (error.empty() && !(s.highFrequency > s.lowFrequency))
      error = "high_freq_factor: expected more than low_freq_factor " + std::to_string(s.lowFrequency) +
              ", got " + std::to_string(s.highFrequency);
    return error;
  }
  check("beta_fast", s.betaFast, 1e-3, 1e6);
  check("beta_slow", s.betaSlow, 1e-3, 1e6);
  check("attention_factor", s.magnitude, 0, 1e3);
  return error;
}

std::vector<double> ropeFrequencies(const RopeScaling &s, float theta, int32_t headDim) {
  using Kind = RopeScaling::Kind;
  if (s.kind == Kind::none)
    return {};
  double first = 0, last = 0; // pairs between which yarn blends
  if (s.kind == Kind::yarn) {
    first = pairOfTurns(s, s.betaFast, theta, headDim), last = pairOfTurns(s, s.betaSlow, theta, headDim);
    if (s.wholeDimensions)
      first = std::floor(first), last = std::ceil(last);
    first = std::max(first, 0.0), last = std::min(last, headDim - 1.0);
  }
  std::vector<double> result(size_t(headDim / 2));
  for (size_t j = 0; j < result.size(); ++j) {
    const double own = std::pow(double(theta), -2.0 * double(j) / headDim);
    switch (s.kind) {
    case Kind::none:
      break;
    case Kind::linear:
      result[j] = own / s.factor;
      break;
    case Kind::llama3:
      result[j] = llama3Frequency(s, own);
      break;
    case Kind::yarn: {
      const double stretched = std::clamp((double(j) - first) / std::max(0.001, last - first), 0.0, 1.0);
      result[j] = own * (1 - stretched) + own / s.factor * stretched;
      break;
    }
    case Kind::divisors:
      result[j] = own / s.divisors[j];
      break;
    }
  }
  return result;
}

float ropeMagnitude(const RopeScaling &s) {
  if (s.kind != RopeScaling::Kind::yarn)
    return 1;
  return s.magnitude > 0 ? s.magnitude : float(0.1 * std::log(double(s.factor)) + 1);
}

} // namespace bitnet::import
