// Compares the sections' bytes with their recorded checksums, on all CPUs: it is the only pass over the
// weights at load, and brings them into memory on the way.
#pragma once
#include "runtime/bundle/bundle.h"
#include <atomic>
#include <thread>

namespace bitnet::runtime {

/// Names the first section (in order) that differs.
Status verify_checksums(const std::vector<Section> &sections);

/// The same begun in the background, so that the caller can do other work of one thread meanwhile. Used by
/// one thread; the sections' bytes must outlive it.
class ChecksumPass {
public:
  ChecksumPass() = default;
  ~ChecksumPass(); ///< stops early
  ChecksumPass(const ChecksumPass &) = delete;
  ChecksumPass &operator=(const ChecksumPass &) = delete;

  /// At most once. Takes all CPUs but one; without threads to be had finish() does everything.
  void start(std::vector<Section> sections);
  /// Helps, waits, and tells like verify_checksums. OK if nothing was started.
  Status finish();

private:
  struct Chunk {
    const uint8_t *data;
    size_t size;
    uint64_t sum;
  };
  void take_chunks();
  void join();

  std::vector<Section> sections_;
  std::vector<Chunk> chunks_; ///< of all sections, in order; each is one thread's, then finish()'s
  std::atomic<size_t> next_{0};
  std::vector<std::thread> threads_;
};

} // namespace bitnet::runtime
