// See checksums.h. Chunks of all sections form one list; threads take the next one until none is left.
#include "runtime/bundle/checksums.h"
#include "runtime/cpu/cpu.h"
#include "runtime/format/checksum.h"
#include <algorithm>
#include <system_error>

namespace bitnet::runtime {

void ChecksumPass::start(std::vector<Section> sections) {
  sections_ = std::move(sections);
  for (const Section &s : sections_)
    for (size_t at = 0; at < s.bytes.size; at += format::kChecksumChunk)
      chunks_.push_back({s.bytes.data + at, std::min<size_t>(s.bytes.size - at, format::kChecksumChunk), 0});
  const size_t wanted = std::min<size_t>(chunks_.size() / 4, size_t(cpu::available_cpus() - 1));
  threads_.reserve(wanted);
  try {
    while (threads_.size() < wanted)
      threads_.emplace_back([this] { take_chunks(); });
  } catch (const std::system_error &) {
    // Fewer threads are no error: each takes what is left.
  }
}

void ChecksumPass::take_chunks() {
  for (size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < chunks_.size();)
    chunks_[i].sum = format::bytes_checksum(chunks_[i].data, chunks_[i].size);
}

void ChecksumPass::join() {
  for (std::thread &t : threads_)
    t.join();
  threads_.clear();
}

ChecksumPass::~ChecksumPass() {
  next_.store(chunks_.size(), std::memory_order_relaxed);
  join();
}

Status ChecksumPass::finish() {
  take_chunks();
  join();
  auto chunk = chunks_.begin();
  for (const Section &s : sections_) {
    std::vector<uint64_t> sums(format::checksum_chunks(s.bytes.size));
    for (uint64_t &sum : sums)
      sum = chunk++->sum;
    if (format::combine_checksums(sums.data(), sums.size()) != s.checksum)
      return bad_bundle(
          "section " + std::string(format::fb::EnumNameSectionKind(s.kind)) +
          ": its bytes do not match its checksum: the file is damaged; compile or copy it again");
  }
  return {};
}

Status verify_checksums(const std::vector<Section> &sections) {
  ChecksumPass pass;
  pass.start(sections);
  return pass.finish();
}

} // namespace bitnet::runtime
