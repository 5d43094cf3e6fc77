// Rotations that were stretched beyond the context that a model was first trained for: the frequencies that
// take the place of theta^(-2j/D), and what cos and sin are multiplied with.
#pragma once
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::import {

struct RopeScaling {
  enum class Kind {
    none,
    linear,  ///< all frequencies divided by `factor`
    llama3,  ///< low ones divided, high ones kept, those between blended
    yarn,    ///< likewise, blended over dimensions; cos and sin magnified (arXiv 2309.00071)
    divisors ///< each divided by its own number: GGUF's rope_freqs.weight
  } kind = Kind::none;
  float factor = 1;
  float originalContext = 0;                 ///< llama3, yarn: positions of the first training
  float lowFrequency = 1, highFrequency = 4; ///< llama3: turns in originalContext
  float betaFast = 32, betaSlow = 1;         ///< yarn: likewise
  bool wholeDimensions = true;               ///< yarn: the blend starts and ends at whole dimensions
  float magnitude = 0;                       ///< yarn: 0: 0.1 ln(factor) + 1
  std::vector<float> divisors;               ///< [head size / 2]
};

/// "linear", "llama3", "yarn"; "default" and "none" are Kind::none; other names are nothing.
std::optional<RopeScaling::Kind> ropeScalingFromName(llvm::StringRef name);
/// The other way, for reports; "divisors" has a name here alone.
const char *ropeScalingName(RopeScaling::Kind kind);
/// What is wrong with it, or empty: "factor: expected a number of 1 to 1e+06, got 0.5".
std::string ropeScalingError(const RopeScaling &scaling, int32_t headDim);
/// Frequency of each pair of a head, or nothing where they are theta^(-2j/D).
std::vector<double> ropeFrequencies(const RopeScaling &scaling, float theta, int32_t headDim);
/// Of cos and sin.
float ropeMagnitude(const RopeScaling &scaling);

} // namespace bitnet::import
