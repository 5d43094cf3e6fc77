// The section checksum is as bundle.fbs defines it: XXH3 of the XXH3 of its chunks, 64-bit little-endian
// words.
#include "runtime/format/checksum.h"
#include <gtest/gtest.h>
#include <vector>

namespace bitnet::format {
namespace {

TEST(Checksum, OfASectionIsThatOfItsChunksChecksums) {
  std::vector<uint8_t> bytes(size_t(kChecksumChunk) * 2 + 5);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = uint8_t(i * 37 >> 3);
  for (size_t size :
       {size_t(0), size_t(1), size_t(kChecksumChunk), size_t(kChecksumChunk) + 1, bytes.size()}) {
    std::vector<uint64_t> sums;
    for (size_t at = 0; at < size; at += size_t(kChecksumChunk))
      sums.push_back(bytes_checksum(bytes.data() + at, std::min(size - at, size_t(kChecksumChunk))));
    EXPECT_EQ(sums.size(), checksum_chunks(size));
    EXPECT_EQ(combine_checksums(sums.data(), sums.size()), bytes_checksum(sums.data(), sums.size() * 8))
        << size;
  }
}

TEST(Checksum, IsXxh3) {
  EXPECT_EQ(bytes_checksum("", 0), 0x2d06800538d394c2u); // published test vector of XXH3-64, seed 0
}

} // namespace
} // namespace bitnet::format
