#include "tools/bitnet/timed_threads.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace bitnet::tools {

double secondsTogether(int threads, const std::function<void(int)> &work) {
  using Clock = std::chrono::steady_clock;
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i)
    workers.emplace_back([&, i] {
      ready.fetch_add(1);
      while (!go.load(std::memory_order_acquire)) {
      }
      work(i);
    });
  while (ready.load() < threads)
    std::this_thread::yield();
  const Clock::time_point start = Clock::now();
  go.store(true, std::memory_order_release);
  for (std::thread &worker : workers)
    worker.join();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

} // namespace bitnet::tools
