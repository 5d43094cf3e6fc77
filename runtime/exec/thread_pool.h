// The threads of a session. A token is 150 to 300 short parallel sections, so handing one out must cost well
// below a microsecond: workers spin for a while after each section and sleep only when nothing follows. Parts
// are claimed, not dealt: a worker that the system has taken off its CPU holds nobody up, the others do its
// share. Deliberately no task queue and no nesting.
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
  static constexpr int kMaxParts = 0xffff;
  /// Calls task(context, i) once for each i in [0, parts), here and on whatever workers are free, and returns
  /// when all are done. 1 <= parts <= kMaxParts.
  void run(int parts, Task task, void *context);

private:
  void stop_workers();
  void work();
  bool wait_for_parts();
  int run_claimed_parts();
  void wake_sleepers();

  int spins_; ///< pauses before a worker sleeps or the caller yields
  // parts << 32 | next part to claim. Claiming is one fetch_add; what comes back says whether it was one.
  // Workers that try in vain overshoot by one each, far from the upper half.
  alignas(64) std::atomic<uint64_t> claims_{0};
  Task task_ = nullptr;     ///< changes only while no part is claimed; written before claims_, read after it
  void *context_ = nullptr; ///< likewise
  alignas(64) std::atomic<int> done_by_workers_{0};
  alignas(64) std::atomic<bool> has_sleepers_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

} // namespace bitnet::runtime
