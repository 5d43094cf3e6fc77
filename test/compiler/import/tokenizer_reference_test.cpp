// Tokenizers of every style against the ids of Hugging Face's and Google's own libraries
// (test/data/tokenizer-cases.json, made by make_tokenizer_cases.py beside it).
#include "test/compiler/import/tokenizer_testing.h"
#include "llvm/Support/Base64.h"

using nlohmann::json;

namespace bitnet::import {
namespace {

const json &cases() {
  static const json file = json::parse(slurp(BITNET_TEST_DATA "/tokenizer-cases.json"));
  return file;
}

/// A style's tokenizer.json, its model put in.
json tokenizerJson(const json &style) {
  json file = style["tokenizer"];
  const bool ignoreMerges = file.value("ignore_merges", false);
  file["model"] = cases()["models"][file["model"].get<std::string>()];
  file["model"]["ignore_merges"] = ignoreMerges;
  return file;
}

/// Compares those texts that `compares` says.
template <typename Compares>
void expectIds(const runtime::Tokenizer &tokenizer, const json &texts, const json &ids, bool addSpecial,
               size_t atLeast, Compares compares) {
  ASSERT_EQ(texts.size(), ids.size());
  size_t compared = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i];
    if (!compares(text))
      continue;
    EXPECT_EQ(encode(tokenizer, text, addSpecial, /*parseSpecial=*/true), ids[i].get<std::vector<int32_t>>())
        << texts[i].dump(-1, ' ', true);
    ++compared;
  }
  EXPECT_GE(compared, atLeast);
}

TEST(TokenizerReference, EveryStyleOfTokenizerJson) {
  ASSERT_EQ(cases()["styles"].size(), 12u);
  for (const auto &[name, style] : cases()["styles"].items()) {
    SCOPED_TRACE(name);
    const auto tokenizer = loadImported(importTokenizerJson(tokenizerJson(style).dump(), {}, name, {}));
    ASSERT_TRUE(tokenizer);
    expectIds(*tokenizer, cases()["texts"], style["ids"], true, 100,
              [](const std::string &) { return true; });
  }
}

/// As tokenizers 0.23.3 decodes them: a token that is found with the mark in front of it stands for the mark,
/// too.
TEST(TokenizerReference, AddedTokensDecodeToWhatTheyWereFoundAs) {
  for (const char *name : {"llama2", "llama2-first", "gemma"}) {
    const json &style = cases()["styles"][name];
    const auto tokenizer = loadImported(importTokenizerJson(tokenizerJson(style).dump(), {}, name, {}));
    ASSERT_TRUE(tokenizer);
    for (const char *text : {"cat", "a cat b", "catcat", "cat W", "a N\u00e9 cat"}) {
      const std::vector<int32_t> ids = encode(*tokenizer, text, false, true);
      EXPECT_EQ(*tokenizer->decode(ids.data(), ids.size(), false), text) << name;
    }
  }
}

/// What GGUF says of the tokenizer in a tokenizer.json; it cannot say what only that has: tokens that are not
/// special, and their flags.
GgufVocabulary ggufFrom(const json &file) {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.tokens.resize(file["model"]["vocab"].size() + file["added_tokens"].size());
  vocabulary.types.assign(vocabulary.tokens.size(), 5);
  const auto put = [&](size_t id, const std::string &text, int32_t type) {
    vocabulary.tokens.at(id) = text;
    vocabulary.types.at(id) = type;
  };
  for (const auto &[text, id] : file["model"]["vocab"].items())
    put(id, text, 1);
  for (const json &token : file["added_tokens"])
    if (token["special"])
      put(token["id"], token["content"], 3);
  while (vocabulary.tokens.back().empty()) {
    vocabulary.tokens.pop_back();
    vocabulary.types.pop_back();
  }
  for (const json &merge : file["model"]["merges"])
    vocabulary.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  return vocabulary;
}

TEST(TokenizerReference, EveryPreTokenizerOfGguf) {
  const auto hasAddedToken = [](const std::string &text) {
    for (const char *token : {"<L>", "<R>", "<B>", "W", "N\u00e9", "Ne\u0301", "cat"})
      if (text.find(token) != std::string::npos)
        return true;
    return false;
  };
  for (const char *name : {"llama-bpe", "llama3", "falcon3", "falcon_e", "qwen2", "qwen35", "gpt-2", "olmo",
                           "falcon", "default"}) {
    SCOPED_TRACE(name);
    const std::string alike = std::string(name) == "olmo"                                   ? "gpt-2"
                              : name[0] == 'l' || std::string(name).rfind("falcon", 0) == 0 ? "llama-bpe"
                                                                                            : name;
    const json &style = cases()["styles"][std::string(name) == "falcon" ? "falcon" : alike];
    GgufVocabulary vocabulary = ggufFrom(tokenizerJson(style));
    vocabulary.pre = name;
    const bool bos = alike == "llama-bpe" && std::string(name) != "falcon";
    if (bos)
      vocabulary.bos = 400; // <s>
    const auto tokenizer = loadImported(importGgufTokenizer(vocabulary, name, {}));
    ASSERT_TRUE(tokenizer);
    expectIds(*tokenizer, cases()["texts"], style["ids"], bos, 55,
              [&](const std::string &text) { return !hasAddedToken(text); });
  }
}

TEST(TokenizerReference, SentencePieceModelAndItsGgufForm) {
  const json &reference = cases()["sentencepiece"];
  std::vector<char> model;
  ASSERT_FALSE(bool(llvm::decodeBase64(reference["model"].get<std::string>(), model)));
  const auto fromModel = loadImported(
      importSentencePiece(std::string(model.begin(), model.end()), {}, {}, "tokenizer.model", {}));
  ASSERT_TRUE(fromModel);
  const auto any = [](const std::string &) { return true; };
  expectIds(*fromModel, reference["texts"], reference["ids"], false, 80, any);

  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  reference["tokens"].get_to(vocabulary.tokens);
  reference["scores"].get_to(vocabulary.scores);
  reference["types"].get_to(vocabulary.types);
  const auto fromGguf = loadImported(importGgufTokenizer(vocabulary, "m.gguf", {}));
  ASSERT_TRUE(fromGguf);
  expectIds(*fromGguf, reference["texts"], reference["ids"], false, 80, any);
}

} // namespace
} // namespace bitnet::import
