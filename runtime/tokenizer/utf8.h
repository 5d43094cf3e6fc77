// UTF-8 as the tokenizers need it: where text is well formed, whole characters out of a stream of token
// bytes, white space, word characters and NFC. Ill-formed input is data here, never an error; property tables
// come from utf8proc.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::runtime {

/// One character at the start of `text`, which must not be empty.
struct Utf8Char {
  int32_t code_point; ///< -1: ill-formed
  uint8_t size; ///< bytes taken; for an ill-formed start the maximal subpart (Unicode 3.9, D93b), at least 1
  bool truncated; ///< ill-formed only because the text ends: more bytes could complete it
};
Utf8Char decode_utf8_char(std::string_view text);

/// Bytes of the longest well-formed prefix.
size_t valid_utf8_prefix(std::string_view text);

/// Unicode White_Space.
bool is_white_space(int32_t code_point);
/// What a regex calls \w (Unicode technical standard 18): alphabetic, mark, decimal digit, connector
/// punctuation or joiner.
bool is_word_character(int32_t code_point);

/// Unicode NFC of well-formed text. False when the text cannot be normalised (out of memory or too long).
bool normalize_nfc(std::string_view text, std::string *out);

/// Cuts a stream of bytes into whole characters. An incomplete character at the end is held back (at most 3
/// bytes); ill-formed bytes become one U+FFFD for each maximal subpart, as Python's errors="replace" has it.
class Utf8Stream {
public:
  /// Appends to *out the characters that `bytes` completes.
  void append(std::string_view bytes, std::string *out);
  /// The stream ends: what is held back becomes U+FFFD.
  void finish(std::string *out);

private:
  void put(std::string_view bytes, bool last, std::string *out);
  char held_[4] = {};
  uint8_t n_held_ = 0;
};

} // namespace bitnet::runtime
