// What every tokenizer importer fills in, and the one place that checks it and writes
// runtime/format/tokenizer.fbs.
#pragma once
#include "compiler/import/TokenizerImport.h"
#include <unordered_map>

namespace bitnet::import {

/// As the runtime: keeps id-indexed tables of a hostile file small. Real vocabularies end at 262,144.
constexpr int64_t kMaxTokens = 1 << 20;

struct TokenizerParts {
  struct Merge {
    int32_t left, right, result;
  };
  struct Added {
    int64_t id = -1;
    std::string content;
    bool special = true, lstrip = false, rstrip = false, singleWord = false, normalized = false;
  };
  std::string spmModel;           ///< SentencePiece; empty = byte pairs
  int64_t spmPieces = 0;          ///< SentencePiece: pieces in the model
  std::vector<std::string> vocab; ///< byte pairs: id → bytes (text where `characters`), holes empty
  std::vector<Merge> merges;      ///< in rank order
  bool rankIsId = false;          ///< tiktoken: no merges
  bool ignoreMerges = false, byteFallback = false, nfc = false;
  std::vector<std::string>
      splits; ///< PCRE2 form (toPcre2), each cuts what the one before left; none = one piece
  /// Byte pairs that start from characters, with ▁ for spaces: a SentencePiece model as tokenizer.json has
  /// it.
  bool characters = false;
  bool marksBeforeAdded = true; ///< ▁ comes before added tokens with `normalized` are looked for, else after
  enum class Front { never, always, unlessThere, firstUnlessThere };
  Front front = Front::never; ///< ▁ before a text
  bool fuseUnk = false, stripFront = false;
  std::string preName; ///< for people
  std::vector<Added> added;
  SpecialIds ids;
  std::vector<Decision> decisions;
};

/// Resolves the special ids (settings win over files), decides the stop tokens, checks every id, serializes.
llvm::Expected<ImportedTokenizer> finishTokenizer(TokenizerParts parts, const std::string &where,
                                                  const TokenizerSettings &settings);

/// nullptr when --set has no such key.
const std::string *findSetting(const TokenizerSettings &settings, const std::string &key);

/// Merges given as pairs of token texts, to ids. `find` gives a text's id or -1. The error names the merge.
class MergeResolver {
public:
  MergeResolver(const std::vector<std::string> &texts, std::string where);
  llvm::Error add(const std::string &left, const std::string &right,
                  std::vector<TokenizerParts::Merge> &merges) const;
  /// "left right"; the first space that is not the first byte divides.
  llvm::Error add(const std::string &line, std::vector<TokenizerParts::Merge> &merges) const;
  int32_t find(const std::string &text) const;

private:
  std::unordered_map<std::string, int32_t> ids_;
  std::string where_;
};

/// Token texts of byte-level BPE are written in GPT-2's alphabet, one printable character for each byte.
/// False: a character of `text` is not in it.
bool bytesOfAlphabet(const std::string &text, std::string &bytes);

/// The split pattern of a pre-tokenizer by GGUF's name for it ("llama-bpe", "qwen2", "gpt-2", ...); nullptr
/// when unknown.
struct PreTokenizer {
  const char *patterns[4];        ///< as Hugging Face writes it; passes, each cuts what the one before left
  bool ignoreMerges, nfc, addBos; ///< what goes with it where the file does not say
};
const PreTokenizer *findPreTokenizer(const std::string &name);
/// "llama-bpe, qwen2, ...", for errors.
std::string preTokenizerNames();

/// From the dialect of Hugging Face's files (Oniguruma) to PCRE2: \s is Unicode White_Space there, in PCRE2
/// it has U+180E too. The error says what PCRE2 has against the pattern.
llvm::Expected<std::string> toPcre2(const std::string &pattern, const std::string &where);
/// All passes of a pre-tokenizer.
llvm::Expected<std::vector<std::string>> toPcre2(const PreTokenizer &pre, const std::string &where);

} // namespace bitnet::import
