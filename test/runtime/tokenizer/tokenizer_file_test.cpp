// Tokenizers without a model, from each kind of file.
#include "runtime/tokenizer/tokenizer_file.h"
#include "test/runtime/tiny_bundle.h"
#include "test/runtime/tokenizer/serialized_tokenizer.h"
#include <gtest/gtest.h>
#include <unistd.h>

namespace bitnet::runtime {
namespace {

using test::TinyBundle;

class TokenizerFile : public testing::Test {
protected:
  void TearDown() override { unlink(path_.c_str()); }
  Result<std::unique_ptr<Tokenizer>> open(const std::string &bytes) {
    path_ = test::write_file("tokenizer_file_test", bytes);
    return open_tokenizer(path_);
  }
  /// Without the file's name.
  std::string error_of(const std::string &bytes) {
    const std::string message = open(bytes).status().message();
    EXPECT_EQ(message.substr(0, path_.size() + 2), path_ + ": ");
    return message.substr(std::min(message.size(), path_.size() + 2));
  }
  static std::string text(const std::vector<uint8_t> &bytes) { return {bytes.begin(), bytes.end()}; }
  std::string path_;
};

/// Ranks 0 to 2: a, b, ab.
constexpr char kRanks[] = "YQ== 0\r\n\nYg== 1\n  YWI= 2";

TEST_F(TokenizerFile, ReadsRanksWithLlama3sSpecialTokensAfterThem) {
  const auto tokenizer = open(kRanks);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const Tokenizer &t = **tokenizer;
  EXPECT_EQ(t.size(), 3 + 256);
  EXPECT_EQ(t.bos(), 3);
  EXPECT_EQ(t.eos(), 4);
  EXPECT_EQ(t.pad(), 258);
  EXPECT_EQ(t.stop_tokens(), (std::vector<int32_t>{4, 12}));
  EXPECT_EQ(t.token_bytes(12), "<|eot_id|>");
  EXPECT_EQ(*t.encode("abba", true, false), (std::vector<int32_t>{3, 2, 1, 0}));
  EXPECT_EQ(*t.encode("a<|eot_id|>", false, true), (std::vector<int32_t>{0, 12}));
}

TEST_F(TokenizerFile, NamesTheBadLineOfRanks) {
  EXPECT_EQ(error_of("YQ== 0\nYg==\n"), "line 2: expected 'base64 rank', got 'Yg=='");
  EXPECT_EQ(error_of("no rank file\n"), "line 1: expected 'base64 rank', got 'no rank file'");
  EXPECT_EQ(error_of("YQ== 0\nYg== 0\n"), "line 2: rank 0 is there twice");
  EXPECT_EQ(error_of("YQ== 0\nYg== 2\n"), "expected ranks 0 to 2, got none for 1");
  EXPECT_EQ(error_of("\n\n"), "expected lines of 'base64 rank', got none");
}

TEST_F(TokenizerFile, ReadsASerializedTokenizer) {
  SerializedTokenizer source;
  source.added = {{256, "<s>"}};
  source.bos = 256;
  const auto tokenizer = open(text(source.bytes()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->size(), 257);
  EXPECT_EQ(*(*tokenizer)->encode("a<s>", false, true), (std::vector<int32_t>{'a', 256}));
  EXPECT_NE(error_of(text(source.bytes()).substr(0, 500)).find("damaged"), std::string::npos);
}

TEST_F(TokenizerFile, ReadsABundlesWithoutTheRestOfIt) {
  TinyBundle bundle;
  bundle.payloads.push_back({SectionKind::tokenizer, text(SerializedTokenizer().bytes())});
  std::string file = bundle.file();
  const auto parsed = validate_bundle({reinterpret_cast<const uint8_t *>(file.data()), file.size()});
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  uint64_t weights = 0, tokens = 0;
  for (const Section &section : parsed->sections) {
    weights = section.kind == SectionKind::weights ? section.offset : weights;
    tokens = section.kind == SectionKind::tokenizer ? section.offset : tokens;
  }
  file[weights] ^= 1; // nobody looks
  const auto tokenizer = open(file);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->size(), 256);
  file[tokens + 100] ^= 1;
  EXPECT_NE(error_of(file).find("checksum"), std::string::npos);
  EXPECT_EQ(error_of(TinyBundle().file()),
            "tokenizer: the bundle has none; compile it with --tokenizer=FILE");
}

TEST_F(TokenizerFile, SaysWhatToDoWithOtherFiles) {
  for (const std::string &other :
       {std::string("{\"model\": {}}"), std::string("GGUF\3\0\0\0", 8),
        std::string("\n\x0e\n\5<unk>\x15\0\0\0\0\x18\2", 16), std::string(3, '\0')})
    EXPECT_EQ(error_of(other),
              "expected a bundle (.bnx), lines of 'base64 rank' (tiktoken) or a tokenizer of bitnetc, got "
              "another kind of file; bitnetc --emit=tokenizer makes one of tokenizer.json, SentencePiece and "
              "GGUF files");
  EXPECT_EQ(open("GGUF").status().code(), StatusCode::unsupported) << "not damaged: callers may convert it";
  EXPECT_EQ(open_tokenizer("/nowhere").status().code(), StatusCode::not_found);
}

} // namespace
} // namespace bitnet::runtime
