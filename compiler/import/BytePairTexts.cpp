// Token and merge texts of byte-level BPE, as files write them, to bytes and ids.
#include "compiler/import/ImportError.h"
#include "compiler/import/TokenizerParts.h"
#include <algorithm>

using namespace llvm;

namespace bitnet::import {
namespace {

/// GPT-2's alphabet, inverted: code point → byte, -1 where it has none.
struct Alphabet {
  int16_t byteOf[512];
  Alphabet() {
    std::fill(std::begin(byteOf), std::end(byteOf), int16_t(-1));
    int next = 256; // bytes that do not print are written as U+0100, U+0101, ...
    for (int byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      byteOf[prints ? byte : next++] = static_cast<int16_t>(byte);
    }
  }
};

} // namespace

MergeResolver::MergeResolver(const std::vector<std::string> &texts, std::string where)
    : where_(std::move(where)) {
  for (size_t id = 0; id < texts.size(); ++id)
    if (!texts[id].empty())
      ids_.emplace(texts[id], static_cast<int32_t>(id)); // of equal texts the lowest id
}

int32_t MergeResolver::find(const std::string &text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? -1 : found->second;
}

Error MergeResolver::add(const std::string &left, const std::string &right,
                         std::vector<TokenizerParts::Merge> &merges) const {
  const TokenizerParts::Merge merge{find(left), find(right), find(left + right)};
  const std::string *absent = nullptr, joined = left + right;
  if (left.empty() || merge.left < 0)
    absent = &left;
  else if (right.empty() || merge.right < 0)
    absent = &right;
  else if (merge.result < 0)
    absent = &joined;
  if (absent)
    return failure(where_ + ": merge " + std::to_string(merges.size()) + ": token " + quoted(*absent) +
                   " is not in the vocabulary");
  merges.push_back(merge);
  return Error::success();
}

Error MergeResolver::add(const std::string &line, std::vector<TokenizerParts::Merge> &merges) const {
  const size_t space = line.find(' ', 1);
  if (line.empty() || space == std::string::npos)
    return failure(where_ + ": merge " + std::to_string(merges.size()) + ": expected 'left right', got " +
                   quoted(line));
  return add(line.substr(0, space), line.substr(space + 1), merges);
}

bool bytesOfAlphabet(const std::string &text, std::string &bytes) {
  static const Alphabet alphabet;
  bytes.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<uint8_t>(text[i]);
    unsigned codePoint = first;
    if (first >= 0x80) { // the alphabet ends at U+0143: two bytes of UTF-8
      if (first < 0xC2 || first > 0xC5 || i + 1 == text.size())
        return false;
      const auto second = static_cast<uint8_t>(text[++i]);
      if ((second & 0xC0) != 0x80)
        return false;
      codePoint = (first & 0x1F) << 6 | (second & 0x3F);
    }
    if (alphabet.byteOf[codePoint] < 0)
      return false;
    bytes += static_cast<char>(alphabet.byteOf[codePoint]);
  }
  return true;
}

} // namespace bitnet::import
