// The generation loop: runs the prompt, then draws, turns tokens into text and decides when it is over (stop
// tokens, stop strings, limits, cancelling). What runs the model is behind LogitsSource, so the loop is
// tested without one.
#pragma once
#include "runtime/sample/sampler.h"
#include "runtime/sample/stop_strings.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"
#include <atomic>
#include <memory>
#include <vector>

namespace bitnet::runtime {

/// A model that rows are fed to; a Session in production. Sizes must not change while a generation uses it.
class LogitsSource {
public:
  virtual ~LogitsSource() = default;
  virtual Status step(const bitnet_row *rows, size_t n_rows) = 0;
  /// f32 [vocab] of the one row of the last step that wanted logits.
  virtual const float *logits() const = 0;
  virtual int32_t length(int32_t sequence) const = 0;
  virtual int32_t vocab() const = 0;
  virtual int32_t context() const = 0;
  virtual int32_t sequences() const = 0;
  /// Rows that it runs at once; the prompt is fed in such batches, so that cancelling waits for one of them
  /// at most.
  virtual int32_t max_rows() const = 0;
};

/// Used by one thread at a time, except for cancel(). `source` and `tokenizer` must outlive it.
class Generation {
public:
  /// tokenizer may be null: then there is no text, and stop tokens and stop strings are refused or absent.
  static Result<std::unique_ptr<Generation>> create(LogitsSource &source, const Tokenizer *tokenizer,
                                                    const int32_t *prompt, size_t n_prompt,
                                                    const bitnet_generation_options &options);

  /// bitnet_generation_next. After the last event: the same finish again, without token and text. After an
  /// error nothing was drawn, and the same step is tried again.
  Status next(bitnet_token_event *event);
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  /// prompt_seconds: all prompt rows. generation_seconds: drawing all tokens, and generated_tokens - 1 steps,
  /// for the first token comes from the prompt's logits. The caller's time between events is in neither.
  const bitnet_timings &timings() const { return timings_; }

private:
  Generation(LogitsSource &source, const Tokenizer *tokenizer, StopStrings stop_strings,
             const bitnet_generation_options &options);
  Status run_prompt();
  Status run_token();
  bitnet_finish take(int32_t token);
  void end_event(bitnet_finish finish, int32_t token, bitnet_token_event *event);

  LogitsSource &source_;
  const Tokenizer *const tokenizer_;
  std::unique_ptr<Sampler> sampler_;
  StopStrings stop_strings_;
  Utf8Stream utf8_;
  std::vector<int32_t> prompt_;
  size_t n_prompt_done_ = 0;
  std::vector<bitnet_row> rows_;
  const int32_t sequence_, max_tokens_; ///< max_tokens_ <= 0: no limit
  const bool ignore_eos_;
  int32_t last_token_ = -1; ///< drawn, not yet fed
  bitnet_finish finish_ = BITNET_FINISH_NONE;
  std::string characters_, text_; ///< of the event: all, and those that are no part of a stop string
  std::atomic<bool> cancelled_{false};
  bitnet_timings timings_ = {};
};

} // namespace bitnet::runtime
