// Turns the tokenizer of a checkpoint, whatever its file, into the one form that a bundle holds
// (runtime/format/tokenizer.fbs). Every input is hostile: sizes, ids and references are checked, and an error
// names the file and the entry. What a file leaves open is decided by the rules of the import specification
// and reported as a Decision. Encoding text is not done here: that is runtime/tokenizer, which checks the
// result once more.
#pragma once
#include "compiler/import/Checkpoint.h"
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::import {

/// The keys tokenizer.ggml.* of a GGUF file as they stand there; the reader has checked their types, nothing
/// else.
struct GgufVocabulary {
  std::string model;               ///< .model: "gpt2" (byte-level BPE) or "llama" (SentencePiece)
  std::string pre;                 ///< .pre; empty when absent
  std::vector<std::string> tokens; ///< .tokens, bytes as in the file
  std::vector<float> scores;       ///< .scores; empty when absent
  std::vector<int32_t> types;      ///< .token_type; empty when absent
  std::vector<std::string> merges; ///< .merges; empty when absent
  std::optional<int64_t> bos, eos, eot, eom, pad, unk; ///< .bos_token_id, .eos_token_id, .eot_token_id, ...
  std::optional<bool> addBos, addEos;                  ///< .add_bos_token, .add_eos_token
  std::optional<bool> addSpacePrefix;                  ///< .add_space_prefix
  std::optional<bool> removeExtraWhitespaces;          ///< .remove_extra_whitespaces
  std::string charsmap;                                ///< .precompiled_charsmap, bytes; empty when absent
};

struct ImportedTokenizer {
  std::vector<uint8_t> bytes;      ///< serialized runtime/format/tokenizer.fbs
  std::vector<Decision> decisions; ///< what the file did not say, or said wrongly
  int32_t size = 0;                ///< highest id + 1; must not exceed the model's vocabulary
  std::string chatTemplate;        ///< Jinja source found beside the tokenizer, or empty
};

/// What `--set` can say about a tokenizer: pre=NAME, bos=ID, eos=ID, add_bos=true|false. Other keys are
/// ignored here.
using TokenizerSettings = std::vector<std::pair<std::string, std::string>>;

/// `where` starts every error, e.g. "model.gguf".
llvm::Expected<ImportedTokenizer> importGgufTokenizer(const GgufVocabulary &vocabulary,
                                                      const std::string &where,
                                                      const TokenizerSettings &settings);

/// A Hugging Face folder: tokenizer.json, or tokenizer.model (SentencePiece or tiktoken ranks) with
/// added_tokens.json; with tokenizer_config.json, generation_config.json, special_tokens_map.json and
/// chat_template.jinja where present. `bytes` is empty when the folder holds no tokenizer.
llvm::Expected<ImportedTokenizer> importTokenizerFolder(const std::string &folder,
                                                        const TokenizerSettings &settings);

/// One file (`--tokenizer`): tokenizer.json, a tiktoken rank file or a SentencePiece model, told apart by its
/// content. Files beside it are used as above. A folder is taken as above.
llvm::Expected<ImportedTokenizer> importTokenizerFile(const std::string &path,
                                                      const TokenizerSettings &settings);

/// Side facts that may come from several small files; unchecked. A token is named by id or, where there is
/// none, by text.
struct SpecialIds {
  std::optional<int64_t> bos, eos, pad, unk;
  std::string bosText, eosText, padText, unkText;
  std::vector<int64_t> stop;
  std::optional<bool> addBos, addEos;
  bool legacy = false; ///< SentencePiece: text after a special token gets a space in front, too
};

/// The parsers behind the above, on bytes in memory (`where` starts every error); the fuzz targets enter
/// here.
llvm::Expected<ImportedTokenizer> importTokenizerJson(const std::string &json, const SpecialIds &ids,
                                                      const std::string &where,
                                                      const TokenizerSettings &settings);
llvm::Expected<ImportedTokenizer> importTiktoken(const std::string &ranks, const SpecialIds &ids,
                                                 const std::string &where, const TokenizerSettings &settings);
/// `added` holds content → id of added_tokens.json.
llvm::Expected<ImportedTokenizer> importSentencePiece(const std::string &model,
                                                      const std::map<std::string, int64_t> &added,
                                                      const SpecialIds &ids, const std::string &where,
                                                      const TokenizerSettings &settings);

/// The template to put into the bundle. Microsoft's GGUF of 2B-4T carries a wrong one (`BITNETAssistant: `,
/// EOS after the user's turn); it is replaced by the form of the model's Hugging Face repository and reported
/// as a Decision.
std::string correctChatTemplate(const std::string &source, std::vector<Decision> &decisions);

} // namespace bitnet::import
