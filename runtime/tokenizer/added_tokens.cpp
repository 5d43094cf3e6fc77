// See added_tokens.h.
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/utf8.h"

#include <algorithm>

namespace bitnet::runtime {
namespace {

/// Start of the character that ends at `end` > `from`; an ill-formed byte counts as a character.
size_t previous_character(std::string_view text, size_t from, size_t end) {
  const size_t first = end - from > 4 ? end - 4 : from;
  for (size_t at = end - 1;; --at) {
    const Utf8Char c = decode_utf8_char(text.substr(at, end - at));
    if (c.code_point >= 0 && at + c.size == end)
      return at;
    if (at == first)
      return end - 1;
  }
}

bool word_before(std::string_view text, size_t at) {
  if (at == 0)
    return false;
  const Utf8Char c = decode_utf8_char(text.substr(previous_character(text, 0, at)));
  return c.code_point >= 0 && is_word_character(c.code_point);
}

bool word_after(std::string_view text, size_t at) {
  if (at == text.size())
    return false;
  const Utf8Char c = decode_utf8_char(text.substr(at));
  return c.code_point >= 0 && is_word_character(c.code_point);
}

} // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken &a, const AddedToken &b) { return a.content < b.content; });
  for (const AddedToken &token : tokens_)
    starts_[static_cast<uint8_t>(token.content[0])] = true;
}

const AddedToken *AddedTokens::longest_at(std::string_view text, size_t at, bool with_special) const {
  // [low, high): tokens that start with text[at, at + length); one byte more narrows it by binary search.
  auto low = tokens_.begin(), high = tokens_.end();
  const AddedToken *longest = nullptr;
  for (size_t length = 0; low != high; ++length) {
    if (low->content.size() == length) { // sorts before everything it is a prefix of
      if (with_special || !low->special)
        longest = &*low;
      ++low;
      if (low == high)
        break;
    }
    if (at + length == text.size())
      break;
    const auto byte = static_cast<uint8_t>(text[at + length]);
    const auto byte_of = [length](const AddedToken &token) {
      return static_cast<uint8_t>(token.content[length]);
    };
    low = std::partition_point(low, high, [&](const AddedToken &token) { return byte_of(token) < byte; });
    high = std::partition_point(low, high, [&](const AddedToken &token) { return byte_of(token) == byte; });
  }
  return longest;
}

bool AddedTokens::find(std::string_view text, size_t from, bool with_special, Match *match) const {
  if (tokens_.empty())
    return false;
  for (size_t at = from; at < text.size(); ++at) {
    if (!starts_[static_cast<uint8_t>(text[at])])
      continue;
    const AddedToken *token = longest_at(text, at, with_special);
    if (!token)
      continue;
    size_t begin = at, end = at + token->content.size();
    if (token->single_word && (word_before(text, begin) || word_after(text, end))) {
      at = end - 1;
      continue;
    }
    if (token->lstrip)
      while (begin > from) {
        const size_t previous = previous_character(text, from, begin);
        if (!is_white_space(decode_utf8_char(text.substr(previous, begin - previous)).code_point))
          break;
        begin = previous;
      }
    if (token->rstrip)
      while (end < text.size()) {
        const Utf8Char c = decode_utf8_char(text.substr(end));
        if (!is_white_space(c.code_point))
          break;
        end += c.size;
      }
    *match = {begin, end, token->id};
    return true;
  }
  return false;
}

} // namespace bitnet::runtime
