// Finds tokens that are matched in the text itself, before anything is split or merged: special tokens such
// as
// <|eot_id|> and words added to a vocabulary. Leftmost, then longest.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::runtime {

struct AddedToken {
  int32_t id;
  std::string content; ///< not empty
  bool special;        ///< matched only where the caller asks for special tokens
  bool lstrip, rstrip; ///< takes the white space before / after it along
  bool single_word;    ///< only where no word character touches it
};

/// Immutable and shared by threads.
class AddedTokens {
public:
  explicit AddedTokens(std::vector<AddedToken> tokens);

  struct Match {
    size_t begin, end; ///< with the white space that the token takes along
    int32_t id;
  };
  /// The first match that lies in text[from, …); false if there is none.
  bool find(std::string_view text, size_t from, bool with_special, Match *match) const;
  bool empty() const { return tokens_.empty(); }

private:
  const AddedToken *longest_at(std::string_view text, size_t at, bool with_special) const;

  std::vector<AddedToken> tokens_; ///< by content
  bool starts_[256] = {};          ///< bytes that a token starts with
};

} // namespace bitnet::runtime
