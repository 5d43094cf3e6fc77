// One text in the making: which tokens to run next, and what came of them: draws, turns tokens into text and
// decides when it is over (stop tokens, stop strings, limits, cancelling). What runs the model is the
// caller's (sampling_api.cpp: an engine), so the logic is tested without one.
//
// Speculation: a step may run guessed tokens behind the one that was drawn. Each row's logits are drawn from
// exactly as if the row had run alone; while what is drawn is what was guessed, the next row is right and
// needs no step. So guesses decide how many steps there are, and nothing else.
#pragma once
#include "runtime/exec/step_costs.h"
#include "runtime/sample/ngram_drafts.h"
#include "runtime/sample/sampler.h"
#include "runtime/sample/stop_strings.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"
#include <atomic>
#include <memory>
#include <vector>

namespace bitnet::runtime {

/// Used by one thread at a time, except for cancel(). The tokenizer must outlive it.
///
///   while (event.finish == NONE) {
///     tokens = next_tokens(...);
///     if (tokens.n) { cut the sequence to length(); run them; ran(seconds); }
///     draw(logits of row() of those that wanted logits, &event);
///   }
class Generation {
public:
  /// What the model can take.
  struct Limits {
    int32_t vocab, context; ///< context: positions of the sequence, which is empty at the start
    int32_t max_rows;       ///< tokens of a prompt in one step, unless the options say fewer
  };
  /// tokenizer may be null: then there is no text, and stop strings are refused.
  static Result<std::unique_ptr<Generation>> create(const Limits &limits, const Tokenizer *tokenizer,
                                                    const int32_t *prompt, size_t n_prompt,
                                                    const bitnet_generation_options &options);

  /// The tokens to append to the sequence next: a part of the prompt, or the token that was drawn and guesses
  /// of those after it. None where the logits are there already, and once it is over or cancelled.
  struct Tokens {
    const int32_t *data;
    size_t n;
    size_t n_logits; ///< of the last so many
    LogitsNeed need; ///< which of them
  };
  /// others: rows of others that probably run in the same step; guesses are made as far as they pay by the
  /// costs.
  Tokens next_tokens(const StepCosts &costs, size_t others);
  /// What the sequence holds for certain; guesses that were wrong stand behind it.
  int32_t length() const { return int32_t(n_run_); }
  /// Of the rows of the last step that wanted logits, the one that draw() takes, or took last.
  size_t row() const { return row_; }
  /// The sequence holds the first n tokens of the prompt already. Before the first step; n < prompt tokens.
  void start_at(int32_t n);
  /// They were appended, which took so long.
  void ran(double seconds);
  /// bitnet_generation_draw. logits: f32 [vocab] of row(); not read while the prompt
  /// is not done. After the last event: the same finish again, without token and text.
  void draw(const float *logits, bitnet_token_event *event);
  /// Whether all logits are asked for, to be looked at and changed before draw().
  bool all_logits() const { return all_logits_; }

  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  /// prompt_seconds: all prompt rows. generation_seconds: drawing all tokens, and all further steps,
  /// for the first token comes from the prompt's logits. The caller's time between events is in neither.
  const bitnet_timings &timings() const { return timings_; }

private:
  Generation(const Limits &limits, const Tokenizer *tokenizer, StopStrings stop_strings,
             const bitnet_generation_options &options);
  bool is_cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  bool prompt_done() const { return n_run_ >= prompt_.size(); }
  size_t guess(const StepCosts &costs, size_t others);
  bool is_stop_token(int32_t token) const;
  bitnet_finish take(int32_t token);
  void end_event(bitnet_finish finish, int32_t token, bitnet_token_event *event);

  const Limits limits_;
  const Tokenizer *const tokenizer_;
  std::unique_ptr<Sampler> sampler_;
  StopStrings stop_strings_;
  Utf8Stream utf8_;
  std::vector<int32_t> prompt_, stop_tokens_;
  size_t n_run_ = 0;         ///< tokens in the sequence, without guesses that are not known to be right
  const int32_t max_tokens_; ///< <= 0: no limit
  const bool all_logits_;
  int32_t last_token_ = -1;      ///< drawn last
  std::vector<int32_t> planned_; ///< the token that was drawn last, and guesses: what runs next, or ran last
  bool planned_ran_ = false;
  size_t row_ = 0;                      ///< of planned_, once it ran
  bool can_draw_ = false;               ///< the logits of row_ were not used yet
  std::unique_ptr<NgramDrafts> drafts_; ///< nullptr without speculation
  int32_t most_guesses_ = 0;
  bool only_if_it_pays_ = true;
  bitnet_finish finish_ = BITNET_FINISH_NONE;
  std::string characters_, text_; ///< of the event: all, and those that are no part of a stop string
  std::atomic<bool> cancelled_{false};
  bitnet_timings timings_ = {};
};

} // namespace bitnet::runtime
