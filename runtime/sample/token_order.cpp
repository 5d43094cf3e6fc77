// See token_order.h.
#include "runtime/sample/token_order.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitnet::runtime {
namespace {

constexpr int32_t kBlock = 32; ///< logits that are looked at together; most blocks have nothing
/// Below so many comparing is faster than counting digits.
constexpr size_t kFewToSort = 400;
constexpr int kDigitBits = 8, kDigits = 4; ///< of the logit's 32 bits; few enough for one line of L1 each
constexpr size_t kValues = size_t(1) << kDigitBits;

/// Calls look(id) for all ids but for blocks in which no logit is above `least`, which look() may change.
template <class Look> void look_above(const float *logits, int32_t vocab, const float &least, Look look) {
  int32_t at = 0;
  for (; at + kBlock <= vocab; at += kBlock) {
    int32_t n_above = 0;
    const float bound = least;
    for (int32_t i = at; i < at + kBlock; ++i)
      n_above += logits[i] > bound;
    if (n_above != 0)
      for (int32_t i = at; i < at + kBlock; ++i)
        look(i);
  }
  for (; at < vocab; ++at)
    look(at);
}

int shift_of(int digit) { return 32 + digit * kDigitBits; }

} // namespace

void sort_candidates(Candidate *candidates, size_t n, Candidate *spare) {
  if (n < kFewToSort) {
    std::sort(candidates, candidates + n);
    return;
  }
  uint32_t counts[kDigits][kValues] = {};
  for (size_t i = 0; i < n; ++i)
    for (int digit = 0; digit < kDigits; ++digit)
      ++counts[digit][candidates[i] >> shift_of(digit) & (kValues - 1)];
  Candidate *from = candidates, *to = spare;
  for (int digit = 0; digit < kDigits; ++digit) {
    uint32_t *const places = counts[digit];
    if (places[from[0] >> shift_of(digit) & (kValues - 1)] == n)
      continue; // all alike
    uint32_t place = 0;
    for (size_t value = 0; value < kValues; ++value) {
      const uint32_t count = places[value];
      places[value] = place;
      place += count;
    }
    for (size_t i = 0; i < n; ++i)
      to[places[from[i] >> shift_of(digit) & (kValues - 1)]++] = from[i];
    std::swap(from, to);
  }
  if (from != candidates)
    std::copy(from, from + n, candidates);
}

size_t take_between(const float *logits, int32_t vocab, float low, float high, Candidate *out) {
  size_t n = 0;
  const float below = std::nextafter(low, -std::numeric_limits<float>::infinity());
  look_above(logits, vocab, below, [&](int32_t id) {
    out[n] = candidate(logits[id], id); // overwritten if it is not taken
    n += size_t(logits[id] >= low) & size_t(logits[id] < high);
  });
  return n;
}

void take_first(const float *logits, int32_t vocab, size_t n, Candidate *out, Candidate *spare) {
  const size_t most = std::min(size_t(vocab), 2 * n + 64);
  size_t taken = 0;
  float least = -std::numeric_limits<float>::infinity(); // what is not above is not among the n first
  look_above(logits, vocab, least, [&](int32_t id) {
    if (logits[id] <= least) // equals that come later lose
      return;
    out[taken++] = candidate(logits[id], id);
    if (taken == most && n < most) {
      std::nth_element(out, out + (n - 1), out + taken);
      least = logit_of(out[n - 1]);
      taken = n;
    }
  });
  std::nth_element(out, out + (n - 1), out + taken);
  if (n < kFewToSort)
    return std::sort(out, out + n);
  const Candidate last = out[n - 1];
  least = std::nextafter(logit_of(last), -std::numeric_limits<float>::infinity());
  taken = 0;
  look_above(logits, vocab, least, [&](int32_t id) { // once more in the order of ids
    out[taken] = candidate(logits[id], id);
    taken += taken < n && out[taken] <= last;
  });
  sort_candidates(out, n, spare);
}

} // namespace bitnet::runtime
