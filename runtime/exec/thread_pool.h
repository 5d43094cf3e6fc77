// The threads of a session. A token is 150 to 300 short parallel sections, so handing one out must cost well
// below a microsecond: workers spin for a while after each section and sleep only when nothing follows. Each
// thread has a share of a section's units and takes it in pieces that halve, so that on a quiet machine all
// end together after a few long pieces; who is done takes small pieces from the ends of the others' shares,
// so that a thread that the system has taken off its CPU holds up one piece. Deliberately no task queue and
// no nesting.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
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

/// How a section is cut: among how many threads, and the fewest units that a piece is worth.
struct Split {
  int32_t threads = 1;
  int32_t smallest = 1;
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

  /// Units [begin, end), never empty.
  using Task = void (*)(void *context, int32_t begin, int32_t end);
  /// Calls the task for pieces that together are [0, units), here and on split.threads - 1 workers, and
  /// returns when all are done. units >= 0, split.smallest >= 1. With one thread it is a plain call.
  void run(int32_t units, Split split, Task task, void *context);

private:
  /// One thread's part of the section, and all that it needs to know of it, in one cache line: a section
  /// costs each worker the way of one line there and back. Whoever looks for work in another's line first
  /// waits a moment.
  struct alignas(64) Share {
    std::atomic<uint64_t> left{0};                ///< units that nobody has claimed, end << 32 | begin
    std::atomic<uint32_t> done{0};                ///< by its thread, since the pool was made, modulo 2^32
    std::atomic<int32_t> sharing{0}, smallest{1}; ///< a late thread may see those of the next section
    Task task = nullptr; ///< changes only while no unit is claimed; written before `left`, read after a claim
    void *context = nullptr;

    bool has_units() const {
      const uint64_t l = left.load();
      return uint32_t(l) < l >> 32;
    }
    void add_done(uint32_t n) {
      done.store(done.load(std::memory_order_relaxed) + n, std::memory_order_release);
    }
  };
  void stop_workers();
  void work(int index);
  bool wait_for_units(const Share &own);
  uint32_t run_share(int of, int index);
  uint32_t run_units_of_others(int index);
  uint32_t done_by_workers() const;
  void wake_sleepers();

  int spins_;                       ///< pauses before a worker sleeps or the caller yields
  std::unique_ptr<Share[]> shares_; ///< the caller's is the first
  alignas(64) std::atomic<bool> has_sleepers_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

} // namespace bitnet::runtime
