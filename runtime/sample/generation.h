// One text in the making: which tokens to run next, and what came of them: draws, turns tokens into text and
// decides when it is over (stop tokens, stop strings, limits, cancelling). What runs the model is the
// caller's (sampling_api.cpp: an engine), so the logic is tested without one.
#pragma once
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
///   for (event.finish == NONE) { run next_tokens(); ran(seconds); draw(logits of the last row, &event); }
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

  /// The tokens to append to the sequence next: a part of the prompt, or the token that was drawn. None once
  /// it is over or cancelled.
  struct Tokens {
    const int32_t *data;
    size_t n;
    bool wants_logits; ///< of the last one
    LogitsNeed need;   ///< which of them
  };
  Tokens next_tokens() const;
  /// The sequence holds the first n tokens of the prompt already. Before the first step; n < prompt tokens.
  void start_at(int32_t n);
  /// They were appended, which took so long.
  void ran(double seconds);
  /// bitnet_generation_draw. logits: f32 [vocab] of the last row that wanted them; not read while the prompt
  /// is not done. After the last event: the same finish again, without token and text.
  void draw(const float *logits, bitnet_token_event *event);
  /// Whether all logits are asked for, to be looked at and changed before draw().
  bool all_logits() const { return all_logits_; }

  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  /// prompt_seconds: all prompt rows. generation_seconds: drawing all tokens, and generated_tokens - 1 steps,
  /// for the first token comes from the prompt's logits. The caller's time between events is in neither.
  const bitnet_timings &timings() const { return timings_; }

private:
  Generation(const Limits &limits, const Tokenizer *tokenizer, StopStrings stop_strings,
             const bitnet_generation_options &options);
  bool is_cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  bool prompt_done() const { return n_run_ >= prompt_.size(); }
  bitnet_finish take(int32_t token);
  void end_event(bitnet_finish finish, int32_t token, bitnet_token_event *event);

  const Limits limits_;
  const Tokenizer *const tokenizer_;
  std::unique_ptr<Sampler> sampler_;
  StopStrings stop_strings_;
  Utf8Stream utf8_;
  std::vector<int32_t> prompt_, stop_tokens_;
  size_t n_run_ = 0;         ///< tokens in the sequence
  const int32_t max_tokens_; ///< <= 0: no limit
  const bool all_logits_;
  int32_t last_token_ = -1; ///< drawn, not yet run
  bool can_draw_ = false;   ///< the last step's logits were not used yet
  bitnet_finish finish_ = BITNET_FINISH_NONE;
  std::string characters_, text_; ///< of the event: all, and those that are no part of a stop string
  std::atomic<bool> cancelled_{false};
  bitnet_timings timings_ = {};
};

} // namespace bitnet::runtime
