// The vocabulary in a GGUF file (tokenizer.ggml.*): byte-level BPE ("gpt2") and SentencePiece ("llama"),
// whose pieces are put back into the protobuf that libsentencepiece reads.
#include "compiler/import/ImportError.h"
#include "compiler/import/TokenizerParts.h"
#include <cmath>
#include <cstring>

using namespace llvm;

namespace bitnet::import {
namespace {

/// tokenizer.ggml.token_type.
enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

/// Value of "<0xNN>"; -1 for anything else. Strict: readers that were not wrote outside of their tables.
int byteToken(const std::string &text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (text.size() != 6 || text.compare(0, 3, "<0x") != 0 || text[5] != '>')
    return -1;
  const int high = digit(text[3]), low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void putVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void putField(std::string &out, uint32_t field, uint64_t value) {
  putVarint(out, field << 3);
  putVarint(out, value);
}
void putField(std::string &out, uint32_t field, const std::string &bytes) {
  putVarint(out, field << 3 | 2);
  putVarint(out, bytes.size());
  out += bytes;
}

class GgufTokenizer {
public:
  GgufTokenizer(const GgufVocabulary &vocabulary, const std::string &where, const TokenizerSettings &settings)
      : in_(vocabulary), where_(where + ": tokenizer.ggml"), settings_(settings) {}

  Expected<TokenizerParts> run() {
    if (Error error = checkSizes())
      return error;
    parts_.ids.bos = in_.bos;
    parts_.ids.eos = in_.eos;
    parts_.ids.pad = in_.pad;
    parts_.ids.addBos = in_.addBos;
    parts_.ids.addEos = in_.addEos;
    for (const std::optional<int64_t> &id : {in_.eos, in_.eot, in_.eom})
      if (id)
        parts_.ids.stop.push_back(*id);
    Error error = in_.model == "gpt2" ? readBytePairs()
                  : in_.model == "llama"
                      ? readSentencePiece()
                      : failure(where_ + ".model: expected gpt2 or llama, got " + quoted(in_.model));
    if (error)
      return error;
    return std::move(parts_);
  }

private:
  Error checkSizes() {
    const size_t n = in_.tokens.size();
    if (n == 0 || n > static_cast<size_t>(kMaxTokens))
      return failure(where_ + ".tokens: expected 1 to " + std::to_string(kMaxTokens) + ", got " +
                     std::to_string(n));
    if (!in_.types.empty() && in_.types.size() != n)
      return failure(where_ + ".token_type: expected one for each of " + std::to_string(n) + " tokens, got " +
                     std::to_string(in_.types.size()));
    if (!in_.scores.empty() && in_.scores.size() != n)
      return failure(where_ + ".scores: expected one for each of " + std::to_string(n) + " tokens, got " +
                     std::to_string(in_.scores.size()));
    return Error::success();
  }

  void add(size_t id, bool special) {
    TokenizerParts::Added token;
    token.id = static_cast<int64_t>(id);
    token.content = in_.tokens[id];
    token.special = special;
    parts_.added.push_back(std::move(token));
  }

  Error readBytePairs() {
    if (Error error = choosePre())
      return error;
    parts_.vocab.resize(in_.tokens.size());
    for (size_t id = 0; id < in_.tokens.size(); ++id) {
      const std::string &text = in_.tokens[id];
      switch (in_.types.empty() ? guessType(id) : in_.types[id]) {
      case kNormal:
        if (!bytesOfAlphabet(text, parts_.vocab[id]))
          return failure(where_ + ".tokens: token " + std::to_string(id) + " " + quoted(text) +
                         ": expected the byte-level alphabet");
        break;
      case kUnknown:
      case kControl:
        add(id, true);
        break;
      case kUserDefined:
        add(id, false);
        break;
      case kUnused: // a hole that a converter filled
        break;
      case kByte: {
        const int value = byteToken(text);
        if (value < 0)
          return badByte(id);
        parts_.vocab[id] = std::string(1, static_cast<char>(value));
        break;
      }
      default:
        return badType(id);
      }
    }
    const MergeResolver resolver(in_.tokens, where_);
    parts_.merges.reserve(in_.merges.size());
    for (const std::string &line : in_.merges)
      if (Error error = resolver.add(line, parts_.merges))
        return error;
    return Error::success();
  }

  /// A file without token types: what it names as BOS, EOS, ... is special, and what looks like <|name|>.
  int32_t guessType(size_t id) const {
    for (const std::optional<int64_t> &special : {in_.bos, in_.eos, in_.eot, in_.eom, in_.pad})
      if (special && *special == static_cast<int64_t>(id))
        return kControl;
    const std::string &text = in_.tokens[id];
    const bool marked =
        text.size() > 4 && text.compare(0, 2, "<|") == 0 && text.compare(text.size() - 2, 2, "|>") == 0;
    return marked ? kControl : kNormal;
  }

  Error badType(size_t id) const {
    return failure(where_ + ".token_type: token " + std::to_string(id) + ": expected 1 to 6, got " +
                   std::to_string(in_.types[id]));
  }
  Error badByte(size_t id) const {
    return failure(where_ + ".tokens: byte token " + std::to_string(id) +
                   ": expected '<0x00>' to '<0xFF>', got " + quoted(in_.tokens[id]));
  }

  /// The split pattern is not in the file, only its name; and the official 2B-4T file has not even that.
  Error choosePre() {
    std::string name = in_.pre;
    if (const std::string *set = findSetting(settings_, "pre")) {
      name = *set;
    } else if (name.empty() || name == "default") {
      // The rule, from the vocabularies that are known (the fact about Qwen is ours): converters of 2024
      // wrote no name, or "default", which llama.cpp then splits as no model does.
      const struct {
        size_t size, id;
        const char *token, *name;
      } known[] = {{128256, 128000, "<|begin_of_text|>", "llama-bpe"},
                   {151936, 151644, "<|im_start|>", "qwen2"}};
      for (const auto &one : known)
        if (in_.tokens.size() == one.size && in_.tokens[one.id] == one.token) {
          parts_.decisions.push_back({"pre-tokenizer", one.name,
                                      "the file names " + std::string(name.empty() ? "none" : "'default'") +
                                          ", and of its " + std::to_string(one.size) + " tokens number " +
                                          std::to_string(one.id) + " is " + one.token,
                                      "pre"});
          name = one.name;
          break;
        }
    }
    const PreTokenizer *pre = findPreTokenizer(name);
    if (!pre)
      return failure(where_ + ".pre: expected one of " + preTokenizerNames() + ", got " +
                     (name.empty() ? "nothing" : quoted(name)) +
                     "; --set pre=NAME says how the text is split" +
                     (name.empty() ? " (llama.cpp takes 'default', which may be wrong)" : ""));
    if (name == "falcon_e") // no original tokenizer was at hand
      parts_.decisions.push_back({"pre-tokenizer", "that of llama-bpe",
                                  "the file names 'falcon_e', which is taken to split as falcon3 does",
                                  "pre"});
    Expected<std::vector<std::string>> splits = toPcre2(*pre, where_ + ".pre");
    if (!splits)
      return splits.takeError();
    parts_.splits = std::move(*splits);
    parts_.preName = name;
    parts_.ignoreMerges = pre->ignoreMerges;
    parts_.nfc = pre->nfc;
    if (!parts_.ids.addBos)
      decideBos(pre->addBos, "as tokenizers that split like " + name + " do");
    return Error::success();
  }

  /// Where the file does not say whether a text starts with BOS.
  void decideBos(bool add, const std::string &reason) {
    parts_.ids.addBos = add && in_.bos.has_value();
    if (in_.bos)
      parts_.decisions.push_back({"BOS before a text", add ? "yes" : "no",
                                  "the file has a BOS token and does not say whether to add it; " + reason,
                                  "add_bos"});
  }

  Error readSentencePiece() {
    if (in_.scores.empty())
      return failure(where_ + ".scores: expected one for each token, got none");
    std::string model;
    int64_t unknown = -1;
    bool bytes = false;
    for (size_t id = 0; id < in_.tokens.size(); ++id) {
      const int32_t type = in_.types.empty() ? kNormal : in_.types[id];
      if (type < kNormal || type > kByte)
        return badType(id);
      if (type == kByte && byteToken(in_.tokens[id]) < 0)
        return badByte(id);
      if (!std::isfinite(in_.scores[id]))
        return failure(where_ + ".scores: token " + std::to_string(id) + ": expected a finite number");
      bytes |= type == kByte;
      if (type == kUnknown)
        unknown = static_cast<int64_t>(id);
      if (type == kControl)
        add(id, true);
      std::string piece; // SentencePiece {piece = 1, score = 2, type = 3}; the types have GGUF's numbers
      putField(piece, 1, in_.tokens[id]);
      uint32_t bits;
      std::memcpy(&bits, &in_.scores[id], sizeof bits);
      putVarint(piece, 2 << 3 | 5);
      for (int shift = 0; shift < 32; shift += 8)
        piece += static_cast<char>(bits >> shift);
      putField(piece, 3, static_cast<uint64_t>(type));
      putField(model, 1, piece);
    }
    if (unknown < 0)
      return failure(where_ + ".token_type: expected one unknown token (type 2), got none");
    // The library looks for its own names of BOS, EOS and PAD only when asked for them, which nothing here
    // does.
    std::string trainer; // TrainerSpec {model_type = 3: BPE is 2, byte_fallback = 35, unk_piece = 45}
    putField(trainer, 3, 2);
    putField(trainer, 35, bytes);
    putField(trainer, 45, in_.tokens[unknown]);
    putField(model, 2, trainer);
    std::string
        normalizer; // NormalizerSpec {charsmap = 2, dummy prefix = 3, extra spaces = 4, escape spaces = 5}
    if (!in_.charsmap.empty())
      putField(normalizer, 2, in_.charsmap);
    putField(normalizer, 3, in_.addSpacePrefix.value_or(true));
    putField(normalizer, 4, in_.removeExtraWhitespaces.value_or(false));
    putField(normalizer, 5, 1);
    putField(model, 3, normalizer);
    parts_.spmModel = std::move(model);
    parts_.spmPieces = static_cast<int64_t>(in_.tokens.size());
    parts_.byteFallback = bytes;
    parts_.ids.unk = unknown;
    if (!parts_.ids.addBos)
      decideBos(true, "as SentencePiece models of Llama 2's kind do");
    return Error::success();
  }

  const GgufVocabulary &in_;
  const std::string where_;
  const TokenizerSettings &settings_;
  TokenizerParts parts_;
};

} // namespace

Expected<ImportedTokenizer> importGgufTokenizer(const GgufVocabulary &vocabulary, const std::string &where,
                                                const TokenizerSettings &settings) {
  Expected<TokenizerParts> parts = GgufTokenizer(vocabulary, where, settings).run();
  if (!parts)
    return parts.takeError();
  return finishTokenizer(std::move(*parts), where + ": tokenizer", settings);
}

} // namespace bitnet::import
