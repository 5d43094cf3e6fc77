// See sampler.h.
#include "runtime/sample/sampler.h"
#include "runtime/format/rounding.h"
#include "runtime/sample/token_weights.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitnet::runtime {
namespace {

constexpr int32_t kDefaultWindow = 64, kMaxWindow = 1 << 20;
/// Tokens that are weighed at once: weights that stay in the L1 cache.
constexpr int32_t kPiece = 128;
/// Top-p sorts candidates until it has its mass: first those with logits within so many temperatures of the
/// highest, then those of one band below after the other, at last all that are left.
constexpr double kFirstBand = 4, kBand = 2;
constexpr int kMostBands = 16;

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
    : sampling_(sampling), vocab_(vocab), random_(sampling.seed),
      inverse_(1.0 / static_cast<double>(sampling.temperature)),
      least_(sampling.min_p > 0 ? static_cast<double>(sampling.min_p) : 0),
      // With room for the weights' rounding (exp_nonpositive: 1e-15).
      margin_(least_ > 0 ? static_cast<double>(sampling.temperature) * (1e-9 - std::log(least_) * (1 + 1e-6))
                         : std::numeric_limits<double>::infinity()) {
  const auto n = static_cast<size_t>(vocab);
  if (sampling.temperature > 0) {
    candidates_.reset(new Candidate[n + 1]);
    spare_.reset(new Candidate[n]);
    masses_.reset(new double[n]);
  }
  if (sampling.repetition_penalty != 1) {
    seen_.resize(n);
    if (sampling.repetition_window >= 0)
      window_.resize(sampling.repetition_window ? sampling.repetition_window : kDefaultWindow);
  }
  if (sampling.presence_penalty != 0 || sampling.frequency_penalty != 0)
    drawn_.resize(n);
  if (sampling.n_bias > 0)
    bias_.resize(n);
  if (sampling.temperature > 0 || !is_plain())
    logits_.reset(new float[n]);
  if (!is_plain()) {
    touched_.reserve(n);
    is_touched_.resize(n);
  }
  for (size_t i = 0; i < sampling.n_bias; ++i) {
    bias_[sampling.bias_tokens[i]] += sampling.bias_values[i];
    touch(sampling.bias_tokens[i]);
  }
}

void Sampler::touch(int32_t token) {
  if (is_plain() || is_touched_[token])
    return;
  is_touched_[token] = true;
  touched_.push_back(token);
}

void Sampler::accept(int32_t token, bool drawn) {
  if (token < 0 || token >= vocab_)
    return;
  touch(token);
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

LogitsNeed Sampler::need(int32_t ahead) {
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
  if (sampling_.top_p < 1) // sums over all; what penalties will see of the draws ahead is not known
    return (ahead == 0 || is_plain()) && wants_check() ? LogitsNeed{0, 0, this} : kAll;
  if (!is_plain())
    return kAll; // penalties lower the best token, from which min-p counts, by any amount
  return margin_ < 1e30 ? LogitsNeed{1, float(margin_)} : kAll;
}

/// Whether checks are worth it: one that fails costs a screen for nothing, about a third of the whole head.
bool Sampler::wants_check() {
  constexpr double kRate = 0.1, kWorth = 0.35;
  constexpr int32_t kTryAgain = 16; ///< draws
  if (is_asked_)
    share_settled_ += ((is_settled_ ? 1 : 0) - share_settled_) * kRate;
  is_settled_ = false;
  is_asked_ = share_settled_ > kWorth || ++n_not_asked_ % kTryAgain == 0;
  return is_asked_;
}

/// The logit after bias and penalties, finite: NaN and -inf become -FLT_MAX, +inf FLT_MAX.
float Sampler::penalized(float logit, int32_t id) const {
  if (std::isnan(logit))
    return -FLT_MAX;
  if (!bias_.empty())
    logit += bias_[id];
  if (!seen_.empty() && seen_[id] > 0)
    logit = logit > 0 ? logit / sampling_.repetition_penalty : logit * sampling_.repetition_penalty;
  if (!drawn_.empty() && drawn_[id] > 0)
    logit -= sampling_.presence_penalty + sampling_.frequency_penalty * static_cast<float>(drawn_[id]);
  return clean_logit(logit); // +inf and a ban give NaN
}

/// What weigh gives for one logit.
double Sampler::weight(float logit) const {
  return exp_nonpositive((static_cast<double>(logit) - static_cast<double>(highest_)) * inverse_);
}

/// Fills logits_ if there is room for them; returns the highest.
float Sampler::prepare(const float *logits) {
  const float highest = clean_logits(logits, vocab_, logits_.get());
  if (touched_.empty())
    return highest;
  for (const int32_t id : touched_)
    logits_[id] = penalized(logits[id], id);
  return clean_logits(logits_.get(), vocab_, nullptr);
}

/// The sum of all weights in the order of ids.
double Sampler::sum_all() {
  double weights[kPiece], total = 0;
  for (int32_t at = 0; at < vocab_; at += kPiece) {
    const int32_t n = std::min(kPiece, vocab_ - at);
    weigh(logits_.get() + at, n, highest_, inverse_, weights);
    for (int32_t i = 0; i < n; ++i)
      total += weights[i];
  }
  return total;
}

/// Draws in the order of ids among the weights that min-p leaves. min-p is relative to the best token, whose
/// weight is 1.
int32_t Sampler::draw_from_all(double u) {
  const float low = format::round_down(static_cast<double>(highest_) - margin_);
  double weights[kPiece];
  const auto weigh_piece = [&](int32_t at) {
    const int32_t n = std::min(kPiece, vocab_ - at);
    int32_t n_reach = 0;
    for (int32_t i = at; i < at + n; ++i)
      n_reach += logits_[i] >= low;
    if (n_reach == 0)
      return 0;
    weigh(logits_.get() + at, n, highest_, inverse_, weights);
    return n;
  };
  double total = 0;
  size_t pieces = 0;
  for (int32_t at = 0; at < vocab_; at += kPiece) {
    const int32_t n = weigh_piece(at);
    for (int32_t i = 0; i < n; ++i)
      total += weights[i] >= least_ ? weights[i] : 0;
    masses_[pieces++] = total;
  }
  // The first token at which the same sum is above the target; u < 1, so target < total, rounded too.
  const double target = u * total;
  const auto piece = std::upper_bound(masses_.get(), masses_.get() + pieces, target) - masses_.get();
  const auto first = static_cast<int32_t>(piece) * kPiece;
  double mass = piece > 0 ? masses_[piece - 1] : 0;
  const int32_t n = weigh_piece(first);
  for (int32_t i = 0; i < n; ++i) {
    mass += weights[i] >= least_ ? weights[i] : 0;
    if (mass > target)
      return first + i;
  }
  return first;
}

/// Fills masses_ of the sorted candidates [begin, end), if not above the limit before; up to where it did.
size_t Sampler::weigh_candidates(size_t begin, size_t end, double limit) {
  float logits[kPiece];
  double weights[kPiece], mass = begin > 0 ? masses_[begin - 1] : 0;
  for (size_t at = begin; at < end; at += kPiece) {
    const auto n = static_cast<int32_t>(std::min<size_t>(kPiece, end - at));
    for (int32_t i = 0; i < n; ++i)
      logits[i] = logit_of(candidates_[at + i]);
    weigh(logits, n, highest_, inverse_, weights);
    for (int32_t i = 0; i < n; ++i)
      masses_[at + i] = mass += weights[i];
    if (mass > limit)
      return at + static_cast<size_t>(n);
  }
  return end;
}

/// Sorts and weighs as many of all tokens as there are before the mass is above the limit, and some; how
/// many.
size_t Sampler::sort_nucleus(double limit) {
  size_t n = 0;
  float high = std::numeric_limits<float>::infinity();
  for (int band = 0; band <= kMostBands; ++band) {
    const double depth = static_cast<double>(sampling_.temperature) * (kFirstBand + kBand * band);
    const float low = band < kMostBands ? static_cast<float>(static_cast<double>(highest_) - depth)
                                        : -std::numeric_limits<float>::infinity();
    const size_t begin = n;
    n += take_between(logits_.get(), vocab_, low, high, candidates_.get() + n);
    sort_candidates(candidates_.get() + begin, n - begin, spare_.get());
    if (const size_t weighed = weigh_candidates(begin, n, limit); weighed > 0 && masses_[weighed - 1] > limit)
      return weighed;
    high = low;
  }
  return n;
}

/// Draws among the first n candidates. Top-p keeps those before which there is at most the limit, so the one
/// that crosses it is kept, and the first always; min-p keeps the first so many.
int32_t Sampler::draw_candidate(size_t n, double limit, double u) const {
  const double *const masses = masses_.get();
  const auto above = [&](size_t end, double bound) { // the first mass that is
    return static_cast<size_t>(std::upper_bound(masses, masses + end, bound) - masses);
  };
  n = std::min(n, above(n, limit) + 1);
  if (least_ > 0)
    n = static_cast<size_t>(std::partition_point(candidates_.get(), candidates_.get() + n,
                                                 [&](Candidate c) { return weight(logit_of(c)) >= least_; }) -
                            candidates_.get());
  return id_of(candidates_[above(n, u * masses[n - 1])]); // u < 1: one is above
}

/// Top-p alone, or with min-p: whether its draw takes the same token whatever the others sum to. Their sum
/// decides only how many candidates are kept; the more are, the higher is the target, so the draw goes no
/// further down with the least sum and no less far with the greatest than with any between. Penalties only
/// lower logits here (need), so what holds for the others' logits holds after the penalties.
bool Sampler::suffices(size_t draw, const int32_t *rows, const float *logits, int32_t n, float below,
                       double rest) {
  size_t n_sorted = 0;
  float highest = -FLT_MAX;
  for (int32_t i = 0; i < n; ++i) {
    const float logit = penalized(logits[i], rows[i]);
    candidates_[n_sorted] = candidate(logit, rows[i]);
    n_sorted += logit >= below; // others are behind these for certain
    highest = std::max(highest, clean_logit(logits[i]));
  }
  if (n_sorted == 0)
    return false;
  sort_candidates(candidates_.get(), n_sorted, spare_.get());
  highest_ = logit_of(candidates_[0]);
  weigh_candidates(0, n_sorted, std::numeric_limits<double>::infinity());
  double known = masses_[n_sorted - 1];
  for (int32_t i = 0; i < n; ++i)
    if (const float logit = penalized(logits[i], rows[i]); logit < below)
      known += weight(logit);
  // Relative to the highest after the penalties; its e^x is above 0 where x > -700.
  const double fallen = (static_cast<double>(highest) - static_cast<double>(highest_)) * inverse_;
  if (!(fallen < 600 && std::isfinite(rest)))
    return false;
  const double most = known + rest / exp_nonpositive(-fallen);
  const double rounding = 4 * static_cast<double>(vocab_) * 0x1p-53; // of a sum of all in any order, twice
  const double top_p = sampling_.top_p, low = top_p * known * (1 - rounding),
               high = top_p * most * (1 + rounding);
  const bool min_p_ends = weight(logit_of(candidates_[n_sorted - 1])) < least_; // among the candidates
  if (!(masses_[n_sorted - 1] > high) && !min_p_ends)
    return false;
  Random random = random_;
  double u = random.uniform();
  for (; draw > 0; --draw)
    u = random.uniform();
  is_settled_ = draw_candidate(n_sorted, low, u) == draw_candidate(n_sorted, high, u);
  return is_settled_;
}

int32_t Sampler::sample(const float *logits) {
  highest_ = prepare(logits);
  if (!(sampling_.temperature > 0)) {
    const float *const clean = logits_ ? logits_.get() : logits;
    if (highest_ == -FLT_MAX)
      return 0;
    return static_cast<int32_t>(std::find_if(clean, clean + vocab_, [&](float l) { return l >= highest_; }) -
                                clean);
  }
  const double u = random_.uniform();
  if (highest_ == -FLT_MAX) // nothing to draw from
    return 0;
  constexpr double kNoLimit = std::numeric_limits<double>::infinity();
  const double top_p = sampling_.top_p;
  size_t n = vocab_;
  double limit = kNoLimit;
  if (sampling_.top_k > 0 && sampling_.top_k < vocab_) {
    n = static_cast<size_t>(sampling_.top_k);
    take_first(logits_.get(), vocab_, n, candidates_.get(), spare_.get());
    weigh_candidates(0, n, kNoLimit);
    if (top_p < 1)
      limit = top_p * masses_[n - 1];
  } else if (top_p < 1) {
    limit = top_p * sum_all();
    n = sort_nucleus(limit);
  } else {
    return draw_from_all(u);
  }
  return draw_candidate(n, limit, u);
}

LogSoftmax::LogSoftmax(const float *logits, int32_t vocab) : logits_(logits), vocab_(vocab), log_sum_(0) {
  const float highest = clean_logits(logits, vocab, nullptr);
  float clean[kPiece];
  double weights[kPiece], sum = 0;
  for (int32_t at = 0; at < vocab; at += kPiece) {
    const int32_t n = std::min(kPiece, vocab - at);
    clean_logits(logits + at, n, clean);
    weigh(clean, n, highest, 1, weights);
    for (int32_t i = 0; i < n; ++i)
      sum += weights[i];
  }
  log_sum_ = static_cast<double>(highest) + std::log(sum); // sum >= 1
}

float LogSoftmax::of(int32_t token) const {
  return static_cast<float>(static_cast<double>(clean_logit(logits_[token])) - log_sum_);
}

std::vector<int32_t> LogSoftmax::best(int32_t n) const {
  const auto vocab = static_cast<size_t>(vocab_);
  std::vector<int32_t> ids;
  if (n == 0)
    return ids;
  const std::unique_ptr<float[]> clean(new float[vocab]);
  const std::unique_ptr<Candidate[]> candidates(new Candidate[vocab + 1]), spare(new Candidate[vocab]);
  clean_logits(logits_, vocab_, clean.get());
  take_first(clean.get(), vocab_, static_cast<size_t>(n), candidates.get(), spare.get());
  for (int32_t i = 0; i < n; ++i)
    ids.push_back(id_of(candidates[i]));
  return ids;
}

} // namespace bitnet::runtime
