// The fixed first 64 bytes of a .bnx file. Little-endian.
#pragma once
#include <stdint.h>

namespace bitnet::format {

/// Version that this tree writes, and the oldest reader that can read what it writes.
constexpr uint32_t kBundleVersion = 3;
constexpr uint32_t kBundleMinReader = 3;
constexpr uint64_t kBundleMagic = 0x0a1a0d58'4e428900; // bytes 00 89 'B' 'N' 'X' 0d 1a 0a: survives no text-mode copy

/// byte  0 magic | 8 version | 12 min_reader | 16 index offset | 24 index size | 32 XXH3-64 of the index bytes
///      40 file size | 48 reserved, 0 | 56 XXH3-64 of bytes 0..55
struct BundleHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t min_reader;
  uint64_t index_offset;
  uint64_t index_size;
  uint64_t index_checksum;
  uint64_t file_size;
  uint64_t reserved;
  uint64_t header_checksum;
};
static_assert(sizeof(BundleHeader) == 64, "header layout");

/// Chunk size of section checksums (bundle.fbs, Section).
constexpr uint64_t kChecksumChunk = uint64_t(4) << 20;

} // namespace bitnet::format
