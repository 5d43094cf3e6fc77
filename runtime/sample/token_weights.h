// What drawing a token does with every logit of a row, so for 128,256 numbers a token: cleaning, the highest,
// and e^x. Compiled for several CPUs from one text of IEEE operations, which gives the same bits on all.
#pragma once
#include <cfloat>
#include <cstdint>
#include <vector>

namespace bitnet::runtime {

/// A logit as samplers take it, finite: NaN and -inf are -FLT_MAX, +inf is FLT_MAX.
inline float clean_logit(float logit) {
  const float above = logit > -FLT_MAX ? logit : -FLT_MAX;
  return above < FLT_MAX ? above : FLT_MAX;
}
/// clean[i] = clean_logit(logits[i]), i < n; returns the highest of them. clean may be nullptr, or logits.
float clean_logits(const float *logits, int32_t n, float *clean);

/// weights[i] = exp_nonpositive((logits[i] - highest) * inverse), i < n: the best has weight 1.
void weigh(const float *logits, int32_t n, float highest, double inverse, double *weights);

/// The ways in which this CPU can do it, the best last. A way takes a multiple of kWeighTogether.
using Weigh = void (*)(const float *logits, int32_t n, double highest, double inverse, double *weights);
constexpr int32_t kWeighTogether = 32;
std::vector<Weigh> ways_to_weigh();

} // namespace bitnet::runtime
