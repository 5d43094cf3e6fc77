// The order of candidates: by logit, of equals the lowest id first. A candidate is one number, so that an
// order of many is quick to make: the logit's bits so turned that they ascend as logits descend, and below
// them the id.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bitnet::runtime {

using Candidate = uint64_t;

/// logit: not NaN. -0 becomes 0, for the two are equal.
inline Candidate candidate(float logit, int32_t id) {
  const float value = logit + 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t descending = bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
  return uint64_t(descending) << 32 | uint32_t(id);
}
inline float logit_of(Candidate c) {
  const auto descending = uint32_t(c >> 32);
  const uint32_t bits = descending >> 31 ? descending : ~descending & 0x7FFFFFFFu;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int32_t id_of(Candidate c) { return int32_t(uint32_t(c)); }

/// Sorts candidates that stand in the order of their ids. spare: [n].
void sort_candidates(Candidate *candidates, size_t n, Candidate *spare);
/// Those with low <= logit < high in the order of ids, or those with low <= logit where high is infinite; how
/// many. logits: f32 [vocab], none NaN; out: room for one more.
size_t take_between(const float *logits, int32_t vocab, float low, float high, Candidate *out);
/// The n first of all, sorted. 0 < n <= vocab; logits: f32 [vocab], none NaN; out: [vocab + 1], spare:
/// [vocab].
void take_first(const float *logits, int32_t vocab, size_t n, Candidate *out, Candidate *spare);

} // namespace bitnet::runtime
