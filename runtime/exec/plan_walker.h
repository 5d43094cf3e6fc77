// Runs a plan: for each call the argument buffers, the kernel for the step's row count, and the split of its
// work units over threads. All buffers are built once; a step only sets row extents. Knows nothing of
// sequences or tokens: the session fills the inputs.
#pragma once
#include "runtime/exec/kv_cache.h"
#include "runtime/exec/model.h"
#include "runtime/exec/thread_pool.h"

namespace bitnet::runtime {

/// What a step hands to the plan (kernel_ops.h Input); rows is the plan's max_rows. Filled by the session.
struct StepInputs {
  std::vector<int32_t> tokens, positions, sequences, slots, logit_rows;
  explicit StepInputs(int32_t max_rows)
      : tokens(size_t(max_rows)), positions(tokens), sequences(tokens), slots(tokens), logit_rows(tokens) {}
};

/// Runs a kernel over units [0, units), which threads take in pieces. buffers: those of its arguments in
/// order. 0, or what a kernel that failed returned.
int run_units(format::KernelFn kernel, const format::Buffer *const *buffers, int n_buffers, int32_t rows,
              int32_t units, Split split, ThreadPool &pool);

/// Belongs to one session; the model, arena, inputs and cache must outlive it and stay where they are.
class PlanWalker {
public:
  PlanWalker(const Model &model, uint8_t *arena, const StepInputs &inputs, const KvCache &cache,
             int32_t sequences);

  /// Runs every call over rows inputs, those of the head over logit_rows of them; the head itself over the
  /// first head_rows of these. last_position: the highest position of the step (bounds attention's work).
  /// Allocates nothing.
  Status run(int32_t rows, int32_t logit_rows, int32_t last_position, int32_t head_rows, ThreadPool &pool);
  /// Runs the head (there is one) over row `row` of the last run's logit_rows alone, and touches no other.
  Status run_head(int32_t row, ThreadPool &pool);
  /// The head's input and output rows, for who computes the head in another way (there is one, of f16 rows).
  struct HeadRows {
    const float *x;             ///< [max_rows, width]
    float *y;                   ///< [max_rows, n]
    int64_t x_stride, y_stride; ///< elements
  };
  HeadRows head_rows() const;
  /// Whether the plan ends with a product that reads [logit_rows, width] and gives the logits, as the
  /// compiler's do.
  bool has_head() const { return head_ != nullptr; }
  /// What the head (there is one) reads for the i-th of the last run's logit_rows: out is f32 [width].
  void read_head_input(int32_t i, float *out) const;

private:
  struct Choice {
    int32_t max_rows;          ///< INT32_MAX in the last one
    format::KernelFn function; ///< nullptr: the call is left out
  };
  struct BoundCall {
    Op op;
    OpDims dims;
    bool over_logit_rows;
    format::Signature signature;
    int32_t n_args;
    format::Buffer buffers[format::kMaxArgs];
    format::Dim shape[format::kMaxArgs][5];
    format::Dim *row_dims[format::kMaxArgs]; ///< extents to set to the call's rows
    int32_t n_row_dims;
    bool is_of_rows[format::kMaxArgs]; ///< the argument has one of row_dims
    format::Dim *source_rows;          ///< extent to set to the step's rows (gather_rows), or nullptr
    std::vector<Choice> choices;
  };
  void bind(BoundCall &call, int index, const format::Arg &arg, const Slice &slice, uint8_t *arena,
            const StepInputs &inputs, const KvCache &cache, int32_t sequences);
  Status run_call(BoundCall &call, int32_t rows, int32_t last_position, ThreadPool &pool);

  const Model &model_;
  std::vector<BoundCall> calls_; ///< never resized after construction: buffers point into it
  BoundCall *head_ = nullptr;
};

} // namespace bitnet::runtime
