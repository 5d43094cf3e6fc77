// A tiktoken rank file ("base64 rank" lines) as Llama 3 uses it: ids are ranks, there are no merges, and 256
// special tokens follow the last rank.
#include "compiler/import/ImportError.h"
#include "compiler/import/TokenizerParts.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr int kSpecialTokens = 256;

/// Strict base64 with padding.
bool decodeBase64(StringRef text, std::string &bytes) {
  const auto digit = [](char c) -> int {
    if (c >= 'A' && c <= 'Z')
      return c - 'A';
    if (c >= 'a' && c <= 'z')
      return c - 'a' + 26;
    if (c >= '0' && c <= '9')
      return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  bytes.clear();
  if (text.empty() || text.size() % 4 != 0)
    return false;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t group = 0;
    for (size_t j = i; j < i + 4; ++j) {
      const bool padded = j >= text.size() - padding;
      const int value = padded ? 0 : digit(text[j]);
      if (value < 0)
        return false;
      group = group << 6 | static_cast<uint32_t>(value);
    }
    for (int shift = 16; shift >= 0; shift -= 8)
      bytes += static_cast<char>(group >> shift);
  }
  bytes.resize(bytes.size() - padding);
  return true;
}

/// Llama 3's names, in the order of their ids.
std::vector<std::string> specialNames() {
  std::vector<std::string> names{"<|begin_of_text|>", "<|end_of_text|>"};
  int reserved = 0;
  const auto reserve = [&](int n) {
    for (int i = 0; i < n; ++i)
      names.push_back("<|reserved_special_token_" + std::to_string(reserved++) + "|>");
  };
  reserve(4);
  names.insert(names.end(), {"<|start_header_id|>", "<|end_header_id|>"});
  reserve(1);
  names.push_back("<|eot_id|>");
  reserve(kSpecialTokens - static_cast<int>(names.size()));
  return names;
}

} // namespace

Expected<ImportedTokenizer> importTiktoken(const std::string &ranks, const SpecialIds &ids,
                                           const std::string &where, const TokenizerSettings &settings) {
  TokenizerParts parts;
  std::vector<bool> taken;
  int64_t line = 0;
  for (StringRef rest = ranks; !rest.empty();) {
    auto [text, next] = rest.split('\n');
    rest = next;
    ++line;
    text = text.trim();
    if (text.empty())
      continue;
    const auto [encoded, number] = text.split(' ');
    std::string bytes;
    int64_t rank = 0;
    if (!decodeBase64(encoded, bytes) || number.getAsInteger(10, rank) || rank < 0 || rank >= kMaxTokens)
      return failure(where + ": line " + std::to_string(line) + ": expected 'base64 rank', got " +
                     quoted(text));
    if (static_cast<size_t>(rank) >= parts.vocab.size())
      parts.vocab.resize(rank + 1);
    if (!parts.vocab[rank].empty())
      return failure(where + ": line " + std::to_string(line) + ": rank " + std::to_string(rank) +
                     " is there twice");
    parts.vocab[rank] = std::move(bytes);
  }
  if (parts.vocab.empty())
    return failure(where + ": expected lines of 'base64 rank', got none");
  for (size_t rank = 0; rank < parts.vocab.size(); ++rank)
    if (parts.vocab[rank].empty())
      return failure(where + ": expected ranks 0 to " + std::to_string(parts.vocab.size() - 1) +
                     ", got none for " + std::to_string(rank));

  const auto base = static_cast<int64_t>(parts.vocab.size());
  int64_t id = base;
  for (const std::string &name : specialNames()) {
    TokenizerParts::Added token;
    token.id = id++;
    token.content = name;
    parts.added.push_back(std::move(token));
  }
  Expected<std::string> pattern = toPcre2(findPreTokenizer("llama-bpe")->pattern, where);
  if (!pattern)
    return pattern.takeError();
  parts.splitPattern = *pattern;
  parts.preName = "llama-bpe";
  parts.rankIsId = true;
  parts.ignoreMerges = true;
  parts.ids = ids;
  if (!parts.ids.bos && parts.ids.bosText.empty())
    parts.ids.bos = base;
  if (!parts.ids.eos && parts.ids.eosText.empty())
    parts.ids.eos = base + 1;
  if (!parts.ids.pad && parts.ids.padText.empty())
    parts.ids.pad = base + kSpecialTokens - 1;
  if (parts.ids.stop.empty())
    parts.ids.stop = {base + 1, base + 9};
  if (!parts.ids.addBos)
    parts.ids.addBos = true;
  return finishTokenizer(std::move(parts), where, settings);
}

} // namespace bitnet::import
