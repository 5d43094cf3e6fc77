// See checksums.h. Chunks of all sections form one list; threads take the next one until none is left.
#include "runtime/bundle/checksums.h"
#include "runtime/cpu/cpu.h"
#include "runtime/format/checksum.h"
#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

namespace bitnet::runtime {
namespace {

struct Chunk {
  const uint8_t *data;
  size_t size;
};

/// Runs `work` on up to n threads, this one included. Fewer threads are no error: each takes what is left.
template <typename Work> void run_on_threads(size_t n, const Work &work) {
  std::vector<std::thread> threads;
  threads.reserve(n);
  try {
    while (threads.size() + 1 < n)
      threads.emplace_back(work);
  } catch (const std::system_error &) {
  }
  work();
  for (std::thread &t : threads)
    t.join();
}

} // namespace

Status verify_checksums(const std::vector<Section> &sections) {
  std::vector<Chunk> chunks;
  for (const Section &s : sections)
    for (size_t at = 0; at < s.bytes.size; at += format::kChecksumChunk)
      chunks.push_back({s.bytes.data + at, std::min<size_t>(s.bytes.size - at, format::kChecksumChunk)});

  std::vector<uint64_t> sums(chunks.size());
  std::atomic<size_t> next{0};
  run_on_threads(std::min<size_t>(chunks.size() / 4 + 1, size_t(cpu::available_cpus())), [&] {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < chunks.size();)
      sums[i] = format::bytes_checksum(chunks[i].data, chunks[i].size);
  });

  size_t first = 0;
  for (const Section &s : sections) {
    const size_t n = format::checksum_chunks(s.bytes.size);
    if (format::combine_checksums(sums.data() + first, n) != s.checksum)
      return bad_bundle(
          "section " + std::string(format::fb::EnumNameSectionKind(s.kind)) +
          ": its bytes do not match its checksum: the file is damaged; compile or copy it again");
    first += n;
  }
  return {};
}

} // namespace bitnet::runtime
