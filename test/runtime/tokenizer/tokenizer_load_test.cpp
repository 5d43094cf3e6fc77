// Serialized tokenizers that lie: each ends in one line, and nothing is read past the end.
#include "test/runtime/tokenizer/serialized_tokenizer.h"
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <random>

namespace bitnet::runtime {
namespace {

std::string error_of(const std::function<void(SerializedTokenizer &)> &change) {
  SerializedTokenizer source;
  source.merge('a', 'b');
  source.added = {{257, "<s>"}};
  change(source);
  const auto tokenizer = source.load();
  EXPECT_EQ(tokenizer.status().code(), tokenizer.ok() ? StatusCode::ok : StatusCode::bad_bundle);
  return tokenizer.status().message();
}

TEST(TokenizerLoad, TakesTheGoodOne) {
  EXPECT_EQ(error_of([](auto &) {}), "");
}

TEST(TokenizerLoad, RefusesIdsOutsideOfTheVocabulary) {
  EXPECT_EQ(error_of([](auto &s) { s.bos = 258; }), "tokenizer: bos: expected an id from 0 to 257, got 258");
  EXPECT_EQ(error_of([](auto &s) { s.eos = -2; }), "tokenizer: eos: expected an id from 0 to 257, got -2");
  EXPECT_EQ(error_of([](auto &s) {
              s.stop_tokens = {0, 999};
            }),
            "tokenizer: stop token 1: expected an id from 0 to 257, got 999");
  EXPECT_EQ(error_of([](auto &s) { s.add_bos = true; }), "tokenizer: add_bos: expected a bos id, got none");
}

TEST(TokenizerLoad, RefusesBadMerges) {
  EXPECT_EQ(error_of([](auto &s) { s.merges.emplace_back('a', 999, 256); }),
            "tokenizer: merge 1: expected an id from 0 to 257, got 999");
  EXPECT_EQ(error_of([](auto &s) { s.merges.emplace_back('b', 'a', 256); }),
            "tokenizer: merge 1: expected the bytes of token 256 to be those of tokens 98 and 97 joined");
  EXPECT_NE(error_of([](auto &s) { s.merges.emplace_back(INT32_MIN, INT32_MAX, -1); }), "");
}

TEST(TokenizerLoad, RefusesBadAddedTokens) {
  EXPECT_EQ(error_of([](auto &s) {
              s.added.push_back({1 << 20, "<t>"});
            }),
            "tokenizer: added token 1: expected an id from 0 to 1048575, got 1048576");
  EXPECT_EQ(error_of([](auto &s) {
              s.added.push_back({257, "<t>"});
            }),
            "tokenizer: added token 1: id 257 is taken already");
  EXPECT_EQ(error_of([](auto &s) {
              s.added.push_back({258, ""});
            }),
            "tokenizer: added token 1: expected a text, got nothing");
}

TEST(TokenizerLoad, RefusesRulesThatItDoesNotKnow) {
  using format::fb::FrontMark;
  using format::fb::SpaceMarks;
  using format::fb::TokenizerKind;
  const char *mixed = "tokenizer: space_marks: expected normalizer (0) with front_mark never or always, or "
                      "pre_tokenizer (1) with another one";
  EXPECT_EQ(error_of([](auto &s) {
              s.kind = TokenizerKind::character_bpe;
              s.front_mark = FrontMark::unless_there;
            }),
            mixed);
  EXPECT_EQ(error_of([](auto &s) {
              s.kind = TokenizerKind::character_bpe;
              s.space_marks = static_cast<SpaceMarks>(2);
            }),
            mixed);
  EXPECT_EQ(error_of([](auto &s) {
              s.kind = TokenizerKind::character_bpe;
              s.rank_is_id = true;
            }),
            "tokenizer: rank_is_id: expected a byte_bpe tokenizer");
  EXPECT_EQ(error_of([](auto &s) { s.more_splits.assign(16, "a"); }),
            "tokenizer: more_splits: expected at most 15 patterns");
  EXPECT_EQ(error_of([](auto &s) { s.more_splits = {"("}; }),
            "tokenizer: split pattern: at byte 1: expected a PCRE2 regular expression, got: missing closing "
            "parenthesis");
  SerializedTokenizer later;
  later.kind = TokenizerKind::character_bpe;
  later.front_mark = static_cast<FrontMark>(4);
  EXPECT_EQ(later.load().status().code(), StatusCode::unsupported);
}

TEST(TokenizerLoad, RefusesForeignBytes) {
  const auto error = [](const std::string &bytes) {
    return Tokenizer::load(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()).status().message();
  };
  EXPECT_EQ(
      error("0123456789abcdef0123"),
      "tokenizer: expected a FlatBuffer 'BNXT' of version 1, got 20 bytes that are none or are damaged");
  EXPECT_NE(error(""), "");
}

TEST(TokenizerLoad, RefusesOrReadsEveryDamagedFile) {
  SerializedTokenizer source;
  source.merge('a', 'b');
  source.added = {{257, "<s>"}};
  const std::vector<uint8_t> good = source.bytes();
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint8_t> bytes = good;
    if (round % 4 == 0)
      bytes.resize(random() % bytes.size());
    for (int n = round % 3; n >= 0 && !bytes.empty(); --n)
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    const auto tokenizer = Tokenizer::load(bytes.data(), bytes.size());
    refused += !tokenizer.ok();
    ASSERT_EQ(tokenizer.status().message().find('\n'), std::string::npos);
    if (tokenizer.ok())
      (void)(*tokenizer)->encode("abab <s> \xC3\xA9", true, true);
  }
  EXPECT_GT(refused, 500);
}

} // namespace
} // namespace bitnet::runtime
