// Many sequences of one model on a few sessions: threads append tokens to sequences of their own, and what
// several ask for at one time goes into one step, so that the weights are read once for all of them. There is
// no thread of its own: whoever asks first runs the step for all who wait (the others' results are the same
// bits as if each had run alone). Draws nothing and knows no text.
#pragma once
#include "runtime/exec/session.h"
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
    /// f32 [vocab] of the last token that was appended with wants_logits; nullptr before. A copy of its own.
    float *logits() { return has_logits_ ? logits_.data() : nullptr; }
    /// Positions that it held when it was opened.
    int32_t start() const { return start_; }

  private:
    friend class Engine;
    Sequence(Engine &engine, Slab &slab, int32_t number, int32_t start, bool is_kept);
    Engine &engine_;
    Slab &slab_;
    const int32_t number_, start_; ///< number_: in the slab's session
    const bool is_kept_;           ///< leaves its tokens for later ones
    bool is_cut_ = false;          ///< the session's sequence was cut to start_
    std::vector<float> logits_;    ///< [vocab]
    bool has_logits_ = false;
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
    bool wants_logits;  ///< of the last token
    int32_t best = 0;   ///< which of them must be exact; see bitnet_row
    float margin = 0;   ///< see best
    Status status = {}; ///< how it went
  };
  /// Returns when all are done. At most one request for each sequence at a time.
  void run(Request *requests, size_t n);

  const Model &model() const { return model_; }
  int32_t context() const { return context_; }
  int32_t threads() const { return threads_; }

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
  void close(Slab &slab, int32_t number, bool is_kept);
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
    size_t n;
    int32_t logits; ///< index among the rows that want some, or -1
  };
  std::vector<Part> parts_;
  std::vector<bitnet_row> rows_;
  Slab *slab_ = nullptr;

  size_t n_companions_ = 0; ///< requests that the last step ended
  double last_step_seconds_ = 0;
};

} // namespace bitnet::runtime

/// What the C interface hands out.
struct bitnet_engine {
  std::unique_ptr<bitnet::runtime::Engine> impl;
};
