// Guesses the next tokens of a text from its own past (prompt lookup): what followed the last time that the
// text ended like this. Learns from every token how good such guesses are here, whether anyone asked for one
// or not. Knows no model: what becomes of a guess is generation.cpp's.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitnet::runtime {

/// Used by one thread at a time. Allocates at creation only, as long as the text has at most `most` tokens.
class NgramDrafts {
public:
  explicit NgramDrafts(size_t most);

  /// The text's next token; those that were drawn are what the chances are learned from.
  void append(int32_t token, bool drawn);
  /// Writes n guessed tokens and returns n, or 0 if the end of the text never stood in it before.
  size_t draft(size_t n, int32_t *tokens) const;
  /// How likely the i-th token of draft() is drawn next, given that those before it were.
  double chance(size_t i) const;

private:
  static constexpr size_t kLongestKey = 3; ///< n-grams of 1 to so many tokens are looked up
  static constexpr size_t kClasses = 8;    ///< by length of the match; the last one is "or longer"
  int32_t &place_of(size_t n, size_t end);
  size_t length_of_match(size_t at) const;
  void find_match();

  std::vector<int32_t> text_;
  std::vector<int32_t> places_; ///< by hash of an n-gram: where the text went on after it last, or 0
  // text_[match_ - length_, match_) equals the end of the text; 0: there is no such place. The length is
  // counted up to kClasses.
  size_t match_ = 0, length_ = 0;
  struct Record {
    double tried, right; ///< how often a guess after a match of this length was looked at, fading
  };
  std::array<Record, kClasses> records_;
};

} // namespace bitnet::runtime
