// The checksum of a section of a bundle in one call, for tests that make or change bundles.
#pragma once
#include "runtime/format/checksum.h"
#include <algorithm>
#include <vector>

namespace bitnet::test {

inline uint64_t section_checksum(const uint8_t *bytes, size_t size) {
  std::vector<uint64_t> sums;
  for (size_t at = 0; at < size; at += size_t(format::kChecksumChunk))
    sums.push_back(format::bytes_checksum(bytes + at, std::min(size - at, size_t(format::kChecksumChunk))));
  return format::combine_checksums(sums.data(), sums.size());
}

} // namespace bitnet::test
