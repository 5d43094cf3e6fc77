#include "runtime/tokenizer/newer_characters.h"
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

TEST(Splitter, LettersAndNumbersNewerThanPcre2sTablesAreSuch) {
  const std::string letter = "\U00010D4A", digit = "\U00010D40", upper = "\uA7CB",
                    mark = "\u0897"; // Unicode 16
  EXPECT_EQ(split("\\p{L}+|\\P{L}+", "a" + letter + " " + digit), "a" + letter + "| " + digit);
  EXPECT_EQ(split("[^\\p{L}\\p{N}]+", letter + "!" + digit), letter + "|!|" + digit);
  EXPECT_EQ(split("\\p{Lu}|\\p{Ll}+|\\pM", upper + "b" + mark), upper + "|b|" + mark);
}

TEST(NewerCharacters, AreFoundAmongOthers) {
  EXPECT_FALSE(has_newer_characters(""));
  EXPECT_FALSE(
      has_newer_characters("ASCII of more than eight bytes, \u00E9, \u4E2D, \U0001F600, \U00010D3F"));
  for (size_t before = 0; before < 20; ++before)
    EXPECT_TRUE(has_newer_characters(std::string(before, 'x') + "\u0897" + "after")) << before;
  EXPECT_TRUE(has_newer_characters("\u4E2D\u00E9\U00010D4A"));
}

TEST(NewerCharacters, GoIntoClassesOrBecomeOne) {
  const std::string lu = with_newer_characters("\\p{Lu}");
  EXPECT_EQ(lu.substr(0, 32), "[\\p{Lu}\\x{1c89}\\x{a7cb}-\\x{a7cc}") << lu;
  const std::string ranges = lu.substr(7, lu.size() - 8);
  EXPECT_EQ(with_newer_characters("[^]\\p{Lu}-]\\p{Lu}"), "[^]\\p{Lu}" + ranges + "-]" + lu);
  EXPECT_EQ(with_newer_characters("\\P{Lu}"), "[^\\p{Lu}" + ranges + "]");
  EXPECT_EQ(with_newer_characters("[[:alpha:]\\p{Lu}]"), "[[:alpha:]\\p{Lu}" + ranges + "]");
  EXPECT_EQ(with_newer_characters("\\[\\p{Lu}"), "\\[" + lu);
  for (const char *same :
       {"", "\\", "[a", "\\p", "\\p{", "\\p{Zs}", "\\p{Han}", "[\\P{L}]", "\\P{wspace}", "a|[b]"})
    EXPECT_EQ(with_newer_characters(same), same);
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
