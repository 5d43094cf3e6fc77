// The key/value cache of a session: blocks of 64 positions (runtime/format/layouts.h) in one pool a layer,
// and for each sequence a table that says which blocks hold its positions. Keys and values are f16, or int8
// with a scale for each position and head. Beside them the one buffer in which attention keeps the chunks of
// few rows. Everything is allocated at creation; memory is used only once it is written.
#pragma once
#include "runtime/base/file_map.h"
#include <vector>

namespace bitnet::runtime {

struct KvShape {
  int32_t layers, kv_heads, head_dim;
  int32_t sequences, context; ///< context: most positions of a sequence
  int32_t heads = 0;          ///< query heads
  bool q8 = false;
};

/// Used by one thread at a time. The kernels of a step read tables and slots while nothing here changes them.
class KvCache {
public:
  static Result<KvCache> create(const KvShape &shape);

  /// Blocks in each layer's pool; blocks that one sequence may have.
  int32_t blocks() const { return shape_.sequences * blocks_per_sequence(); }
  int32_t blocks_per_sequence() const;
  uint8_t *k(int32_t layer) const { return k_.data() + layer_bytes_ * size_t(layer); }
  uint8_t *v(int32_t layer) const { return v_.data() + layer_bytes_ * size_t(layer); }
  /// f32, of an int8 cache.
  uint8_t *k_scale(int32_t layer) const { return k_scale_.data() + layer_scale_bytes_ * size_t(layer); }
  uint8_t *v_scale(int32_t layer) const { return v_scale_.data() + layer_scale_bytes_ * size_t(layer); }
  /// f32 [kSplitRows, chunks of a sequence, heads, part_width].
  uint8_t *parts() const { return parts_.data(); }
  /// i32 [sequences, blocks_per_sequence]; entries past a sequence's length are 0.
  const int32_t *block_table() const { return table_.data(); }

  int32_t length(int32_t sequence) const { return lengths_[size_t(sequence)]; }
  /// Makes room for the next position of a sequence (< context) and returns its slot.
  int32_t append(int32_t sequence);
  /// Forgets positions >= length and gives their blocks back. 0 <= length <= length(sequence).
  void truncate(int32_t sequence, int32_t length);

private:
  KvShape shape_{};
  size_t layer_bytes_ = 0, layer_scale_bytes_ = 0; ///< of k, and of v
  Mapping k_, v_, k_scale_, v_scale_, parts_;
  std::vector<int32_t> table_, lengths_, free_blocks_; ///< free_blocks_: a stack
};

} // namespace bitnet::runtime
