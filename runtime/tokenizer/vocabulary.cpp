// See vocabulary.h.
#include "runtime/tokenizer/vocabulary.h"

#include <algorithm>
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace bitnet::runtime {

void Vocabulary::reserve(size_t tokens, size_t bytes) {
  begins_.reserve(tokens + 1);
  blob_.reserve(bytes);
}

void Vocabulary::push(std::string_view bytes) {
  blob_.append(bytes);
  begins_.push_back(static_cast<uint32_t>(blob_.size()));
}

void Vocabulary::build_index(const std::vector<uint8_t> &findable) {
  uint32_t n_slots = 16;
  while (n_slots < 2u * static_cast<uint32_t>(size()))
    n_slots *= 2;
  mask_ = n_slots - 1;
  slots_.assign(n_slots, {0, -1});
  longest_ = 0;
  for (int32_t id = 0; id < size(); ++id) {
    const std::string_view token = bytes(id);
    if (token.empty() || !findable[id])
      continue;
    const uint64_t hash = XXH3_64bits(token.data(), token.size());
    const auto high = static_cast<uint32_t>(hash >> 32);
    uint32_t at = static_cast<uint32_t>(hash) & mask_;
    while (slots_[at].id >= 0 && !(slots_[at].hash == high && bytes(slots_[at].id) == token))
      at = (at + 1) & mask_;
    if (slots_[at].id < 0)
      slots_[at] = {high, id};
    longest_ = std::max(longest_, static_cast<uint32_t>(token.size()));
  }
}

int32_t Vocabulary::find(std::string_view token) const {
  if (token.empty() || token.size() > longest_)
    return -1;
  const uint64_t hash = XXH3_64bits(token.data(), token.size());
  const auto high = static_cast<uint32_t>(hash >> 32);
  for (uint32_t at = static_cast<uint32_t>(hash) & mask_; slots_[at].id >= 0; at = (at + 1) & mask_)
    if (slots_[at].hash == high && bytes(slots_[at].id) == token)
      return slots_[at].id;
  return -1;
}

} // namespace bitnet::runtime
