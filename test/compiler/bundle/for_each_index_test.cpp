// forEachIndex: everything once, the first failure, and no more threads than there is work or room for.
#include "compiler/bundle/ForEachIndex.h"
#include <atomic>
#include <gtest/gtest.h>
#include <mutex>
#include <set>
#include <sys/resource.h>
#include <thread>
#include <vector>

using namespace bitnet::compiler;
using llvm::Error;

namespace {

TEST(ForEachIndex, DoesEachPieceOnce) {
  for (int jobs : {1, 3, 1024}) {
    std::vector<std::atomic<int>> done(7);
    EXPECT_FALSE(bool(forEachIndex(jobs, done.size(), [&](size_t i) {
      ++done[i];
      return Error::success();
    })));
    for (const std::atomic<int> &times : done)
      EXPECT_EQ(times, 1) << jobs;
  }
}

TEST(ForEachIndex, NothingToDoIsDone) {
  EXPECT_FALSE(bool(forEachIndex(4, 0, [](size_t) { return llvm::createStringError("called"); })));
}

TEST(ForEachIndex, ReturnsTheFirstFailureAndStartsNoMore) {
  std::vector<size_t> started; // one thread: no lock
  Error e = forEachIndex(1, 10, [&](size_t i) {
    started.push_back(i);
    return i < 3 ? Error::success() : llvm::createStringError("piece %zu", i);
  });
  EXPECT_EQ(llvm::toString(std::move(e)), "piece 3");
  EXPECT_EQ(started, (std::vector<size_t>{0, 1, 2, 3}));
}

TEST(ForEachIndex, TakesNoMoreThreadsThanPieces) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  EXPECT_FALSE(bool(forEachIndex(1024, 2, [&](size_t) {
    std::lock_guard<std::mutex> lock(mutex);
    threads.insert(std::this_thread::get_id());
    return Error::success();
  })));
  EXPECT_LE(threads.size(), 2u);
}

TEST(ForEachIndex, HoldsNoMoreThanItMayOrOnePieceAlone) {
  const std::vector<uint64_t> bytes = {5, 5, 20, 4, 4, 4, 1};
  std::atomic<uint64_t> held{0};
  std::atomic<int> done{0};
  std::atomic<bool> tooMuch{false};
  const auto work = [&](size_t i) {
    const uint64_t now = held += bytes[i];
    if (now > 10 && now != bytes[i])
      tooMuch = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    held -= bytes[i];
    ++done;
    return Error::success();
  };
  EXPECT_FALSE(bool(forEachIndex(
      4, bytes.size(), work, [&](size_t i) { return bytes[i]; }, 10)));
  EXPECT_EQ(done, int(bytes.size()));
  EXPECT_FALSE(tooMuch);
}

TEST(ForEachIndex, AFailureEndsThoseThatWaitForRoom) {
  Error e = forEachIndex(
      4, 8,
      [](size_t i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return i == 1 ? llvm::createStringError("piece 1") : Error::success();
      },
      [](size_t) { return uint64_t(7); }, 10);
  EXPECT_EQ(llvm::toString(std::move(e)), "piece 1");
}

/// With no room in the address space for a thread's stack, std::thread throws; whoever is there does the
/// work.
TEST(ForEachIndex, WorksWhereNoThreadCanBeHad) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space that this test takes away";
#endif
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit none{1, before.rlim_max}; // below what is in use already: nothing more can be mapped
  ASSERT_EQ(setrlimit(RLIMIT_AS, &none), 0);
  std::atomic<size_t> done{0}; // a few threads may start, on stacks that ended ones left
  Error e = forEachIndex(64, 100, [&](size_t) {
    ++done;
    return Error::success();
  });
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_FALSE(bool(e));
  EXPECT_EQ(done, 100u);
}

} // namespace
