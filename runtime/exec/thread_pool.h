// The threads of a session. A token is 150 to 300 short parallel sections, so handing one out must cost well
// below a microsecond: workers spin for a while after each section and sleep only when nothing follows.
// Deliberately no task queue, no nesting, no stealing.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace bitnet::runtime {

/// Sets rounding to nearest and denormals on for the calling thread, as the numbers are defined (a host built
/// with -ffast-math has them off), and puts the old state back at the end.
class DefaultFloatMode {
public:
  DefaultFloatMode();
  ~DefaultFloatMode();
  DefaultFloatMode(const DefaultFloatMode &) = delete;
  DefaultFloatMode &operator=(const DefaultFloatMode &) = delete;

private:
  uint32_t saved_;
};

/// Owned by one session; run() is called by one thread at a time.
class ThreadPool {
public:
  /// threads >= 1, the caller of run() included. Throws std::system_error where the system gives no more
  /// threads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  using Task = void (*)(void *context, int part);
  /// Calls task(context, i) for each i in [0, parts), each on its own thread (part 0 here), and returns when
  /// all are done. 1 <= parts <= threads().
  void run(int parts, Task task, void *context);

private:
  void start_workers(int count);
  void stop_workers();
  void work(int index);
  uint64_t wait_for_signal(uint64_t seen);
  void publish(uint64_t signal);

  static constexpr uint64_t kPartBits = 16;
  static constexpr uint64_t kStop = 0xffff; ///< parts value that ends the workers

  int spins_; ///< pauses before a worker sleeps or the caller yields
  // What the workers spin on: round << kPartBits | parts. Both in one word, so that a worker that has no part
  // in a round never looks at that round's task.
  alignas(64) std::atomic<uint64_t> signal_{0};
  Task task_ = nullptr;     ///< written before signal_, read after it
  void *context_ = nullptr; ///< likewise
  alignas(64) std::atomic<int> unfinished_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

} // namespace bitnet::runtime
