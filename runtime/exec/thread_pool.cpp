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

uint64_t parts_of(uint64_t claims) { return claims >> 32; }
uint64_t next_of(uint64_t claims) { return claims & 0xffffffff; }

} // namespace

DefaultFloatMode::DefaultFloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(kDefaultMxcsr); }
DefaultFloatMode::~DefaultFloatMode() { _mm_setcsr(saved_); }

ThreadPool::ThreadPool(int threads)
    : spins_(threads > cpu::available_cpus() ? kSpinsOversubscribed : kSpins) {
  workers_.reserve(size_t(threads - 1));
  try {
    while (int(workers_.size()) < threads - 1)
      workers_.emplace_back([this] { work(); });
  } catch (...) {
    stop_workers();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop_workers(); }

void ThreadPool::stop_workers() {
  stopping_ = true;
  wake_sleepers();
  for (std::thread &t : workers_)
    t.join();
}

/// Sequentially consistent on both sides: either a worker on its way to sleep sees what was published before
/// this call, or it has set has_sleepers_ and is woken.
void ThreadPool::wake_sleepers() {
  if (!has_sleepers_.exchange(false))
    return;
  { std::lock_guard<std::mutex> lock(mutex_); } // whoever set the flag is now waiting
  wake_.notify_all();
}

void ThreadPool::run(int parts, Task task, void *context) {
  if (parts == 1 || workers_.empty()) {
    for (int part = 0; part < parts; ++part)
      task(context, part);
    return;
  }
  task_ = task;
  context_ = context;
  done_by_workers_.store(0, std::memory_order_relaxed);
  claims_.store(uint64_t(parts) << 32);
  wake_sleepers();
  const int left = parts - run_claimed_parts();
  for (int spin = 0; done_by_workers_.load(std::memory_order_acquire) != left; ++spin) {
    if (spin < spins_)
      _mm_pause();
    else
      std::this_thread::yield();
  }
}

/// Claims and runs parts until none is left; returns how many.
int ThreadPool::run_claimed_parts() {
  for (int count = 0;; ++count) {
    const uint64_t claims = claims_.fetch_add(1, std::memory_order_acq_rel);
    if (next_of(claims) >= parts_of(claims))
      return count;
    task_(context_, int(next_of(claims)));
  }
}

/// Spins, then sleeps, until parts can be claimed (true) or the pool stops.
bool ThreadPool::wait_for_parts() {
  const auto ready = [this] {
    const uint64_t claims = claims_.load();
    return next_of(claims) < parts_of(claims) || stopping_.load();
  };
  for (int spin = 0; spin < spins_; ++spin) {
    if (ready())
      return !stopping_.load();
    _mm_pause();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  wake_.wait(lock, [&] {
    has_sleepers_.store(true); // before the last look: see wake_sleepers
    return ready();
  });
  return !stopping_.load();
}

void ThreadPool::work() {
  DefaultFloatMode float_mode;
  while (wait_for_parts()) {
    // In one step, so that the caller cannot see a part done that is not counted.
    if (const int count = run_claimed_parts())
      done_by_workers_.fetch_add(count, std::memory_order_acq_rel);
  }
}

} // namespace bitnet::runtime
