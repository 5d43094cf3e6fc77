// See ForEachIndex.h.
#include "compiler/bundle/ForEachIndex.h"
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

using namespace llvm;

namespace bitnet::compiler {

Error forEachIndex(int jobs, size_t count, function_ref<Error(size_t)> work) {
  return forEachIndex(
      jobs, count, work, [](size_t) { return uint64_t(0); }, 0);
}

Error forEachIndex(int jobs, size_t count, function_ref<Error(size_t)> work,
                   function_ref<uint64_t(size_t)> bytesOf, uint64_t most) {
  std::mutex mutex; // all below
  std::condition_variable released;
  size_t next = 0;
  uint64_t taken = 0;
  Error failure = Error::success();
  bool failed = false;

  auto share = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    while (next < count && !failed) {
      const size_t i = next++;
      const uint64_t bytes = bytesOf(i);
      released.wait(lock, [&] { return failed || taken == 0 || (bytes <= most && taken <= most - bytes); });
      if (failed)
        return;
      taken += bytes;
      lock.unlock();
      Error e = work(i);
      lock.lock();
      taken -= bytes;
      if (e && failed)
        consumeError(std::move(e));
      else if (e) {
        failure = std::move(e);
        failed = true;
      }
      released.notify_all();
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
