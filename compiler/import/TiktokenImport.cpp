// A tiktoken rank file (runtime/format/rank_file.h) as the parts of a tokenizer.
#include "compiler/import/ImportError.h"
#include "compiler/import/TokenizerParts.h"
#include "runtime/format/rank_file.h"

using namespace llvm;

namespace bitnet::import {

Expected<ImportedTokenizer> importTiktoken(const std::string &ranks, const SpecialIds &ids,
                                           const std::string &where, const TokenizerSettings &settings) {
  TokenizerParts parts;
  if (std::string error; !format::parse_rank_file(ranks, kMaxTokens, &parts.vocab, &error))
    return failure(where + ": " + error);

  const auto base = static_cast<int64_t>(parts.vocab.size());
  int64_t id = base;
  for (const std::string &name : format::llama3_special_names()) {
    TokenizerParts::Added token;
    token.id = id++;
    token.content = name;
    parts.added.push_back(std::move(token));
  }
  Expected<std::vector<std::string>> splits = toPcre2(*findPreTokenizer("llama-bpe"), where);
  if (!splits)
    return splits.takeError();
  parts.splits = std::move(*splits);
  parts.preName = "llama-bpe";
  parts.rankIsId = true;
  parts.ignoreMerges = true;
  parts.ids = ids;
  if (!parts.ids.bos && parts.ids.bosText.empty())
    parts.ids.bos = base + format::kLlama3BeginOfText;
  if (!parts.ids.eos && parts.ids.eosText.empty())
    parts.ids.eos = base + format::kLlama3EndOfText;
  if (!parts.ids.pad && parts.ids.padText.empty())
    parts.ids.pad = base + format::kLlama3Pad;
  if (parts.ids.stop.empty())
    parts.ids.stop = {base + format::kLlama3EndOfText, base + format::kLlama3EndOfTurn};
  if (!parts.ids.addBos)
    parts.ids.addBos = true;
  return finishTokenizer(std::move(parts), where, settings);
}

} // namespace bitnet::import
