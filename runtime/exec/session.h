// A running model: arena, key/value cache, threads, and how far each sequence has come. Everything is
// allocated at creation; a step allocates nothing.
#pragma once
#include "runtime/exec/exact_head.h"

namespace bitnet::runtime {

struct SessionOptions {
  int32_t context = 0;   ///< 0 = the model's
  int32_t threads = 0;   ///< 0 = one for each available CPU
  int32_t sequences = 0; ///< 0 = 1
};

/// Used by one thread at a time; the model must outlive it. Does not move: the walker's buffers point into
/// it.
class Session {
public:
  static Result<std::unique_ptr<Session>> create(const Model &model, const SessionOptions &options);

  /// What a row's draw depends on beyond bitnet_row; none where the check is nullptr.
  struct RowCheck {
    SumCheck *check;
    size_t draw; ///< for the check
  };
  /// bitnet_session_step. On an error no sequence has grown. checks: [n_rows], or nullptr: none; called from
  /// this thread.
  Status step(const bitnet_row *rows, size_t n_rows, const RowCheck *checks = nullptr);
  /// f32 [vocab] of the i-th row that wanted anything in the last step, or nullptr; nullptr too if none of
  /// them wanted logits.
  const float *logits(size_t i) const { return i < n_logits_ ? logits_[i] : nullptr; }
  /// f32 [width] of the i-th row that wanted anything in the last step, if one of them wanted its hidden
  /// state.
  const float *hidden(size_t i) const { return i < n_hidden_ ? hidden_.data() + i * width() : nullptr; }
  /// bitnet_session_embed. vector: [width].
  Status embed(const int32_t *tokens, size_t n_tokens, int32_t sequence, float *vector);

  /// What an exact head did for the rows so far; all 0 with another head.
  bitnet_head_stats head_stats() const { return exact_head_ ? exact_head_->stats() : bitnet_head_stats{}; }

  int32_t length(int32_t sequence) const;
  Status truncate(int32_t sequence, int32_t length);

  const Model &model() const { return model_; }
  int32_t threads() const { return pool_.threads(); }
  int32_t context() const { return context_; }
  int32_t sequences() const { return sequences_; }

private:
  Session(const Model &model, const SessionOptions &options, Mapping arena, Mapping kept_logits,
          KvCache cache);
  Status check(const bitnet_row *rows, size_t n_rows);
  Status run(const bitnet_row *rows, size_t n_rows, const RowCheck *checks);
  std::pair<int32_t, int32_t> order_head_rows(const bitnet_row *rows, int32_t n_rows, const RowCheck *checks);
  Status run_chunk(const bitnet_row *rows, int32_t n_rows, const RowCheck *checks, bool is_last);
  /// Row `place` of what the plan gives, in the last chunk.
  const float *result_row(int32_t place) const;
  size_t width() const { return size_t(model_.bundle().model.width); }

  const Model &model_;
  const int32_t context_, sequences_;
  Mapping arena_;
  Mapping kept_logits_; ///< f32 [max_rows, vocab]: logits of all but the last chunk of a long step
  KvCache cache_;
  StepInputs inputs_;
  PlanWalker walker_;
  ThreadPool pool_;
  std::unique_ptr<ExactHead> exact_head_; ///< nullptr: the plan has no screen
  std::vector<int32_t>
      head_order_;              ///< [max_rows]: place among the head's rows of each row that wants anything
  std::vector<HeadNeed> needs_; ///< [max_rows]: of the head's rows
  std::vector<const float *> logits_; ///< [max_rows], the first n_logits_ are of the last step
  size_t n_logits_ = 0;
  std::vector<float> hidden_; ///< [max_rows, width], made by the first step that wants them
  size_t n_hidden_ = 0;
  std::vector<int32_t> lengths_; ///< [sequences]: scratch of check(), lengths before the step of run()
};

} // namespace bitnet::runtime

/// What the C interface hands out.
struct bitnet_session {
  std::unique_ptr<bitnet::runtime::Session> impl;
  const bitnet_model *model;
};
