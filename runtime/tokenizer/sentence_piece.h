// A SentencePiece model (libsentencepiece) behind checked ids and status values. It encodes plain text only;
// control tokens and words beyond the model are matched before (added_tokens.h).
#pragma once
#include "runtime/base/status.h"
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace bitnet::runtime {

/// Immutable and shared by threads.
class SentencePiece {
public:
  /// `model` is a serialized ModelProto, hostile until checked here.
  static Result<std::unique_ptr<SentencePiece>> load(std::string_view model);
  ~SentencePiece();

  int32_t size() const { return size_; }
  /// What a piece stands for in text: ▁ is a space, a byte piece is its byte, a control piece its name.
  const std::string &text(int32_t id) const { return texts_[id]; }
  bool is_control(int32_t id) const { return control_[id]; }
  /// The model starts a text with a space that is not in it.
  bool adds_prefix() const { return adds_prefix_; }

  /// Appends the ids of `text`. at_start: this is the beginning of the user's text, which gets the prefix;
  /// what follows a special token does not, unless the tokenizer has it so (legacy, as Hugging Face calls
  /// it).
  Status encode(std::string_view text, bool at_start, std::vector<int32_t> *ids) const;

private:
  SentencePiece() = default;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::vector<std::string> texts_;
  std::vector<uint8_t> control_;
  int32_t size_ = 0;
  bool adds_prefix_ = false;
};

} // namespace bitnet::runtime
