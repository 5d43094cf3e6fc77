// What the Tokenizer adds to its parts: order of the steps, ill-formed text, special ids.
#include "test/runtime/tokenizer/serialized_tokenizer.h"
#include <gtest/gtest.h>
#include <thread>

namespace bitnet::runtime {
namespace {

using Ids = std::vector<int32_t>;

TEST(Tokenizer, IllFormedBytesComeBack) {
  SerializedTokenizer source;
  const auto tokenizer = source.load();
  ASSERT_TRUE(tokenizer.ok());
  const std::string text = "a\xFF\xC3"
                           "b\xE4\xB8";
  const auto ids = (*tokenizer)->encode(text, false, false);
  ASSERT_TRUE(ids.ok());
  std::string back;
  for (const int32_t id : *ids)
    back += (*tokenizer)->token_bytes(id);
  EXPECT_EQ(back, text);
}

TEST(Tokenizer, AddsBosAndEosWhenAskedTo) {
  SerializedTokenizer source;
  source.added = {{256, "<s>"}, {257, "</s>"}};
  source.bos = 256;
  source.eos = 257;
  source.add_bos = source.add_eos = true;
  const auto tokenizer = source.load();
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ(*(*tokenizer)->encode("a", true, false), (Ids{256, 'a', 257}));
  EXPECT_EQ(*(*tokenizer)->encode("", true, false), (Ids{256, 257}));
  EXPECT_EQ(*(*tokenizer)->encode("<s>a", false, true), (Ids{256, 'a'}));
  EXPECT_EQ(*(*tokenizer)->encode("<s>", false, false), (Ids{'<', 's', '>'}));
}

TEST(Tokenizer, DecodeLeavesSpecialTokensOutUnlessAskedFor) {
  SerializedTokenizer source;
  source.added = {{256, "<s>"}, {257, "word", false}};
  const auto tokenizer = source.load();
  ASSERT_TRUE(tokenizer.ok());
  const Ids ids = {256, 'a', 257};
  EXPECT_EQ(*(*tokenizer)->decode(ids.data(), ids.size(), false), "aword");
  EXPECT_EQ(*(*tokenizer)->decode(ids.data(), ids.size(), true), "<s>aword");
  for (const int32_t bad : {-1, 258, INT32_MAX, INT32_MIN}) {
    const auto text = (*tokenizer)->decode(&bad, 1, false);
    ASSERT_FALSE(text.ok());
    EXPECT_EQ(text.status().message(), "token 0: expected an id from 0 to 257, got " + std::to_string(bad));
  }
}

TEST(Tokenizer, NfcComesBeforeSplittingAndAfterRawTokens) {
  SerializedTokenizer source;
  source.nfc = true;
  source.added = {{256, "e\u0301!"}, {257, "e\u0301?"}};
  source.added[1].normalized = true;
  const auto tokenizer = source.load();
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ(*(*tokenizer)->encode("e\u0301", false, true), (Ids{0xC3, 0xA9}));
  EXPECT_EQ(*(*tokenizer)->encode("e\u0301!\u00E9!", false, true),
            (Ids{256, 0xC3, 0xA9, '!'}));                                            // as written only
  EXPECT_EQ(*(*tokenizer)->encode("e\u0301?\u00E9?", false, true), (Ids{257, 257})); // in both forms
  EXPECT_EQ(*(*tokenizer)
                 ->encode("\xFF"
                          "e\u0301",
                          false, true),
            (Ids{0xFF, 0xC3, 0xA9}));
}

TEST(Tokenizer, ByteWithoutATokenIsUnknownOrAnError) {
  SerializedTokenizer source;
  source.vocab['q'].clear();
  auto without = source.load();
  ASSERT_TRUE(without.ok());
  const auto ids = (*without)->encode("aqa", false, false);
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.status().message(),
            "text: a byte of it has no token in this vocabulary, and there is no unknown token");
  source.added = {{256, "<unk>"}};
  source.unk = 256;
  const auto with = source.load();
  ASSERT_TRUE(with.ok());
  EXPECT_EQ(*(*with)->encode("aqa", false, false), (Ids{'a', 256, 'a'}));
}

TEST(Tokenizer, ThreadsShareIt) {
  SerializedTokenizer source;
  const int32_t ab = source.merge('a', 'b');
  const auto tokenizer = source.load();
  ASSERT_TRUE(tokenizer.ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        EXPECT_EQ(*(*tokenizer)->encode("ab ab", false, false), (Ids{ab, ' ', ab}));
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// Characters: <unk>, a, b, ▁, ▁a, and bytes where asked for.
SerializedTokenizer marked() {
  SerializedTokenizer source;
  source.kind = format::fb::TokenizerKind::character_bpe;
  source.vocab = {"<unk>", "a", "b", "\u2581", "\u2581a"};
  source.merges = {{3, 1, 4}};
  source.split_pattern.clear();
  source.unk = 0;
  return source;
}

TEST(CharacterTokenizer, ASpaceIsAMark) {
  SerializedTokenizer source = marked();
  const auto tokenizer = *source.load();
  EXPECT_EQ(*tokenizer->encode("a ab  a", false, false), (std::vector<int32_t>{1, 4, 2, 3, 4}));
  EXPECT_EQ(*tokenizer->decode(std::vector<int32_t>{1, 4, 2, 3, 4}.data(), 5, false), "a ab  a");
}

TEST(CharacterTokenizer, OneComesInFrontByRule) {
  using format::fb::FrontMark;
  const auto ids = [](FrontMark rule, const std::string &text, bool continues = false) {
    SerializedTokenizer source = marked();
    source.added = {{5, "<s>"}};
    source.front_mark = rule;
    if (rule != FrontMark::always && rule != FrontMark::never)
      source.space_marks = format::fb::SpaceMarks::pre_tokenizer;
    source.strip_front = rule != FrontMark::never;
    const auto tokenizer = *source.load();
    return *tokenizer->encode(text, false, true, continues);
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(ids(FrontMark::never, "a<s>a"), (Ids{1, 5, 1}));
  EXPECT_EQ(ids(FrontMark::always, "a<s>a"), (Ids{4, 5, 4}));
  EXPECT_EQ(ids(FrontMark::always, " a"), (Ids{3, 4}));
  EXPECT_EQ(ids(FrontMark::unless_there, " a<s>a"), (Ids{4, 5, 4}));
  EXPECT_EQ(ids(FrontMark::first_unless_there, "a<s>a"), (Ids{4, 5, 1}));
  EXPECT_EQ(ids(FrontMark::first_unless_there, "<s>a"), (Ids{5, 1}));
  for (const FrontMark rule : {FrontMark::always, FrontMark::unless_there, FrontMark::first_unless_there})
    EXPECT_EQ(ids(rule, "ab", true), (Ids{1, 2})); // goes on where another text ended
}

TEST(CharacterTokenizer, IllFormedBytesComeBackByFallback) {
  SerializedTokenizer source = marked();
  for (const char *byte : {"<0xFF>", "<0xE2>", "<0x96>"})
    source.token(byte);
  source.byte_fallback = true;
  const auto tokenizer = *source.load();
  const auto ids = *tokenizer->encode("a\xFF\xE2\x96", false, false);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 5, 6, 7}));
  EXPECT_EQ(tokenizer->token_bytes(5), "\xFF");
  source.fuse_unk = true; // é has one byte without a token
  EXPECT_EQ(*(*source.load())
                 ->encode("\u00e9\u00e8"
                          "a\u00e9",
                          false, false),
            (std::vector<int32_t>{0, 1, 0}));
  source.fuse_unk = false;
  EXPECT_EQ(*(*source.load())->encode("\u00e9\u00e8", false, false), (std::vector<int32_t>{0, 0}));
  source.unk = -1;
  EXPECT_FALSE((*source.load())->encode("\u00e9", false, false).ok());
}

/// A text is cut at marks only where no join reaches over one.
TEST(CharacterTokenizer, JoinsOverAMarkAreKept) {
  SerializedTokenizer source = marked();
  source.vocab.push_back("b\u2581"); // joined first
  source.merges = {{2, 3, 5}, {3, 1, 4}};
  EXPECT_EQ(*(*source.load())->encode("b a a", false, false), (std::vector<int32_t>{5, 1, 4}));
}

TEST(ByteTokenizer, PassesCutWhatTheOneBeforeLeft) {
  SerializedTokenizer source;
  source.split_pattern = "[a-z]+";
  source.more_splits = {"b+"};
  const int32_t ab = source.merge('a', 'b'), a1 = source.merge('a', '1');
  static_cast<void>(ab);
  static_cast<void>(a1);
  EXPECT_EQ(*(*source.load())->encode("aba1", false, false), (std::vector<int32_t>{'a', 'b', 'a', '1'}));
  source.more_splits.clear();
  EXPECT_EQ(*(*source.load())->encode("aba1", false, false), (std::vector<int32_t>{ab, 'a', '1'}));
}

} // namespace
} // namespace bitnet::runtime
