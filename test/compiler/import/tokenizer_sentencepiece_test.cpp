// SentencePiece through the whole path: a model trained here on a little text, imported, loaded and used; and
// the same vocabulary as GGUF has it.
#include "test/compiler/import/tokenizer_testing.h"
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#include <unordered_map>

namespace bitnet::import {
namespace {

constexpr const char *kText[] = {
    "And God said, Let there be light: and there was light.",
    "And God saw the light, that it was good: and God divided the light from the darkness.",
    "And God called the light Day, and the darkness he called Night."};

/// The training text, as the trainer wants it.
class Sentences : public sentencepiece::SentenceIterator {
public:
  Sentences() : text_(kText[0]) {}
  bool done() const override { return at_ == std::size(kText); }
  void Next() override {
    ++at_;
    text_ = done() ? "" : kText[at_];
  }
  const std::string &value() const override { return text_; }
  sentencepiece::util::Status status() const override { return {}; }

private:
  size_t at_ = 0;
  std::string text_;
};

/// A BPE model like Llama 2's: byte fallback, identity normalisation, a prefix space.
std::string train() {
  Sentences sentences;
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      std::unordered_map<std::string, std::string>{{"model_type", "bpe"},
                                                   {"vocab_size", "330"},
                                                   {"byte_fallback", "true"},
                                                   {"normalization_rule_name", "identity"},
                                                   {"remove_extra_whitespaces", "false"},
                                                   {"minloglevel", "2"}},
      &sentences, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

class SentencePieceImport : public ::testing::Test {
protected:
  void SetUp() override {
    model = train();
    ASSERT_TRUE(library.LoadFromSerializedProto(model).ok());
    tokenizer = loadImported(
        importSentencePiece(model, {{"<pad>", 330}, {"</line>", 331}}, {}, "tokenizer.model", {}));
    ASSERT_TRUE(tokenizer);
  }
  std::string model;
  sentencepiece::SentencePieceProcessor library;
  std::unique_ptr<runtime::Tokenizer> tokenizer;
};

TEST_F(SentencePieceImport, EncodesAsTheLibrary) {
  for (const char *text : {"And God said", "  two  spaces ", "light\nDay", "\xE2\x98\x83 snow", "a", " "}) {
    std::vector<int> expected;
    ASSERT_TRUE(library.Encode(text, &expected).ok());
    EXPECT_EQ(encode(*tokenizer, text), std::vector<int32_t>(expected.begin(), expected.end())) << text;
  }
  EXPECT_TRUE(encode(*tokenizer, "").empty());
}

TEST_F(SentencePieceImport, DecodesBack) {
  for (const std::string text : {"And God said", "light\nDay", "\xE2\x98\x83 snow", " leading"}) {
    const std::vector<int32_t> ids = encode(*tokenizer, text, true);
    EXPECT_EQ(ids[0], 1); // <s>
    const auto back = tokenizer->decode(ids.data(), ids.size(), false);
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, text);
  }
}

TEST_F(SentencePieceImport, OnlyTheBeginningOfTheTextGetsAPrefix) {
  const std::vector<int32_t> ids = encode(*tokenizer, "light</line>light", false, true);
  std::vector<int> first, second;
  ASSERT_TRUE(library.Encode("light", &first).ok());
  ASSERT_GE(ids.size(), 3u);
  const auto line = std::find(ids.begin(), ids.end(), 331);
  ASSERT_NE(line, ids.end());
  EXPECT_EQ(std::vector<int32_t>(ids.begin(), line), std::vector<int32_t>(first.begin(), first.end()));
  EXPECT_NE(tokenizer->token_bytes(*(line + 1)).front(), ' ');
  const auto rest = tokenizer->encode("light", false, false, /*continues=*/true);
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(*rest, std::vector<int32_t>(line + 1, ids.end()));
}

TEST_F(SentencePieceImport, LegacyGivesEachPartAPrefix) {
  SpecialIds ids;
  ids.legacy = true;
  const auto legacy =
      loadImported(importSentencePiece(model, {{"</line>", 331}}, ids, "tokenizer.model", {}));
  ASSERT_TRUE(legacy);
  std::vector<int32_t> expected = encode(*tokenizer, "light");
  const std::vector<int32_t> part = expected;
  expected.push_back(331);
  expected.insert(expected.end(), part.begin(), part.end());
  EXPECT_EQ(encode(*legacy, "light</line>light", false, true), expected);
  const auto rest = legacy->encode("light", false, false, /*continues=*/true);
  ASSERT_TRUE(rest.ok());
  EXPECT_NE(*rest, part);
}

TEST_F(SentencePieceImport, ControlPiecesAreTextUnlessAskedFor) {
  EXPECT_EQ(encode(*tokenizer, "</s>", false, true), (std::vector<int32_t>{2}));
  const std::vector<int32_t> ids = encode(*tokenizer, "</s>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 0);
}

TEST_F(SentencePieceImport, GgufVocabularyGivesTheSameIds) {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  for (int id = 0; id < library.GetPieceSize(); ++id) {
    vocabulary.tokens.push_back(library.IdToPiece(id));
    vocabulary.scores.push_back(library.GetScore(id));
    vocabulary.types.push_back(library.IsUnknown(id)   ? 2
                               : library.IsControl(id) ? 3
                               : library.IsByte(id)    ? 6
                                                       : 1);
  }
  vocabulary.bos = 1;
  vocabulary.eos = 2;
  const auto fromGguf = loadImported(importGgufTokenizer(vocabulary, "m.gguf", {}));
  ASSERT_TRUE(fromGguf);
  for (const char *text : {"And God called the light", "  two  spaces ", "\xE2\x98\x83", "a</s>b"})
    EXPECT_EQ(encode(*fromGguf, text, true), encode(*tokenizer, text, true)) << text;
}

TEST_F(SentencePieceImport, RefusesTruncatedAndForeignBytes) {
  for (size_t size = 0; size < model.size(); size += 97) {
    auto imported = importSentencePiece(model.substr(0, size), {}, {}, "tokenizer.model", {});
    if (!imported) {
      expectOneLine(llvm::toString(imported.takeError()));
      continue;
    }
    const auto loaded = runtime::Tokenizer::load(imported->bytes.data(), imported->bytes.size());
    EXPECT_EQ(loaded.status().message().find('\n'), std::string::npos) << loaded.status().message();
  }
  auto foreign = importSentencePiece("not a model", {}, {}, "tokenizer.model", {});
  EXPECT_EQ(errorOf(foreign),
            "tokenizer.model: expected a SentencePiece ModelProto, got other or damaged bytes");
}

/// The library's messages quote pieces.
TEST_F(SentencePieceImport, RefusesInOneLineWhatTheLibraryDoes) {
  const std::string twice = "\x0A\x05\x0A\x03"
                            "a\nb";
  const auto refused = runtime::SentencePiece::load(model + twice + twice);
  ASSERT_FALSE(refused.ok());
  expectOneLine(refused.status().message());
  EXPECT_NE(refused.status().message().find("a\\x0ab"), std::string::npos) << refused.status().message();
}

/// An NMT normaliser brings a precompiled charsmap, which the library walks unchecked.
TEST(SentencePieceCharsmap, DamagedTrieIsRefused) {
  Sentences sentences;
  std::string model;
  ASSERT_TRUE(sentencepiece::SentencePieceTrainer::Train(
                  std::unordered_map<std::string, std::string>{{"model_type", "unigram"},
                                                               {"vocab_size", "60"},
                                                               {"hard_vocab_limit", "false"},
                                                               {"minloglevel", "2"}},
                  &sentences, &model)
                  .ok());
  const auto load = [](const std::string &bytes) { return runtime::SentencePiece::load(bytes); };
  EXPECT_TRUE(load(model).ok());
  // The charsmap is by far the longest field: overwrite the offsets in its middle.
  ASSERT_GT(model.size(), 100000u);
  std::string damaged = model;
  for (size_t at = model.size() / 4; at < model.size() / 2; ++at)
    damaged[at] = '\x7F';
  const auto refused = load(damaged);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().message(), "sentencepiece model: normalizer_spec.precompiled_charsmap: expected "
                                        "a trie whose steps stay inside it");
}

} // namespace
} // namespace bitnet::import
