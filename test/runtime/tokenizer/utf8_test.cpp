#include "runtime/tokenizer/utf8.h"
#include <gtest/gtest.h>

namespace bitnet::runtime {
namespace {

std::string stream(const std::string &bytes, size_t part) {
  Utf8Stream stream;
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += part)
    stream.append(std::string_view(bytes).substr(at, part), &out);
  stream.finish(&out);
  return out;
}

TEST(Utf8Stream, HoldsBackAnIncompleteCharacter) {
  Utf8Stream stream;
  std::string out;
  stream.append("a\xF0\x9F", &out);
  EXPECT_EQ(out, "a");
  stream.append("\x98", &out);
  EXPECT_EQ(out, "a");
  stream.append("\x80z", &out);
  EXPECT_EQ(out, "a\xF0\x9F\x98\x80z");
}

TEST(Utf8Stream, IllFormedBytesGiveOneReplacementForEachMaximalSubpart) {
  const std::pair<const char *, const char *> cases[] = {{"\x80", "\uFFFD"},
                                                         {"\xE4\xB8", "\uFFFD"},
                                                         {"\xF0\x28\x8C\xBC", "\uFFFD(\uFFFD\uFFFD"},
                                                         {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
                                                         {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
                                                         {"\xC0\x80", "\uFFFD\uFFFD"},
                                                         {"\xE4\xB8\xE4\xB8\xAD", "\uFFFD\u4E2D"},
                                                         {"a\xE4\xB8"
                                                          "b",
                                                          "a\uFFFDb"}};
  for (const auto &[bytes, text] : cases)
    for (const size_t part : {1, 2, 3, 99})
      EXPECT_EQ(stream(bytes, part), text) << "in parts of " << part;
}

TEST(Utf8, ValidPrefixEndsAtTheFirstIllFormedByte) {
  EXPECT_EQ(valid_utf8_prefix("0123456789\u00E9\u4E2D"), 15u);
  EXPECT_EQ(valid_utf8_prefix("0123456789\xFF"
                              "abc"),
            10u);
  EXPECT_EQ(valid_utf8_prefix("abc\xE4\xB8"), 3u);
  EXPECT_EQ(valid_utf8_prefix("\xED\xA0\x80"), 0u); // a surrogate
}

TEST(Utf8, NfcComposes) {
  std::string out;
  ASSERT_TRUE(normalize_nfc("cafe\u0301", &out));
  EXPECT_EQ(out, "caf\u00E9");
  ASSERT_TRUE(normalize_nfc("\uFB01", &out)); // a compatibility character stays
  EXPECT_EQ(out, "\uFB01");
}

/// Boundaries of \w as Rust's regex has it, which Hugging Face's single_word asks.
TEST(Utf8, WordCharacters) {
  for (const int32_t c : {0x61, 0x5A, 0x30, 0x5F, 0xE9, 0x301, 0x2167, 0x661, 0x203F, 0x2040, 0x200C, 0x200D,
                          0x24B6, 0x24E9, 0x1F130, 0x1F189, 0x4E00})
    EXPECT_TRUE(is_word_character(c)) << c;
  for (const int32_t c : {0, 0x20, 0x2D, 0xB2, 0xBD, 0x200B, 0x2460, 0x24EA, 0x1F12F, 0x1F18A, 0x1F600})
    EXPECT_FALSE(is_word_character(c)) << c;
}

} // namespace
} // namespace bitnet::runtime
