// The pool under the thread sanitizer (tsan preset) and in ordinary builds: every part runs once, results are
// visible to the caller, and workers that slept wake up.
#include "runtime/exec/thread_pool.h"
#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <immintrin.h>
#include <numeric>

namespace bitnet::runtime {
namespace {

struct Sums {
  std::vector<int> parts = std::vector<int>(64); // plain ints: the pool must order the accesses
};
void count(void *context, int part) { ++static_cast<Sums *>(context)->parts[size_t(part)]; }

TEST(ThreadPool, RunsEachPartOnceInEveryRound) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    Sums sums;
    std::vector<int> expected(64);
    for (int round = 0; round < 500; ++round) {
      const int parts = 1 + round % 20;
      pool.run(parts, count, &sums);
      for (int i = 0; i < parts; ++i)
        ++expected[size_t(i)];
      ASSERT_EQ(sums.parts, expected) << "round " << round << " of " << threads << " threads";
    }
  }
}

TEST(ThreadPool, WakesSleepingWorkers) {
  ThreadPool pool(3);
  Sums sums;
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10)); // spinning has ended
    pool.run(3, count, &sums);
  }
  EXPECT_EQ(std::accumulate(sums.parts.begin(), sums.parts.end(), 0), 15);
}

// The caller does the work of a worker that does not come: here one that is busy with an endless part.
std::atomic<bool> release{false};
std::atomic<int> finished{0};
void block_first(void *, int part) {
  if (part == 0)
    while (finished < 9 && !release)
      std::this_thread::yield();
  ++finished;
}
TEST(ThreadPool, ABusyWorkerHoldsUpItsOwnPartOnly) {
  ThreadPool pool(2);
  finished = 0;
  std::thread watchdog([] {
    for (int i = 0; i < 5000 && finished < 10; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_GE(finished, 9) << "the other nine parts wait for part 0";
    release = true;
  });
  pool.run(10, block_first, nullptr);
  watchdog.join();
  EXPECT_EQ(finished, 10);
}

TEST(ThreadPool, EndsWithoutEverRunning) {
  for (int i = 0; i < 20; ++i)
    ThreadPool pool(4);
}

constexpr uint32_t kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040, kAllMasked = 0x1f80;

std::atomic<int> arrived{0};
void record_mode(void *context, int part) {
  for (++arrived; arrived < 3;) // so that each part has a thread of its own
    std::this_thread::yield();
  static_cast<Sums *>(context)->parts[size_t(part)] = int(_mm_getcsr() & ~0x3fu); // without the sticky flags
}

TEST(ThreadPool, RunsInDefaultFloatModeWhateverTheHostHasSet) {
  const uint32_t old = _mm_getcsr();
  _mm_setcsr(kAllMasked | kFlushToZero | kDenormalsAreZero);
  Sums modes;
  {
    ThreadPool pool(3); // threads inherit the mode of their creator
    DefaultFloatMode mode;
    pool.run(3, record_mode, &modes);
  }
  EXPECT_EQ(_mm_getcsr() & ~0x3fu, kAllMasked | kFlushToZero | (kDenormalsAreZero & ~0x3fu))
      << "the caller's mode is put back";
  _mm_setcsr(old);
  for (int part = 0; part < 3; ++part)
    EXPECT_EQ(modes.parts[size_t(part)], int(kAllMasked)) << part;
}

} // namespace
} // namespace bitnet::runtime
