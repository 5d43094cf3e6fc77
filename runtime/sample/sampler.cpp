// See sampler.h.
#include "runtime/sample/sampler.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <numeric>

namespace bitnet::runtime {
namespace {

constexpr int32_t kDefaultWindow = 64, kMaxWindow = 1 << 20;
/// How many candidates top-p sorts first; most distributions need fewer. Each further round sorts four times
/// as many.
constexpr size_t kFirstSort = 256;

Status check(const bitnet_sampling &s, int32_t vocab) {
  if (vocab <= 0)
    return invalid_argument("sampler: vocab: expected a positive number, got " + std::to_string(vocab));
  if (std::isnan(s.temperature) || std::isinf(s.temperature))
    return invalid_argument("sampler: temperature: expected a finite number");
  if (!(s.top_p >= 0))
    return invalid_argument("sampler: top_p: expected 0 to 1, got " + std::to_string(s.top_p));
  if (!(s.min_p <= 1))
    return invalid_argument("sampler: min_p: expected 0 to 1, got " + std::to_string(s.min_p));
  if (!(s.repetition_penalty > 0) || std::isinf(s.repetition_penalty))
    return invalid_argument("sampler: repetition_penalty: expected a positive number (1 = off), got " +
                            std::to_string(s.repetition_penalty));
  if (!std::isfinite(s.presence_penalty) || !std::isfinite(s.frequency_penalty))
    return invalid_argument("sampler: presence_penalty and frequency_penalty: expected finite numbers");
  if (s.n_bias > 0 && (!s.bias_tokens || !s.bias_values))
    return invalid_argument("sampler: bias: expected tokens and values, got NULL");
  for (size_t i = 0; i < s.n_bias; ++i) {
    if (s.bias_tokens[i] < 0 || s.bias_tokens[i] >= vocab)
      return invalid_argument("sampler: bias: expected a token from 0 to " + std::to_string(vocab - 1) +
                              ", got " + std::to_string(s.bias_tokens[i]));
    if (std::isnan(s.bias_values[i]))
      return invalid_argument("sampler: bias of token " + std::to_string(s.bias_tokens[i]) +
                              ": expected a number, got NaN");
  }
  if (s.repetition_window > kMaxWindow)
    return invalid_argument("sampler: repetition_window: expected at most " + std::to_string(kMaxWindow) +
                            " (negative = all), got " + std::to_string(s.repetition_window));
  return {};
}

} // namespace

Result<std::unique_ptr<Sampler>> Sampler::create(const bitnet_sampling &sampling, int32_t vocab) {
  BITNET_RETURN_IF_ERROR(check(sampling, vocab));
  return std::unique_ptr<Sampler>(new Sampler(sampling, vocab));
}

Sampler::Sampler(const bitnet_sampling &sampling, int32_t vocab)
    : sampling_(sampling), vocab_(vocab), random_(sampling.seed) {
  if (sampling.temperature > 0)
    candidates_.resize(vocab);
  if (sampling.repetition_penalty != 1) {
    seen_.resize(vocab);
    if (sampling.repetition_window >= 0)
      window_.resize(sampling.repetition_window ? sampling.repetition_window : kDefaultWindow);
  }
  if (sampling.presence_penalty != 0 || sampling.frequency_penalty != 0)
    drawn_.resize(vocab);
  if (sampling.n_bias > 0) {
    bias_.resize(vocab);
    for (size_t i = 0; i < sampling.n_bias; ++i)
      bias_[sampling.bias_tokens[i]] += sampling.bias_values[i];
  }
}

void Sampler::accept(int32_t token, bool drawn) {
  if (token < 0 || token >= vocab_)
    return;
  if (drawn && !drawn_.empty() && drawn_[token] < INT32_MAX)
    n_drawn_ += ++drawn_[token] == 1;
  if (seen_.empty())
    return;
  if (!window_.empty()) {
    int32_t &place = window_[n_accepted_ % window_.size()];
    if (n_accepted_ >= window_.size())
      n_seen_ -= --seen_[place] == 0;
    place = token;
  }
  ++n_accepted_;
  if (seen_[token] < INT32_MAX)
    n_seen_ += ++seen_[token] == 1;
}

LogitsNeed Sampler::need(int32_t ahead) const {
  constexpr LogitsNeed kAll = {0, 0};
  const bool only_lowers = bias_.empty() && !(sampling_.repetition_penalty < 1) &&
                           !(sampling_.presence_penalty < 0) && !(sampling_.frequency_penalty < 0);
  if (!only_lowers)
    return kAll;
  // Of the n + m largest at least n keep their logits if m tokens are penalized, and what is not among them
  // stays below those n.
  const int64_t penalized = int64_t(n_seen_) + n_drawn_ + (is_plain() ? 0 : 2 * int64_t(ahead));
  const auto largest = [&](int64_t n) {
    return n + penalized < vocab_ ? LogitsNeed{int32_t(n + penalized), 0} : kAll;
  };
  if (!(sampling_.temperature > 0))
    return largest(1);
  if (sampling_.top_k > 0)
    return largest(sampling_.top_k);
  if (!(sampling_.min_p > 0) || sampling_.top_p < 1 || !is_plain())
    return kAll; // top-p sums over all; penalties lower the best token, from which min-p counts, by any
                 // amount
  // weight >= min_p, with room for its rounding (exp_nonpositive: 1e-15).
  const double margin =
      double(sampling_.temperature) * (1e-9 - std::log(double(sampling_.min_p)) * (1 + 1e-6));
  return margin < 1e30 ? LogitsNeed{1, float(margin)} : kAll;
}

/// The logit after bias and penalties, finite: NaN and -inf become -FLT_MAX, +inf FLT_MAX.
float Sampler::penalized(const float *logits, int32_t id) const {
  float logit = logits[id];
  if (std::isnan(logit))
    return -FLT_MAX;
  if (!bias_.empty())
    logit += bias_[id];
  if (!seen_.empty() && seen_[id] > 0)
    logit = logit > 0 ? logit / sampling_.repetition_penalty : logit * sampling_.repetition_penalty;
  if (!drawn_.empty() && drawn_[id] > 0)
    logit -= sampling_.presence_penalty + sampling_.frequency_penalty * static_cast<float>(drawn_[id]);
  if (std::isnan(logit)) // +inf and a ban
    return -FLT_MAX;
  return std::clamp(logit, -FLT_MAX, FLT_MAX);
}

bool Sampler::before(const Candidate &a, const Candidate &b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

/// Makes the n first of all tokens in the order of before() the candidates, sorted. The logits are read once:
/// what is not above the n-th best so far is passed over, which is nearly everything.
void Sampler::take_largest(const float *logits, size_t n) {
  const auto begin = candidates_.begin();
  const size_t most = std::min(candidates_.size(), 2 * n + 64);
  size_t taken = 0;
  float least = -std::numeric_limits<float>::infinity(); // only what is not below may be among the n first
  bool full = false;
  for (int32_t id = 0; id < vocab_; ++id) {
    if (is_plain() && full && logits[id] <= least) // equals that come later lose; NaN compares false
      continue;
    const float logit = penalized(logits, id);
    if (full && logit <= least)
      continue;
    candidates_[taken++] = {logit, id, 0};
    if (taken == most) {
      std::nth_element(begin, begin + ptrdiff_t(n), begin + ptrdiff_t(taken), before);
      least = std::min_element(begin, begin + ptrdiff_t(n), [](const Candidate &a, const Candidate &b) {
                return a.logit < b.logit;
              })->logit;
      taken = n;
      full = true;
    }
  }
  std::nth_element(begin, begin + ptrdiff_t(std::min(n, taken - 1)), begin + ptrdiff_t(taken), before);
  std::sort(begin, begin + ptrdiff_t(n), before); // the order of the sums must not be an accident
}

/// Sorts as many of the first n candidates as needed; returns how many top-p keeps. A token is kept when the
/// mass before it is at most top_p, so the one that crosses is kept, and the first always.
size_t Sampler::keep_top_p(size_t n) {
  const auto begin = candidates_.begin();
  double total = 0;
  for (size_t i = 0; i < n; ++i)
    total += candidates_[i].weight;
  const double limit = static_cast<double>(sampling_.top_p) * total;
  double mass = 0;
  for (size_t sorted = 0, round = kFirstSort; sorted < n; round *= 4) {
    const size_t end = std::min(n, sorted + round);
    if (end < n)
      std::nth_element(begin + sorted, begin + end, begin + n, before);
    std::sort(begin + sorted, begin + end, before);
    for (; sorted < end; ++sorted) {
      if (mass > limit)
        return sorted;
      mass += candidates_[sorted].weight;
    }
  }
  return n;
}

/// The id with the highest logit after the penalty, of equals the lowest.
int32_t Sampler::best(const float *logits) const {
  int32_t best = 0;
  if (is_plain()) { // the common case: the highest in lanes side by side, then where it stands first
    constexpr int32_t kLanes = 32;
    float lanes[kLanes];
    std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
    int32_t id = 0;
    for (; id + kLanes <= vocab_; id += kLanes)
      for (int32_t l = 0; l < kLanes; ++l) // NaN compares false, so it never wins
        lanes[l] = logits[id + l] > lanes[l] ? logits[id + l] : lanes[l];
    for (; id < vocab_; ++id)
      lanes[0] = logits[id] > lanes[0] ? logits[id] : lanes[0];
    const float highest = *std::max_element(lanes, lanes + kLanes);
    if (highest == -std::numeric_limits<float>::infinity()) // nothing to choose from
      return best;
    return int32_t(std::find(logits, logits + vocab_, highest) - logits);
  }
  float highest = penalized(logits, 0);
  for (int32_t id = 1; id < vocab_; ++id)
    if (const float logit = penalized(logits, id); logit > highest) {
      highest = logit;
      best = id;
    }
  return best;
}

int32_t Sampler::sample(const float *logits) {
  const int32_t best = this->best(logits);
  if (!(sampling_.temperature > 0))
    return best;

  const float highest = penalized(logits, best);
  const double inverse = 1.0 / static_cast<double>(sampling_.temperature);
  const double u = random_.uniform();
  if (highest == -FLT_MAX) // nothing to draw from
    return best;
  size_t n = vocab_;
  if (sampling_.top_k > 0 && static_cast<size_t>(sampling_.top_k) < n)
    take_largest(logits, n = sampling_.top_k);
  else
    for (int32_t id = 0; id < vocab_; ++id)
      candidates_[id] = {penalized(logits, id), id, 0};
  for (size_t i = 0; i < n; ++i)
    candidates_[i].weight =
        exp_nonpositive((static_cast<double>(candidates_[i].logit) - static_cast<double>(highest)) * inverse);
  if (sampling_.top_p < 1)
    n = keep_top_p(n);

  // min-p is relative to the best token, whose weight is 1: it drops what the draw passes over.
  const double least = sampling_.min_p > 0 ? static_cast<double>(sampling_.min_p) : 0;
  double total = 0;
  for (size_t i = 0; i < n; ++i)
    if (candidates_[i].weight >= least)
      total += candidates_[i].weight;
  const double target = u * total;
  double mass = 0;
  int32_t drawn = best;
  for (size_t i = 0; i < n; ++i) {
    if (candidates_[i].weight < least || candidates_[i].weight == 0)
      continue;
    mass += candidates_[i].weight;
    drawn = candidates_[i].id; // the last one too, should rounding leave target at the total
    if (mass > target)
      break;
  }
  return drawn;
}

LogSoftmax::LogSoftmax(const float *logits, int32_t vocab) : logits_(logits), vocab_(vocab), log_sum_(0) {
  double highest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int32_t id = 0; id < vocab; ++id)
    highest = std::max(highest, static_cast<double>(logit(id)));
  for (int32_t id = 0; id < vocab; ++id)
    sum += exp_nonpositive(static_cast<double>(logit(id)) - highest);
  log_sum_ = highest + std::log(sum); // sum >= 1
}

/// Finite: what is not a number or -inf is as good as impossible.
float LogSoftmax::logit(int32_t token) const {
  const float value = logits_[token];
  return std::isnan(value) ? -FLT_MAX : std::clamp(value, -FLT_MAX, FLT_MAX);
}

float LogSoftmax::of(int32_t token) const {
  return static_cast<float>(static_cast<double>(logit(token)) - log_sum_);
}

std::vector<int32_t> LogSoftmax::best(int32_t n) const {
  std::vector<int32_t> ids(vocab_);
  std::iota(ids.begin(), ids.end(), 0);
  const auto before = [this](int32_t a, int32_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + n, ids.end(), before);
  ids.resize(n);
  return ids;
}

} // namespace bitnet::runtime
