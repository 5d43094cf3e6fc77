// The pool under the thread sanitizer (tsan preset) and in ordinary builds: every unit runs once, results are
// visible to the caller, and workers that slept wake up.
#include "runtime/exec/thread_pool.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <gtest/gtest.h>
#include <immintrin.h>
#include <mutex>
#include <vector>

namespace bitnet::runtime {
namespace {

struct Sums {
  std::vector<int> units = std::vector<int>(64); // plain ints: the pool must order the accesses
};
void count(void *context, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end; ++i)
    ++static_cast<Sums *>(context)->units[size_t(i)];
}

TEST(ThreadPool, RunsEachUnitOnceInEverySection) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    Sums sums;
    std::vector<int> expected(64);
    for (int round = 0; round < 600; ++round) {
      const int units = round % 20;
      pool.run(units, {1 + round % 9, 1 + round % 4}, count, &sums);
      for (int i = 0; i < units; ++i)
        ++expected[size_t(i)];
      ASSERT_EQ(sums.units, expected) << "round " << round << " of " << threads << " threads";
    }
  }
}

struct Pieces {
  std::mutex mutex;
  std::vector<std::pair<int32_t, int32_t>> all;
};
void record(void *context, int32_t begin, int32_t end) {
  auto &pieces = *static_cast<Pieces *>(context);
  std::lock_guard<std::mutex> lock(pieces.mutex);
  pieces.all.emplace_back(begin, end);
}

// What a section of one thread costs is a call: the pool is not involved.
TEST(ThreadPool, OneThreadIsOneCall) {
  ThreadPool pool(3);
  Pieces pieces;
  pool.run(30, {1, 1}, record, &pieces);
  pool.run(1, {3, 1}, record, &pieces);
  pool.run(0, {3, 1}, record, &pieces);
  EXPECT_EQ(pieces.all, (std::vector<std::pair<int32_t, int32_t>>{{0, 30}, {0, 1}}));
}

std::atomic<int> met{0};
/// Keeps each thread in its first piece until both have one, then records.
void meet_and_record(void *context, int32_t begin, int32_t end) {
  for (++met; met < 2;)
    std::this_thread::yield();
  record(context, begin, end);
}

// Two threads get 15 of 30 units each, not 4 parts of 7 and 8: pieces that halve, nothing below the smallest.
TEST(ThreadPool, PiecesHalve) {
  ThreadPool pool(2);
  for (int32_t smallest : {1, 2, 4, 100}) {
    Pieces pieces;
    met = 0;
    pool.run(30, {2, smallest}, meet_and_record, &pieces);
    std::sort(pieces.all.begin(), pieces.all.end());
    const auto longest = std::max_element(pieces.all.begin(), pieces.all.end(), [](auto a, auto b) {
      return a.second - a.first < b.second - b.first;
    });
    EXPECT_EQ(longest->second - longest->first, smallest == 100 ? 15 : 8) << smallest;
    EXPECT_EQ(pieces.all.front().first, 0);
    for (const auto &[begin, end] : pieces.all)
      EXPECT_GE(end - begin, std::min(smallest, 15)) << smallest;
    const bool cut = std::any_of(pieces.all.begin(), pieces.all.end(), [](auto p) { return p.first == 15; });
    EXPECT_TRUE(cut) << "both shares are 15 units";
  }
}

TEST(ThreadPool, WakesSleepingWorkers) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10)); // spinning has ended
    Pieces pieces;
    met = 0; // the caller waits for a worker
    pool.run(3, {3, 1}, meet_and_record, &pieces);
    EXPECT_EQ(pieces.all.size(), 3u);
  }
}

/// Seconds of processor time of this process, all threads.
double processor_time() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

TEST(ThreadPool, SleepsWhenIdle) {
  ThreadPool pool(4);
  Sums sums;
  pool.run(4, {4, 1}, count, &sums);
  double used = 1;
  for (int window = 0; window < 20 && used >= 0.02; ++window) { // in the first ones they may still spin
    const double before = processor_time();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    used = processor_time() - before;
  }
  EXPECT_LT(used, 0.02) << "three workers that spin take up to 0.6 s";
}

// Others do the work of a thread that does not come: here one that is busy with an endless piece.
std::atomic<bool> release{false};
std::atomic<int> finished{0};
void block_first(void *, int32_t begin, int32_t end) {
  if (begin == 0)
    while (finished < 100 - end && !release)
      std::this_thread::yield();
  finished += end - begin;
}
TEST(ThreadPool, ABusyThreadHoldsUpItsOwnPieceOnly) {
  ThreadPool pool(2);
  finished = 0;
  std::thread watchdog([] {
    for (int i = 0; i < 60000 && finished < 100; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_GE(finished, 75) << "all units but the first piece's wait for it";
    release = true;
  });
  pool.run(100, {2, 1}, block_first, nullptr);
  watchdog.join();
  EXPECT_EQ(finished, 100);
}

TEST(ThreadPool, EndsWithoutEverRunning) {
  for (int i = 0; i < 20; ++i)
    ThreadPool pool(4);
}

constexpr uint32_t kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040, kAllMasked = 0x1f80;

std::atomic<int> arrived{0};
void record_mode(void *context, int32_t unit, int32_t) {
  for (++arrived; arrived < 3;) // so that each unit has a thread of its own
    std::this_thread::yield();
  static_cast<Sums *>(context)->units[size_t(unit)] = int(_mm_getcsr() & ~0x3fu); // without the sticky flags
}

TEST(ThreadPool, RunsInDefaultFloatModeWhateverTheHostHasSet) {
  const uint32_t old = _mm_getcsr();
  _mm_setcsr(kAllMasked | kFlushToZero | kDenormalsAreZero);
  Sums modes;
  {
    ThreadPool pool(3); // threads inherit the mode of their creator
    DefaultFloatMode mode;
    pool.run(3, {3, 1}, record_mode, &modes);
  }
  EXPECT_EQ(_mm_getcsr() & ~0x3fu, kAllMasked | kFlushToZero | (kDenormalsAreZero & ~0x3fu))
      << "the caller's mode is put back";
  _mm_setcsr(old);
  for (int unit = 0; unit < 3; ++unit)
    EXPECT_EQ(modes.units[size_t(unit)], int(kAllMasked)) << unit;
}

} // namespace
} // namespace bitnet::runtime
