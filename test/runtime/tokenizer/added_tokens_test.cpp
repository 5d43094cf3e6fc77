#include "runtime/tokenizer/added_tokens.h"
#include <gtest/gtest.h>

namespace bitnet::runtime {
namespace {

AddedToken token(int32_t id, const std::string &content, bool special = true) {
  return {id, content, special, false, false, false};
}

/// Matches as "begin-end:id", separated by spaces.
std::string matches(const AddedTokens &tokens, std::string_view text, bool with_special) {
  std::string out;
  AddedTokens::Match m;
  for (size_t at = 0; tokens.find(text, at, with_special, &m); at = m.end)
    out += (out.empty() ? "" : " ") + std::to_string(m.begin) + "-" + std::to_string(m.end) + ":" +
           std::to_string(m.id);
  return out;
}

TEST(AddedTokens, LeftmostThenLongest) {
  const AddedTokens tokens({token(1, "<a>"), token(2, "<a><b>"), token(3, "b>c")});
  EXPECT_EQ(matches(tokens, "x<a><b>c<a>", true), "1-7:2 8-11:1");
  EXPECT_EQ(matches(tokens, "<a><b", true), "0-3:1");
  EXPECT_EQ(matches(tokens, "<a", true), "");
}

TEST(AddedTokens, SpecialOnesMatchOnlyWhenAskedFor) {
  const AddedTokens tokens({token(1, "<s>"), token(2, "<s>!", false), token(3, "word", false)});
  EXPECT_EQ(matches(tokens, "<s><s>!word", true), "0-3:1 3-7:2 7-11:3");
  EXPECT_EQ(matches(tokens, "<s><s>!word", false), "3-7:2 7-11:3");
}

TEST(AddedTokens, SingleWordsTouchNoWordCharacter) {
  AddedToken word = token(1, "cat");
  word.single_word = true;
  const AddedTokens tokens({word});
  EXPECT_EQ(matches(tokens, "cat scat cats cat. \u00E9cat cat\u00E9 _cat", true), "0-3:1 14-17:1");
}

TEST(AddedTokens, StripTakesWhiteSpaceAlong) {
  AddedToken both = token(1, "<m>");
  both.lstrip = both.rstrip = true;
  const AddedTokens tokens({both});
  EXPECT_EQ(matches(tokens, "a \u3000<m>\n b", true), "1-10:1");
  EXPECT_EQ(matches(tokens, "<m> <m>", true), "0-4:1 4-7:1");
}

} // namespace
} // namespace bitnet::runtime
