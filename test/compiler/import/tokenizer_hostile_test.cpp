// Tokenizers that lie: every one ends in an error of one line, and each message a user can meet is quoted
// here.
#include "test/compiler/import/tokenizer_testing.h"

using nlohmann::json;

namespace bitnet::import {
namespace {

/// A good little tokenizer.json: three tokens, one merge, one special.
json good() {
  return json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

std::string textError(const std::string &text) {
  auto imported = importTokenizerJson(text, {}, "t.json", {});
  std::string error = errorOf(imported);
  if (!error.empty())
    expectOneLine(error);
  return error;
}
std::string importError(const json &file) { return textError(file.dump()); }

TEST(HostileTokenizerJson, GoodOneIsRead) {
  ASSERT_EQ(importError(good()), "");
  const auto tokenizer = loadImported(importTokenizerJson(good().dump(), {}, "t.json", {}));
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abab<s>", false, true), (std::vector<int32_t>{2, 2, 3}));
}

TEST(HostileTokenizerJson, RefusesWhatIsNoJson) {
  EXPECT_EQ(textError(std::string(1000000, '[')), "t.json: expected JSON nested at most 64 deep, got more");
  EXPECT_NE(textError(""), "");
  EXPECT_NE(textError("[]"), "");
  EXPECT_NE(textError("{\"model\": {\"vocab\": {\"\xFF\xFE\": 0}}}"), "");
  EXPECT_NE(textError(std::string("{}\0", 3)), "");
}

TEST(HostileTokenizerJson, RefusesBadIds) {
  json file = good();
  file["model"]["vocab"]["b"] = 0;
  EXPECT_EQ(importError(file), "t.json: model.vocab: id 0 is given to 'a' and to 'b'");
  for (const json &id : {json(-1), json(1u << 20), json(UINT64_MAX), json(1.0), json("1"), json(nullptr)}) {
    file = good();
    file["model"]["vocab"]["b"] = id;
    EXPECT_NE(importError(file).find("model.vocab: token 'b': expected an id from 0 to 1048575"),
              std::string::npos)
        << id;
    file = good();
    file["added_tokens"][0]["id"] = id;
    EXPECT_NE(importError(file), "") << id;
  }
}

TEST(HostileTokenizerJson, RefusesClashingAddedTokens) {
  json file = good();
  file["added_tokens"].push_back({{"id", 3}, {"content", "<t>"}});
  EXPECT_EQ(importError(file), "t.json: added token '<t>': id 3 is taken by '<s>'");
  file = good();
  file["added_tokens"].push_back({{"id", 4}, {"content", "<s>"}});
  EXPECT_EQ(importError(file), "t.json: added token '<s>' is there twice, as 3 and 4");
  file = good();
  file["added_tokens"][0]["id"] = 2;
  EXPECT_EQ(importError(file), "t.json: added token '<s>': id 2 is given to 'ab' in model.vocab");
  file = good();
  file["added_tokens"][0]["content"] = "";
  EXPECT_EQ(importError(file), "t.json: added token 3: expected a text, got none");
}

TEST(HostileTokenizerJson, RefusesMergesOfAbsentTokens) {
  json file = good();
  file["model"]["merges"] = {"a c"};
  EXPECT_EQ(importError(file), "t.json: model: merge 0: token 'c' is not in the vocabulary");
  file["model"]["merges"] = {"a b", "b a"};
  EXPECT_EQ(importError(file), "t.json: model: merge 1: token 'ba' is not in the vocabulary");
  for (const json &merge :
       {json("ab"), json(""), json(" "), json(5), json({"a"}), json({"a", "b", "a"}), json({"a", 1})}) {
    file["model"]["merges"] = json::array({merge});
    EXPECT_NE(importError(file), "") << merge;
  }
}

TEST(HostileTokenizerJson, RefusesComponentsThatItDoesNotUnderstand) {
  json file = good();
  file["normalizer"] = {{"type", "Lowercase"}};
  EXPECT_EQ(importError(file),
            "t.json: normalizer: expected NFC, or Prepend and Replace with U+2581, or none, got 'Lowercase'");
  file["normalizer"] = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  EXPECT_EQ(importError(file), "t.json: normalizer: expected Prepend before a Replace of spaces by U+2581");
  file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
  EXPECT_EQ(importError(file), "t.json: pre_tokenizer: expected ByteLevel or U+2581 for spaces, got both");
  file["normalizer"]["content"] = "_";
  EXPECT_NE(importError(file), "");
  file = good();
  file["model"]["byte_fallback"] = true;
  EXPECT_EQ(importError(file), "t.json: model: expected no byte_fallback with ByteLevel");
  file = good();
  file["pre_tokenizer"] = {{"type", "Whitespace"}};
  EXPECT_EQ(importError(file), "t.json: pre_tokenizer: expected Split, Punctuation (Contiguous), Digits, "
                               "Metaspace or ByteLevel, got 'Whitespace'");
  file["pre_tokenizer"] = nullptr;
  EXPECT_NE(importError(file).find("pre_tokenizer: expected ByteLevel, got none"), std::string::npos);
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}};
  EXPECT_EQ(importError(file), "t.json: pre_tokenizer: Metaspace: expected U+2581, got '_'");
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "last"}};
  EXPECT_EQ(importError(file), "t.json: pre_tokenizer: Metaspace: expected prepend_scheme always, first or "
                               "never, got 'last'");
  file = good();
  file["decoder"] = {{"type", "WordPiece"}};
  EXPECT_EQ(importError(file), "t.json: decoder: expected ByteLevel, got 'WordPiece'");
  file = good();
  file["pre_tokenizer"] = json::parse(R"({"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"},
    {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
  EXPECT_EQ(importError(file),
            "t.json: pre_tokenizer: split pattern '(a': expected a regular expression, got: "
            "missing closing parenthesis");
  file = good();
  file["model"]["type"] = "Unigram";
  EXPECT_EQ(importError(file), "t.json: model: expected type BPE, got 'Unigram'");
}

GgufVocabulary goodGguf() {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  vocabulary.tokens = {"a", "b", "ab", "<s>", "<0x41>"};
  vocabulary.types = {1, 1, 1, 3, 6};
  vocabulary.merges = {"a b"};
  return vocabulary;
}

std::string importError(const GgufVocabulary &vocabulary) {
  auto imported = importGgufTokenizer(vocabulary, "m.gguf", {});
  std::string error = errorOf(imported);
  if (!error.empty())
    expectOneLine(error);
  return error;
}

TEST(HostileGgufVocabulary, GoodOneIsRead) {
  ASSERT_EQ(importError(goodGguf()), "");
  const auto tokenizer = loadImported(importGgufTokenizer(goodGguf(), "m.gguf", {}));
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abA"), (std::vector<int32_t>{2, 4}));
}

TEST(HostileGgufVocabulary, RefusesMalformedByteTokens) {
  for (const char *text : {"<0x-1>", "<0xZZ>", "<0x1>", "<0x100>", "", "<0x4"}) {
    GgufVocabulary vocabulary = goodGguf();
    vocabulary.tokens[4] = text;
    EXPECT_EQ(importError(vocabulary),
              "m.gguf: tokenizer.ggml.tokens: byte token 4: expected '<0x00>' to '<0xFF>', got '" +
                  std::string(text) + "'");
  }
}

TEST(HostileGgufVocabulary, RefusesArraysOfOtherLengths) {
  GgufVocabulary vocabulary = goodGguf();
  vocabulary.types.pop_back();
  EXPECT_EQ(importError(vocabulary),
            "m.gguf: tokenizer.ggml.token_type: expected one for each of 5 tokens, got 4");
  vocabulary = goodGguf();
  vocabulary.scores = {1.0f};
  EXPECT_EQ(importError(vocabulary),
            "m.gguf: tokenizer.ggml.scores: expected one for each of 5 tokens, got 1");
  vocabulary = goodGguf();
  vocabulary.types[0] = 7;
  EXPECT_EQ(importError(vocabulary), "m.gguf: tokenizer.ggml.token_type: token 0: expected 1 to 6, got 7");
  EXPECT_EQ(importError(GgufVocabulary()), "m.gguf: tokenizer.ggml.tokens: expected 1 to 1048576, got 0");
}

TEST(HostileGgufVocabulary, RefusesIdsOutsideOfTheVocabulary) {
  for (const int64_t id : {int64_t(5), int64_t(-2), int64_t(UINT32_MAX), INT64_MAX, INT64_MIN}) {
    GgufVocabulary vocabulary = goodGguf();
    vocabulary.eos = id;
    EXPECT_NE(importError(vocabulary), "") << id;
    vocabulary = goodGguf();
    vocabulary.bos = id;
    EXPECT_EQ(importError(vocabulary),
              "m.gguf: tokenizer: bos: expected an id from 0 to 4, got " + std::to_string(id));
  }
}

TEST(HostileGgufVocabulary, RefusesMergesWithoutASpaceOrOfAbsentTokens) {
  for (const char *merge : {"", " ", "ab", "a", " a", "a c", "b a", "a  b"}) {
    GgufVocabulary vocabulary = goodGguf();
    vocabulary.merges = {merge};
    EXPECT_NE(importError(vocabulary).find("m.gguf: tokenizer.ggml: merge 0: "), std::string::npos) << merge;
  }
}

TEST(HostileTiktoken, RefusesMalformedLinesByNumber) {
  const auto error = [](const std::string &ranks) {
    auto imported = importTiktoken(ranks, {}, "r.model", {});
    return errorOf(imported);
  };
  EXPECT_EQ(error("YQ== 0\n\nYg== 1\n"), "");
  EXPECT_EQ(error("YQ== 0\nYg==\n"), "r.model: line 2: expected 'base64 rank', got 'Yg=='");
  EXPECT_EQ(error("YQ== 0\nY!== 1\n"), "r.model: line 2: expected 'base64 rank', got 'Y!== 1'");
  EXPECT_EQ(error("YQ== 0\nYg== 0\n"), "r.model: line 2: rank 0 is there twice");
  EXPECT_EQ(error("YQ== 0\nYg== 2\n"), "r.model: expected ranks 0 to 2, got none for 1");
  EXPECT_EQ(error("YQ== 99999999\n"), "r.model: line 1: expected 'base64 rank', got 'YQ== 99999999'");
  EXPECT_EQ(error(""), "r.model: expected lines of 'base64 rank', got none");
}

} // namespace
} // namespace bitnet::import
