// Many sequences of one model on a few sessions: threads append tokens to sequences of their own, and what
// several ask for at one time goes into one step, so that the weights are read once for all of them. There is
// no thread of its own: whoever asks first runs the step for all who wait (the others' results are the same
// bits as if each had run alone). Draws nothing and knows no text.
#pragma once
#include "runtime/exec/session.h"
#include "runtime/exec/step_costs.h"
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

namespace bitnet::runtime {

struct EngineOptions {
  int32_t context = 0; ///< of each sequence; 0 = the model's
  int32_t threads = 0; ///< 0 = one for each available CPU
};

/// Used by any number of threads. The model must outlive it, and it its sequences.
class Engine {
  struct Slab;

public:
  /// A sequence. Given back by the destructor. Used by one thread at a time.
  class Sequence {
  public:
    ~Sequence();
    Sequence(const Sequence &) = delete;
    Sequence &operator=(const Sequence &) = delete;
    /// f32 [vocab] of the i-th token whose logits the last request that wanted some wanted; nullptr before. A
    /// copy of its own.
    float *logits(size_t i = 0);
    /// Positions that it held when it was opened.
    int32_t start() const { return start_; }
    /// Takes back all tokens after the first n. Not while a request runs.
    void keep(int32_t n) { length_ = std::min(length_, n); }

  private:
    friend class Engine;
    Sequence(Engine &engine, Slab &slab, int32_t number, int32_t start, bool is_kept);
    Engine &engine_;
    Slab &slab_;
    void reserve_logits(size_t rows);
    const int32_t number_, start_;    ///< number_: in the slab's session
    const bool is_kept_;              ///< leaves its tokens for later ones
    int32_t length_;                  ///< what the session's sequence holds beyond is cut off before it grows
    std::unique_ptr<float[]> logits_; ///< [logits_rows_, vocab], of which n_logits_ are the last request's
    size_t logits_rows_ = 0, n_logits_ = 0;
  };

  static Result<std::unique_ptr<Engine>> create(const Model &model, const EngineOptions &options);
  ~Engine();

  /// An empty sequence.
  Result<std::unique_ptr<Sequence>> open();
  /// A sequence for this text. It holds as much of its beginning as one that was opened like this and given
  /// back has left, but never all of it; and what it holds at its end is left for later ones. A few are left
  /// at most.
  Result<std::unique_ptr<Sequence>> open_for(const int32_t *tokens, size_t n);

  /// Tokens to append to a sequence. On an error the sequence has not grown.
  struct Request {
    Sequence *sequence;
    const int32_t *tokens;
    size_t n_tokens;
    size_t n_logits;           ///< of the last so many tokens; at most n_tokens
    int32_t best = 0;          ///< which of them must be exact; see bitnet_row
    float margin = 0;          ///< see best
    SumCheck *check = nullptr; ///< for the i-th of them its draw i; see HeadNeed
    Status status = {};        ///< how it went
  };
  /// Returns when all are done. At most one request for each sequence at a time.
  void run(Request *requests, size_t n);

  /// Of all rows of all steps that have ended.
  bitnet_head_stats head_stats() {
    std::lock_guard<std::mutex> lock(mutex_);
    return head_stats_;
  }

  const Model &model() const { return model_; }
  int32_t context() const { return context_; }
  int32_t threads() const { return threads_; }
  /// What steps cost in which all rows want logits.
  const StepCosts &costs() const { return costs_; }
  /// Requests that the last step ended: about as many as the next one will have.
  size_t companions() const { return n_companions_.load(std::memory_order_relaxed); }

private:
  /// A request in the queue.
  struct Ticket {
    Request *request;
    size_t n_done = 0;
    bool served = false; ///< the step that runs has rows of it
    bool finished = false;
  };
  /// A session and which of its sequences are free.
  struct Slab {
    std::unique_ptr<Session> session;
    std::vector<int32_t> free;
    struct Left {
      std::vector<int32_t> tokens; ///< of a sequence that is kept: what the session holds; else none
      uint64_t when = 0;           ///< the higher the later
    };
    std::vector<Left> left; ///< [sequences]
  };
  struct Place {
    Slab *slab = nullptr;
    int32_t number = 0;
  };
  Engine(const Model &model, const EngineOptions &options);
  Result<Slab *> add_slab();
  Result<std::unique_ptr<Sequence>> take(Place place, size_t start, bool is_kept);
  Result<Place> empty_place();
  void close(const Sequence &sequence);
  void drop_oldest_left(size_t most);
  template <typename See> void see_free(See see);
  void wait_for_companions(std::unique_lock<std::mutex> &lock);
  void step(std::unique_lock<std::mutex> &lock);
  void gather();
  void finish_parts(const Status &status);
  void settle();

  const Model &model_;
  const EngineOptions options_;
  int32_t context_ = 0, threads_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_; ///< a step ended, or the queue grew
  bool stepping_ = false;           ///< a thread is gathering or running a step; only it touches the sessions
  std::vector<Ticket *> queue_;     ///< unfinished, those first that have waited longest
  std::vector<std::unique_ptr<Slab>> slabs_;
  uint64_t n_given_back_ = 0;

  // Of the step that is running. Written under the lock, read without it by the stepping thread alone; both
  // have room for max_rows entries from the start.
  struct Part {
    Ticket *ticket;
    size_t n, n_logits;             ///< rows, and those of them that want logits
    size_t first_logits, to_logits; ///< index of the first of these among all of the step, and of the request
  };
  std::vector<Part> parts_;
  std::vector<bitnet_row> rows_;
  std::vector<Session::RowCheck> checks_; ///< of rows_
  Slab *slab_ = nullptr;

  std::atomic<size_t> n_companions_{0}; ///< written under the lock
  StepCosts costs_;
  double last_step_seconds_ = 0;
  bitnet_head_stats head_stats_{};
};

} // namespace bitnet::runtime

/// What the C interface hands out.
struct bitnet_engine {
  std::unique_ptr<bitnet::runtime::Engine> impl;
};
