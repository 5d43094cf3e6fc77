// See ForEachIndex.h.
#include "compiler/bundle/ForEachIndex.h"
#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

using namespace llvm;

namespace bitnet::compiler {

Error forEachIndex(int jobs, size_t count, function_ref<Error(size_t)> work) {
  std::atomic<size_t> next{0};
  std::mutex mutex; // failure
  Error failure = Error::success();
  bool failed = false;

  auto share = [&] {
    for (size_t i; (i = next.fetch_add(1)) < count;)
      if (Error e = work(i)) {
        next = count;
        std::lock_guard<std::mutex> lock(mutex);
        if (failed)
          consumeError(std::move(e));
        else
          failure = std::move(e);
        failed = true;
      }
  };
  std::vector<std::thread> threads;
  const size_t wanted = std::min(size_t(std::max(jobs, 1)), std::max<size_t>(count, 1));
  threads.reserve(wanted - 1);
  try { // the one call here that throws
    while (threads.size() + 1 < wanted)
      threads.emplace_back(share);
  } catch (const std::system_error &) {
    // No more threads to be had: those that started, and this one, do all of it.
  }
  share();
  for (std::thread &t : threads)
    t.join();
  return failure;
}

} // namespace bitnet::compiler
