// Checksums of the bundle: XXH3-64 of small things, and of sections in chunks so that many threads can share
// the work.
#pragma once
#include "runtime/format/bundle_header.h"
#include <stddef.h>
#include <stdint.h>

namespace bitnet::format {

/// XXH3-64 of the bytes (header, index, one chunk of a section).
uint64_t bytes_checksum(const void *data, size_t size);

/// Chunks of a section: ceil(size / kChecksumChunk).
constexpr size_t checksum_chunks(uint64_t size) {
  return size_t((size + kChecksumChunk - 1) / kChecksumChunk);
}
/// Checksum of a section from the checksums of its chunks, in order (bundle.fbs, Section); one of size 0 has
/// none.
uint64_t combine_checksums(const uint64_t *chunks, size_t n_chunks);

} // namespace bitnet::format
