// See kv_cache.h.
#include "runtime/exec/kv_cache.h"
#include "runtime/format/layouts.h"
#include <limits>
#include <utility>

namespace bitnet::runtime {

using format::kKvBlockTokens;

int32_t KvCache::blocks_per_sequence() const {
  return (shape_.context + kKvBlockTokens - 1) / kKvBlockTokens;
}

Result<KvCache> KvCache::create(const KvShape &shape) {
  KvCache cache;
  cache.shape_ = shape;
  // Kernels index a layer's pool by int32. Factors: 2^16 sequences, 2^14 blocks, 2^12 heads, 2^16 values:
  // fits 2^63.
  const uint64_t positions =
      uint64_t(shape.sequences) * uint64_t(cache.blocks_per_sequence()) * uint64_t(kKvBlockTokens);
  const uint64_t values = positions * uint64_t(shape.kv_heads) * uint64_t(shape.head_dim);
  if (values > uint64_t(std::numeric_limits<int32_t>::max()))
    return invalid_argument("session: context times sequences: expected at most " +
                            std::to_string(uint64_t(std::numeric_limits<int32_t>::max()) /
                                           (uint64_t(shape.kv_heads) * uint64_t(shape.head_dim))) +
                            " positions, got " + std::to_string(positions));
  cache.layer_bytes_ = values * (shape.q8 ? 1 : sizeof(uint16_t));
  cache.layer_scale_bytes_ = shape.q8 ? positions * uint64_t(shape.kv_heads) * sizeof(float) : 0;
  const uint64_t chunks =
      uint64_t(cache.blocks_per_sequence() + format::kBlocksPerChunk - 1) / format::kBlocksPerChunk;
  const uint64_t parts = chunks * format::kSplitRows * uint64_t(shape.heads) *
                         uint64_t(format::part_width(shape.head_dim)) * sizeof(float);
  const std::pair<Mapping *, uint64_t> pools[] = {
      {&cache.k_, cache.layer_bytes_ * uint64_t(shape.layers)},
      {&cache.v_, cache.layer_bytes_ * uint64_t(shape.layers)},
      {&cache.k_scale_, cache.layer_scale_bytes_ * uint64_t(shape.layers)},
      {&cache.v_scale_, cache.layer_scale_bytes_ * uint64_t(shape.layers)},
      {&cache.parts_, parts}};
  for (const auto &[pool, bytes] : pools) {
    if (bytes == 0)
      continue;
    auto memory = map_memory(bytes, "key/value cache");
    if (!memory.ok())
      return std::move(memory).status();
    *pool = std::move(*memory);
  }
  const int32_t blocks = cache.blocks();
  cache.table_.assign(size_t(blocks), 0);
  cache.lengths_.assign(size_t(shape.sequences), 0);
  for (int32_t b = blocks; b-- > 0;) // lowest on top: a short run touches one end of the pool
    cache.free_blocks_.push_back(b);
  return cache;
}

int32_t KvCache::append(int32_t sequence) {
  const int32_t position = lengths_[size_t(sequence)]++;
  int32_t *const blocks = table_.data() + size_t(sequence) * size_t(blocks_per_sequence());
  int32_t &block = blocks[position / kKvBlockTokens];
  if (position % kKvBlockTokens == 0) { // the pool holds enough for all sequences at full length
    block = free_blocks_.back();
    free_blocks_.pop_back();
  }
  return block * kKvBlockTokens + position % kKvBlockTokens;
}

void KvCache::truncate(int32_t sequence, int32_t length) {
  int32_t *const blocks = table_.data() + size_t(sequence) * size_t(blocks_per_sequence());
  const int32_t kept = (length + kKvBlockTokens - 1) / kKvBlockTokens;
  for (int32_t b = (lengths_[size_t(sequence)] + kKvBlockTokens - 1) / kKvBlockTokens; b-- > kept;) {
    free_blocks_.push_back(blocks[b]);
    blocks[b] = 0;
  }
  lengths_[size_t(sequence)] = length;
}

} // namespace bitnet::runtime
