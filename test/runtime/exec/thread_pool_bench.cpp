// What handing out a parallel section costs: runtime_thread_pool_bench [threads]...
// Not a test. Times sections of empty units back to back, and with serial work between them as in a token.
// Prints nanoseconds a section, best and median of rounds.
#include "runtime/exec/thread_pool.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <immintrin.h>
#include <vector>

using namespace bitnet::runtime;

namespace {

void nothing(void *, int32_t, int32_t) {}

/// About `ns` of work that no other thread sees.
void stay_busy(double ns) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double, std::nano>(ns);
  while (std::chrono::steady_clock::now() < end) {
  }
}

void measure(int threads, int units, double between_ns) {
  ThreadPool pool(threads);
  constexpr int kSections = 2000;
  std::vector<double> rounds;
  for (int round = 0; round < 31; ++round) {
    double total = 0;
    for (int i = 0; i < kSections; ++i) {
      if (between_ns > 0)
        stay_busy(between_ns);
      const auto start = std::chrono::steady_clock::now();
      pool.run(units, {threads, 1}, nothing, nullptr);
      total += std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
    }
    rounds.push_back(total / kSections);
  }
  std::sort(rounds.begin(), rounds.end());
  std::printf("%2d threads, %2d units, %6.0f ns between: %7.0f ns a section (best %.0f)\n", threads, units,
              between_ns, rounds[rounds.size() / 2], rounds[0]);
}

} // namespace

int main(int argc, char **argv) {
  std::vector<int> threads;
  for (int i = 1; i < argc; ++i)
    threads.push_back(std::max(1, std::atoi(argv[i])));
  for (int n : threads.empty() ? std::vector<int>{1, 2} : threads)
    for (int units : {1, n, 4 * n})
      for (double between : {0.0, 3000.0})
        measure(n, units, between);
}
