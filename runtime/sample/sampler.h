// Draws a token from logits. The chain, in this order (that of Hugging Face's transformers, where temperature
// shapes the distribution that top-p cuts; llama.cpp cuts first): logit bias, repetition penalty, presence
// and frequency penalties, temperature, top-k, top-p, min-p, draw. The same seed, logits and history give the
// same tokens on every machine (see random.h).
//
// What is summed, and in which order, is part of the definition: with top-k the weights of the k in their
// order (token_order.h); without, top-p's total and a draw without top-p over all weights in the order of
// ids. A draw from 128,256 logits takes 0.05 to 0.3 ms (Zen 4), up to 1.5 where top-p keeps half of the
// vocabulary: nothing is sorted that top-p does not reach, and a draw in the order of ids remembers only sums
// of whole pieces.
#pragma once
#include "runtime/base/status.h"
#include "runtime/exec/exact_head.h"
#include "runtime/sample/random.h"
#include "runtime/sample/token_order.h"
#include <memory>
#include <vector>

namespace bitnet::runtime {

/// Which logits of a row a draw looks at (bitnet_row): all (best = 0), or the `best` largest and those within
/// `margin` of the largest. With a check fewer than all are enough where the check says so.
struct LogitsNeed {
  int32_t best;
  float margin;
  SumCheck *check = nullptr;
};

/// Used by one thread at a time. Allocates at creation only.
class Sampler final : SumCheck {
public:
  static Result<std::unique_ptr<Sampler>> create(const bitnet_sampling &sampling, int32_t vocab);

  /// logits: f32 [vocab]. NaN counts as -inf; if nothing is above -inf the lowest id is drawn. Greedy when
  /// temperature <= 0 (ties: the lowest id); otherwise takes exactly one random number.
  int32_t sample(const float *logits);
  /// What the next sample() needs to draw the token that it draws from all logits, exactly; with `ahead`, so
  /// does each of that many after it, whatever is accepted between.
  LogitsNeed need(int32_t ahead = 0);
  /// A token that the penalties see from now on: the repetition penalty all, the other two those that were
  /// drawn. Ids outside of the vocabulary are ignored.
  void accept(int32_t token, bool drawn);

private:
  Sampler(const bitnet_sampling &sampling, int32_t vocab);
  bool is_plain() const { return seen_.empty() && drawn_.empty() && bias_.empty(); }
  void touch(int32_t token);
  double sum_scale() const override { return inverse_; }
  bool suffices(size_t draw, const int32_t *rows, const float *logits, int32_t n, float below,
                double rest) override;
  bool wants_check();
  float penalized(float logit, int32_t id) const;
  double weight(float logit) const;
  float prepare(const float *logits);
  double sum_all();
  int32_t draw_from_all(double u);
  size_t sort_nucleus(double limit);
  size_t weigh_candidates(size_t begin, size_t end, double limit);
  int32_t draw_candidate(size_t n, double limit, double u) const;

  const bitnet_sampling sampling_;
  const int32_t vocab_;
  Random random_;
  const double inverse_; ///< 1 / temperature
  const double least_;   ///< weight that min-p asks for
  const double margin_;  ///< logits further below the highest weigh less than that; infinite without min-p
  // Of the row that is drawn from. Each has room for a vocabulary but is written only as far as it is needed.
  float highest_ = 0;
  std::unique_ptr<float[]> logits_; ///< [vocab] finite, after bias and penalties
  std::unique_ptr<Candidate[]> candidates_, spare_;
  std::unique_ptr<double[]> masses_; ///< weights of the candidates up to this one, or of whole pieces of ids
  std::vector<int32_t> touched_; ///< tokens that have a bias or were ever accepted: all that penalties see
  std::vector<bool> is_touched_; ///< [vocab], empty if is_plain()
  // How often the check of top-p was enough of late.
  double share_settled_ = 1;
  bool is_asked_ = false, is_settled_ = false; ///< by the last need(); since then
  int32_t n_not_asked_ = 0;
  // History of the penalty: how often each token stands in the window, and the window itself (a ring; empty =
  // all).
  std::vector<int32_t> seen_; ///< [vocab], empty when the penalty is off
  int32_t n_seen_ = 0;        ///< tokens with seen_ > 0
  std::vector<int32_t> window_;
  size_t n_accepted_ = 0;
  std::vector<int32_t> drawn_; ///< [vocab] how often each was drawn, empty when nobody asks
  int32_t n_drawn_ = 0;        ///< tokens with drawn_ > 0
  std::vector<float> bias_;    ///< [vocab], empty without bias
};

/// Log-probabilities under softmax(logits), logits f32 [vocab]; NaN counts as -inf. Sums run in the order of
/// ids.
class LogSoftmax {
public:
  LogSoftmax(const float *logits, int32_t vocab);
  float of(int32_t token) const;
  /// The n likeliest tokens, best first, of equals the lowest id. 0 <= n <= vocab.
  std::vector<int32_t> best(int32_t n) const;

private:
  const float *const logits_;
  const int32_t vocab_;
  double log_sum_; ///< ln Σ e^logit
};

} // namespace bitnet::runtime
