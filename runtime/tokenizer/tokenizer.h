// Text to token ids and back, for every kind of tokenizer that a bundle can hold. Loaded from the tokenizer
// section (runtime/format/tokenizer.fbs), which is hostile until load() has checked it. Sampling and chat
// templates are elsewhere.
//
// What encode does, in order: tokens matched in the text itself (added_tokens.h), then for the text between
// them NFC or marks for spaces where the tokenizer asks for it, added tokens of the normalised text, cutting
// into pieces by the split patterns, byte-pair merges; or SentencePiece. Text should be UTF-8. Ill-formed
// bytes are never an error: a byte-level tokenizer takes a run of them as one piece, so that decoding gives
// the bytes back, and so does one with byte fallback; SentencePiece replaces them by U+FFFD.
#pragma once
#include "runtime/base/status.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/byte_pair.h"
#include "runtime/tokenizer/sentence_piece.h"
#include "runtime/tokenizer/splitter.h"
#include "runtime/tokenizer/vocabulary.h"
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::runtime {

/// Immutable and shared by any number of threads.
class Tokenizer {
public:
  /// `data` must lie at a multiple of 4 bytes; it is not needed afterwards.
  static Result<std::unique_ptr<Tokenizer>> load(const uint8_t *data, size_t size);

  /// add_special: BOS first and EOS last where the tokenizer says so. parse_special: special tokens written
  /// in the text become their ids; without it they are ordinary text. Added tokens that are not special
  /// always match. continues: the text is not the start of the user's, so it gets no space in front where
  /// SentencePiece would put one.
  Result<std::vector<int32_t>> encode(std::string_view text, bool add_special, bool parse_special,
                                      bool continues = false) const;

  /// Number of ids, holes included. A model may have more rows than that.
  int32_t size() const { return vocabulary_.size(); }
  /// Bytes of a token, maybe part of a character; a special token gives its name, a hole nothing.
  /// 0 <= id < size().
  std::string_view token_bytes(int32_t id) const { return vocabulary_.bytes(id); }
  bool is_special(int32_t id) const { return special_[id]; }
  /// UTF-8 text of a sequence; ill-formed bytes become U+FFFD. Special tokens appear by name if keep_special.
  Result<std::string> decode(const int32_t *ids, size_t n, bool keep_special) const;

  const std::vector<int32_t> &stop_tokens() const { return stop_tokens_; }
  int32_t bos() const { return bos_; } ///< this and the next: -1 = none
  int32_t eos() const { return eos_; }
  int32_t pad() const { return pad_; }
  bool adds_bos() const { return add_bos_; }

private:
  friend class TokenizerLoader;
  struct Scratch;
  Tokenizer() = default;
  Status encode_between(std::string_view text, bool parse_special, Scratch *scratch,
                        std::vector<int32_t> *ids) const;
  Status encode_plain(std::string_view text, Scratch *scratch, std::vector<int32_t> *ids) const;
  Status encode_pieces(std::string_view text, size_t pass, Scratch *scratch, std::vector<int32_t> *ids) const;
  Status encode_piece(std::string_view piece, Scratch *scratch, std::vector<int32_t> *ids) const;

  Vocabulary vocabulary_;
  std::vector<uint8_t> special_;
  std::optional<AddedTokens> added_;                 ///< matched in the text as it is
  std::optional<AddedTokens> normalized_added_;      ///< matched after normalisation, and after those
  std::vector<std::unique_ptr<Splitter>> splitters_; ///< BPE; each cuts what the one before left
  std::unique_ptr<BytePairEncoder> bpe_;             ///< BPE
  std::unique_ptr<Vocabulary> marked_;    ///< BPE of characters: tokens as they are looked up, with marks
  std::unique_ptr<SentencePiece> pieces_; ///< SentencePiece
  std::vector<int32_t> stop_tokens_;
  int32_t bos_ = -1, eos_ = -1, pad_ = -1, unk_ = -1;
  bool add_bos_ = false, add_eos_ = false, nfc_ = false;
  // BPE of characters: when a space becomes a mark, whether one comes before a text, and whether no token has
  // a mark after another character, so that a text may be cut there.
  enum class Marks : uint8_t { none, with_normalization, after_added } marks_ = Marks::none;
  enum class FrontMark : uint8_t { never, always, unless_there, first_unless_there };
  FrontMark front_mark_ = FrontMark::never;
  bool cut_at_marks_ = false, strip_front_ = false;
};

} // namespace bitnet::runtime

/// What the C interface hands out: a tokenizer of its own, or a model's.
struct bitnet_tokenizer {
  std::shared_ptr<const bitnet::runtime::Tokenizer> impl;
};
