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

} // namespace
} // namespace bitnet::runtime
