// What is guessed from a text, and how good the guesses are said to be.
#include "runtime/sample/ngram_drafts.h"
#include <gtest/gtest.h>
#include <random>
#include <string>

namespace bitnet::runtime {
namespace {

NgramDrafts drafts_of(const std::string &text, bool drawn = false) {
  NgramDrafts drafts(text.size() + 100);
  for (const char c : text)
    drafts.append(c, drawn);
  return drafts;
}
std::string guess(const NgramDrafts &drafts, size_t n) {
  std::vector<int32_t> tokens(n);
  tokens.resize(drafts.draft(n, tokens.data()));
  return std::string(tokens.begin(), tokens.end());
}

TEST(NgramDrafts, GuessWhatFollowedTheLastTime) {
  EXPECT_EQ(guess(drafts_of("one two three. one two "), 5), "three");
  EXPECT_EQ(guess(drafts_of("abx aby ab"), 2), "y ");    // the later one
  EXPECT_EQ(guess(drafts_of("abcd xbce zabc"), 1), "d"); // the longer one, though "bc" was later before 'e'
}

TEST(NgramDrafts, NothingIsGuessedAfterWhatIsNew) {
  EXPECT_EQ(guess(drafts_of(""), 3), "");
  EXPECT_EQ(guess(drafts_of("abcdef"), 3), "");
  EXPECT_EQ(drafts_of("abcdef").chance(0), 0);
}

TEST(NgramDrafts, ATextThatRepeatsItselfGoesOnIntoTheGuess) {
  EXPECT_EQ(guess(drafts_of("abab"), 7), "abababa");
  EXPECT_EQ(guess(drafts_of("zz"), 4), "zzzz");
}

TEST(NgramDrafts, ChancesAreLearnedFromWhatIsDrawn) {
  std::string fresh, again;
  std::mt19937 random(3);
  for (int i = 0; i < 400; ++i)
    fresh += char('a' + random() % 3); // short matches everywhere, which say nothing
  for (int i = 0; i < 60; ++i)
    again += "abcdefghij";
  const double at_random = drafts_of(fresh, true).chance(0), repeating = drafts_of(again, true).chance(0);
  EXPECT_LT(at_random, 0.55); // a third
  EXPECT_GT(repeating, 0.95);
  EXPECT_GE(drafts_of(again, true).chance(7), repeating);
  EXPECT_EQ(drafts_of(fresh, false).chance(20),
            drafts_of(again, false).chance(20)); // a prompt teaches nothing
}

TEST(NgramDrafts, LongTextsStayWithinTheirTable) {
  NgramDrafts drafts(300000); // three places a token, more than the table has
  std::mt19937 random(1);
  for (int i = 0; i < 300000; ++i)
    drafts.append(int32_t(random() % 128256), true);
  for (int32_t token : {1, 2, 3, 4, 5, 1, 2, 3})
    drafts.append(token, true);
  int32_t next[2];
  ASSERT_EQ(drafts.draft(2, next), 2u);
  EXPECT_EQ(next[0], 4);
  EXPECT_EQ(next[1], 5);
}

} // namespace
} // namespace bitnet::runtime
