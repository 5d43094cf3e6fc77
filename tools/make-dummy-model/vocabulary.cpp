#include "tools/make-dummy-model/vocabulary.h"

namespace bitnet::dummy {
namespace {

/// GPT-2 writes printable bytes of Latin-1 as themselves and the others as code points from 256 on.
std::string byte_symbol(int byte) {
  auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b)
      code += !printable(b);
  }
  if (code < 128)
    return std::string(1, char(code));
  return {char(0xc0 | code >> 6), char(0x80 | (code & 63))};
}

} // namespace

Vocabulary made_up_vocabulary(int32_t size) {
  Vocabulary v;
  for (int byte = 0; byte < 256; ++byte)
    v.tokens.push_back(byte_symbol(byte));
  const size_t room = size_t(size) - 3;
  std::vector<std::string> shorter;
  for (char c = 'a'; c <= 'z'; ++c)
    shorter.emplace_back(1, c);
  for (int length = 2; length <= 4; ++length) {
    std::vector<std::string> words;
    for (const std::string &word : shorter)
      for (char c = 'a'; c <= 'z' && v.tokens.size() < room; ++c) {
        v.merges.emplace_back(word, std::string(1, c));
        words.push_back(word + c);
        v.tokens.push_back(word + c);
      }
    shorter = std::move(words);
  }
  while (v.tokens.size() < room)
    v.tokens.push_back("<|unused_" + std::to_string(v.tokens.size()) + "|>");
  v.bos = int32_t(v.tokens.size());
  v.eos = v.bos + 1;
  v.eot = v.bos + 2;
  v.tokens.insert(v.tokens.end(), {"<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"});
  return v;
}

} // namespace bitnet::dummy
