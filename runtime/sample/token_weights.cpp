// See token_weights.h.
#include "runtime/sample/token_weights.h"
#include "runtime/cpu/cpu.h"
#include "runtime/sample/random.h"

#include <algorithm>
#include <cfloat>

namespace bitnet::runtime {
namespace {

constexpr int32_t kLanes = 32;

/// A loop of a known length without branches: the compiler makes vectors of it for each target.
[[gnu::always_inline]] inline void weigh_all(const float *__restrict logits, int32_t n, double highest,
                                             double inverse, double *__restrict weights) {
  for (; n > 0; n -= kWeighTogether, logits += kWeighTogether, weights += kWeighTogether)
    for (int32_t i = 0; i < kWeighTogether; ++i)
      weights[i] = exp_nonpositive((static_cast<double>(logits[i]) - highest) * inverse);
}

void weigh_portable(const float *logits, int32_t n, double highest, double inverse, double *weights) {
  weigh_all(logits, n, highest, inverse, weights);
}
#ifdef __x86_64__
[[gnu::target("avx2")]] void weigh_avx2(const float *logits, int32_t n, double highest, double inverse,
                                        double *weights) {
  weigh_all(logits, n, highest, inverse, weights);
}
[[gnu::target("avx512f")]] void weigh_avx512(const float *logits, int32_t n, double highest, double inverse,
                                             double *weights) {
  weigh_all(logits, n, highest, inverse, weights);
}
#endif

template <bool Store> float clean_and_find(const float *logits, int32_t n, float *clean) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -FLT_MAX);
  const auto look = [&](int32_t at, int32_t lane) {
    const float logit = logits[at];
    lanes[lane] = logit > lanes[lane] ? logit : lanes[lane]; // NaN never is
    if (Store)
      clean[at] = clean_logit(logit);
  };
  int32_t at = 0;
  for (; at + kLanes <= n; at += kLanes)
    for (int32_t lane = 0; lane < kLanes; ++lane)
      look(at + lane, lane);
  for (; at < n; ++at)
    look(at, 0);
  return clean_logit(*std::max_element(lanes, lanes + kLanes));
}

} // namespace

float clean_logits(const float *logits, int32_t n, float *clean) {
  return clean ? clean_and_find<true>(logits, n, clean) : clean_and_find<false>(logits, n, clean);
}

std::vector<Weigh> ways_to_weigh() {
  std::vector<Weigh> ways = {weigh_portable};
#ifdef __x86_64__
  const uint64_t features = cpu::features();
  if (features & bit(format::CpuFeature::avx2))
    ways.push_back(weigh_avx2);
  if (features & bit(format::CpuFeature::avx512f))
    ways.push_back(weigh_avx512);
#endif
  return ways;
}

void weigh(const float *logits, int32_t n, float highest, double inverse, double *weights) {
  static const Weigh best = ways_to_weigh().back();
  const int32_t whole = n / kWeighTogether * kWeighTogether;
  best(logits, whole, highest, inverse, weights);
  if (whole == n)
    return;
  float rest[kWeighTogether];
  double weights_of_rest[kWeighTogether];
  std::fill(std::copy(logits + whole, logits + n, rest), rest + kWeighTogether, highest);
  best(rest, kWeighTogether, highest, inverse, weights_of_rest);
  std::copy(weights_of_rest, weights_of_rest + (n - whole), weights + whole);
}

} // namespace bitnet::runtime
