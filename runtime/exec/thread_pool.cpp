// See thread_pool.h.
#include "runtime/exec/thread_pool.h"
#include "runtime/cpu/cpu.h"
#include <immintrin.h>

namespace bitnet::runtime {
namespace {

constexpr uint32_t kDefaultMxcsr = 0x1f80; // all exceptions masked, round to nearest, no FTZ, no DAZ

// A pause takes 10 to 140 cycles by CPU generation, so this is 20 to 200 µs: longer than any serial part
// between two sections of a token, shorter than a person notices.
constexpr int kSpins = 5000;
// With more threads than CPUs whoever spins takes the CPU from the thread that it waits for.
constexpr int kSpinsOversubscribed = 20;

} // namespace

DefaultFloatMode::DefaultFloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(kDefaultMxcsr); }
DefaultFloatMode::~DefaultFloatMode() { _mm_setcsr(saved_); }

ThreadPool::ThreadPool(int threads)
    : spins_(threads > cpu::available_cpus() ? kSpinsOversubscribed : kSpins) {
  try {
    start_workers(threads - 1);
  } catch (...) {
    stop_workers();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop_workers(); }

void ThreadPool::start_workers(int count) {
  workers_.reserve(size_t(count));
  for (int i = 1; i <= count; ++i)
    workers_.emplace_back([this, i] { work(i); });
}

void ThreadPool::stop_workers() {
  publish(kStop);
  for (std::thread &t : workers_)
    t.join();
}

/// The next round with these parts. Sequentially consistent with sleepers_ on both sides: either the worker
/// sees the new signal before it sleeps, or it is counted here and woken.
void ThreadPool::publish(uint64_t parts) {
  const uint64_t round = signal_.load(std::memory_order_relaxed) >> kPartBits;
  signal_.store((round + 1) << kPartBits | parts);
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); } // whoever has counted itself is now waiting
    wake_.notify_all();
  }
}

void ThreadPool::run(int parts, Task task, void *context) {
  if (parts > 1) {
    task_ = task;
    context_ = context;
    unfinished_.store(parts - 1, std::memory_order_relaxed);
    publish(uint64_t(parts));
  }
  task(context, 0);
  for (int spin = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < spins_)
      _mm_pause();
    else
      std::this_thread::yield();
  }
}

uint64_t ThreadPool::wait_for_signal(uint64_t seen) {
  for (int spin = 0; spin < spins_; ++spin) {
    if (const uint64_t now = signal_.load(std::memory_order_acquire); now != seen)
      return now;
    _mm_pause();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  ++sleepers_;
  uint64_t now = seen;
  wake_.wait(lock, [&] { return (now = signal_.load()) != seen; });
  --sleepers_;
  return now;
}

void ThreadPool::work(int index) {
  DefaultFloatMode float_mode;
  for (uint64_t seen = 0;;) {
    seen = wait_for_signal(seen);
    const uint64_t parts = seen & ((uint64_t(1) << kPartBits) - 1);
    if (parts == kStop)
      return;
    if (uint64_t(index) < parts) {
      task_(context_, index);
      unfinished_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }
}

} // namespace bitnet::runtime
