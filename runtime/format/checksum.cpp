// XXH3 from the xxhash header; nothing of it leaks.
#include "runtime/format/checksum.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace bitnet::format {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "chunk checksums are hashed as little-endian words");

uint64_t bytes_checksum_avx2(const void *data, size_t size); // checksum_avx2.cpp

uint64_t bytes_checksum(const void *data, size_t size) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  return has_avx2 ? bytes_checksum_avx2(data, size) : XXH3_64bits(data, size);
}

uint64_t combine_checksums(const uint64_t *chunks, size_t n_chunks) {
  return XXH3_64bits(chunks, n_chunks * sizeof *chunks);
}

} // namespace bitnet::format
