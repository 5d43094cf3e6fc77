#include "runtime/tokenizer/splitter.h"
#include <gtest/gtest.h>

namespace bitnet::runtime {
namespace {

/// Pieces joined by '|', or the error.
std::string split(const std::string &pattern, const std::string &text) {
  auto splitter = Splitter::create(pattern);
  if (!splitter.ok())
    return splitter.status().message();
  Splitter::Scratch scratch;
  std::string out;
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    const Status status = (*splitter)->next_piece(text, begin, &scratch, &end);
    if (!status.ok())
      return status.message();
    EXPECT_GT(end, begin);
    out += (begin ? "|" : "") + text.substr(begin, end - begin);
  }
  return out;
}

TEST(Splitter, PiecesAreMatchesAndWhatLiesBetween) {
  EXPECT_EQ(split("[a-z]+", "ab12cd!"), "ab|12|cd|!");
  EXPECT_EQ(split("[a-z]+", "12"), "12");
  EXPECT_EQ(split("", "any text"), "any text");
  EXPECT_EQ(split("\\p{N}{1,3}", "12345"), "123|45");
}

TEST(Splitter, EmptyMatchesCutNothing) {
  EXPECT_EQ(split("x*", "abxxc\u00E9"), "ab|xx|c\u00E9");
  EXPECT_EQ(split("(?=a)", "bab"), "bab");
}

TEST(Splitter, LetterClassesAreThoseOfUnicode) {
  EXPECT_EQ(split("\\p{L}+|\\P{L}+", "caf\u00E9 \u4E2D"), "caf\u00E9| |\u4E2D");
  EXPECT_EQ(split("\\p{wspace}+", "a\u001Cb\u0085c"), "a\u001Cb|\u0085|c"); // U+001C is none, U+0085 is
}

TEST(Splitter, RefusesBadAndExcessivePatterns) {
  EXPECT_EQ(
      split("(a", "x"),
      "split pattern: at byte 2: expected a PCRE2 regular expression, got: missing closing parenthesis");
  EXPECT_NE(split(std::string(100, '(') + std::string(100, ')'), "x").find("too deeply nested"),
            std::string::npos);
  EXPECT_NE(split(std::string(100000, 'a'), "x").find("pattern string is longer"), std::string::npos);
  EXPECT_NE(split("\\C", "x").find("\\C"), std::string::npos);
}

TEST(Splitter, ExponentialPatternsEndInAnError) {
  EXPECT_EQ(split("(a+)+$", std::string(40, 'a') + "b"),
            "split pattern: at byte 0 of the text: match limit exceeded");
}

} // namespace
} // namespace bitnet::runtime
