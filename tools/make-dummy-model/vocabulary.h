// A byte-level BPE vocabulary that is made up: the 256 byte tokens first, so that any text can be encoded,
// then words of two, three and four small letters with the merges that make them, then three special tokens.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bitnet::dummy {

struct Vocabulary {
  std::vector<std::string> tokens; ///< in the byte-to-unicode alphabet of GPT-2, UTF-8
  std::vector<std::pair<std::string, std::string>> merges; ///< by rank
  int32_t bos = 0, eos = 0, eot = 0;                       ///< the last three tokens
};
constexpr int32_t kSmallestVocabulary = 256 + 3;
/// size >= kSmallestVocabulary; what letters cannot fill is filled with unused special tokens.
Vocabulary made_up_vocabulary(int32_t size);

} // namespace bitnet::dummy
