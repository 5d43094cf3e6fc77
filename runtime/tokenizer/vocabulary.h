// The bytes of every token id, and the id of a byte string. Not tied to an algorithm: byte-pair encoding,
// decoding and SentencePiece pieces all stand on it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::runtime {

/// Largest vocabulary accepted; real ones end at 262,144. Keeps every id-indexed table of a hostile file
/// small.
constexpr int32_t kMaxVocabulary = 1 << 20;

/// Filled once, then immutable and shared by threads.
class Vocabulary {
public:
  void reserve(size_t tokens, size_t bytes);
  /// Adds the next id. Holes are empty.
  void push(std::string_view bytes);
  /// Builds the table behind find(). Ids with `findable[id] == 0` and holes are left out; of equal tokens the
  /// lowest id is found.
  void build_index(const std::vector<uint8_t> &findable);

  int32_t size() const { return static_cast<int32_t>(begins_.size()) - 1; }
  std::string_view bytes(int32_t id) const {
    return std::string_view(blob_).substr(begins_[id], begins_[id + 1] - begins_[id]);
  }
  /// -1 when absent.
  int32_t find(std::string_view bytes) const;

private:
  struct Slot {
    uint32_t hash; ///< high half of the hash, to skip most comparisons
    int32_t id;    ///< -1: free
  };
  std::string blob_;
  std::vector<uint32_t> begins_{0};
  std::vector<Slot> slots_; ///< open addressing, linear probing, at most half full
  uint32_t mask_ = 0;
  uint32_t longest_ = 0; ///< bytes of the longest token that can be found
};

} // namespace bitnet::runtime
