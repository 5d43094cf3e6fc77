// See thread_pool.h.
#include "runtime/exec/thread_pool.h"
#include "runtime/cpu/cpu.h"
#include <algorithm>
#include <immintrin.h>

namespace bitnet::runtime {
namespace {

constexpr uint32_t kDefaultMxcsr = 0x1f80; // all exceptions masked, round to nearest, no FTZ, no DAZ

// A pause takes 10 to 140 cycles by CPU generation, so this is 20 to 200 µs: longer than any serial part
// between two sections of a token, shorter than a person notices.
constexpr int kSpins = 5000;
// Pauses before a thread that has done its share looks at those of the others: 0.3 to 2 µs. They are as good
// as done most of the time, and looking takes the cache line from its owner.
constexpr int kPatience = 32;
// With more threads than CPUs whoever spins takes the CPU from the thread that it waits for.
constexpr int kSpinsOversubscribed = 20;

int32_t begin_of(uint64_t left) { return int32_t(left & 0xffffffff); }
int32_t end_of(uint64_t left) { return int32_t(left >> 32); }
uint64_t range(int32_t begin, int32_t end) { return uint64_t(uint32_t(end)) << 32 | uint32_t(begin); }

/// Half of what is left, but not less than the smallest piece, and nothing smaller left behind.
int32_t piece_of(int32_t left, int32_t smallest) {
  const int32_t half = std::max(left - left / 2, std::min(smallest, left));
  return left - half < smallest ? left : half;
}

/// Claims a piece from the front of a share (its owner) or from the back (another thread). False: nothing is
/// left.
bool claim(std::atomic<uint64_t> &share, int32_t smallest, bool from_front, int32_t *begin, int32_t *end) {
  uint64_t left = share.load(std::memory_order_acquire);
  for (;;) {
    const int32_t b = begin_of(left), e = end_of(left);
    if (b >= e)
      return false;
    const int32_t n = piece_of(e - b, smallest);
    *begin = from_front ? b : e - n;
    *end = *begin + n;
    const uint64_t rest = from_front ? range(*end, e) : range(b, *begin);
    if (share.compare_exchange_weak(left, rest, std::memory_order_acq_rel, std::memory_order_acquire))
      return true;
  }
}

} // namespace

DefaultFloatMode::DefaultFloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(kDefaultMxcsr); }
DefaultFloatMode::~DefaultFloatMode() { _mm_setcsr(saved_); }

ThreadPool::ThreadPool(int threads)
    : spins_(threads > cpu::available_cpus() ? kSpinsOversubscribed : kSpins),
      shares_(new Share[size_t(threads)]) {
  workers_.reserve(size_t(threads - 1));
  try {
    while (int(workers_.size()) < threads - 1)
      workers_.emplace_back([this, index = int(workers_.size()) + 1] { work(index); });
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

/// The fence and the worker's store make it sequentially consistent: either a worker on its way to sleep sees
/// what was published before this call, or its flag is seen here and it is woken.
void ThreadPool::wake_sleepers() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!has_sleepers_.load(std::memory_order_relaxed))
    return;
  {
    std::lock_guard<std::mutex> lock(mutex_); // whoever set the flag is now waiting
    has_sleepers_.store(false, std::memory_order_relaxed);
  }
  wake_.notify_all();
}

uint32_t ThreadPool::done_by_workers() const {
  uint32_t sum = 0;
  for (int i = 1; i < threads(); ++i)
    sum += shares_[size_t(i)].done.load(std::memory_order_acquire);
  return sum;
}

void ThreadPool::run(int32_t units, Split split, Task task, void *context) {
  const int32_t sharing = std::min({split.threads, threads(), units});
  if (sharing <= 1) {
    if (units > 0)
      task(context, 0, units);
    return;
  }
  const uint32_t done_before = done_by_workers();
  for (int32_t i = sharing; i-- > 0;) {
    Share &share = shares_[size_t(i)];
    share.task = task;
    share.context = context;
    share.smallest.store(split.smallest, std::memory_order_relaxed);
    share.sharing.store(sharing, std::memory_order_relaxed);
    share.left.store(
        range(int32_t(int64_t(units) * i / sharing), int32_t(int64_t(units) * (i + 1) / sharing)),
        std::memory_order_release);
  }
  wake_sleepers();
  uint32_t others = uint32_t(units) - run_share(0, 0);
  for (int spin = 0; done_by_workers() - done_before != others; ++spin) {
    if (spin == kPatience)
      others -= run_units_of_others(0);
    if (spin < spins_)
      _mm_pause();
    else
      std::this_thread::yield();
  }
}

/// Claims and runs units of a share until none is left; returns how many.
uint32_t ThreadPool::run_share(int of, int index) {
  Share &share = shares_[size_t(of)];
  uint32_t count = 0;
  int32_t begin, end;
  while (claim(share.left, share.smallest.load(std::memory_order_relaxed), of == index, &begin, &end)) {
    share.task(share.context, begin, end);
    count += uint32_t(end - begin);
  }
  return count;
}

uint32_t ThreadPool::run_units_of_others(int index) {
  const int32_t sharing = shares_[size_t(index)].sharing.load(std::memory_order_relaxed);
  uint32_t count = 0;
  for (int of = index + 1; of < sharing; ++of)
    count += run_share(of, index);
  for (int of = 0; of < index; ++of)
    count += run_share(of, index);
  return count;
}

/// Spins, then sleeps, until there are units in its share (true) or the pool stops.
bool ThreadPool::wait_for_units(const Share &own) {
  const auto ready = [&] { return own.has_units() || stopping_.load(); };
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

void ThreadPool::work(int index) {
  DefaultFloatMode float_mode;
  Share &own = shares_[size_t(index)];
  while (wait_for_units(own)) {
    own.add_done(run_share(index, index));
    int spin = 0;
    while (spin < kPatience && !own.has_units()) {
      _mm_pause();
      ++spin;
    }
    // In one step, so that the caller cannot see units done that are not counted.
    if (spin == kPatience)
      own.add_done(run_units_of_others(index));
  }
}

} // namespace bitnet::runtime
