// The same tokenizer in every form of a checkpoint gives the same ids: those that the reference prompts have.
#include "test/compiler/import/tokenizer_testing.h"

using nlohmann::json;

namespace bitnet::import {
namespace {

/// GPT-2's way to write a byte, from its definition.
std::string alphabetOf(uint8_t byte) {
  int next = 256, codePoint = byte;
  for (int b = 0; b <= byte; ++b) {
    const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    codePoint = prints ? b : next++;
  }
  if (codePoint < 0x80)
    return std::string(1, char(codePoint));
  return {char(0xC0 | codePoint >> 6), char(0x80 | (codePoint & 0x3F))};
}

/// What GGUF says of the tokenizer in a tokenizer.json.
GgufVocabulary ggufFrom(const json &file) {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "llama-bpe";
  const auto put = [&](size_t id, const std::string &text, int32_t type) {
    if (vocabulary.tokens.size() <= id) {
      vocabulary.tokens.resize(id + 1);
      vocabulary.types.resize(id + 1, 5);
    }
    vocabulary.tokens[id] = text;
    vocabulary.types[id] = type;
  };
  for (const auto &[text, id] : file["model"]["vocab"].items())
    put(id, text, 1);
  for (const json &token : file["added_tokens"])
    put(token["id"], token["content"], 3);
  for (const json &merge : file["model"]["merges"])
    vocabulary.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  vocabulary.bos = 4080;
  vocabulary.eos = 4081;
  vocabulary.eot = 4089;
  return vocabulary;
}

class KjvTokenizer : public ::testing::Test {
protected:
  void SetUp() override {
    folder = sharedData("kjv/hf-bf16");
    if (folder.empty())
      GTEST_SKIP() << "shared test data not found (BITNET_SHARED_DATA)";
    reference = json::parse(slurp(sharedData("kjv/ref/kjv-ref.json")));
    fromJson = loadImported(importTokenizerFolder(folder, {}));
    ASSERT_TRUE(fromJson);
  }
  void expectPrompts(const runtime::Tokenizer &tokenizer) {
    for (const json &one : reference["cases"])
      EXPECT_EQ(encode(tokenizer, one["prompt"], /*addSpecial=*/true, /*parseSpecial=*/true),
                one["input_ids"].get<std::vector<int32_t>>())
          << one["prompt"];
  }
  std::string folder;
  json reference;
  std::unique_ptr<runtime::Tokenizer> fromJson;
};

TEST_F(KjvTokenizer, JsonGivesTheReferencePrompts) {
  expectPrompts(*fromJson);
  EXPECT_EQ(fromJson->stop_tokens(), (std::vector<int32_t>{4081, 4089}));
}

TEST_F(KjvTokenizer, JsonGivesTheReferenceWindows) {
  std::vector<int32_t> expected, got; // without BOS; a chapter at a time, EOS after each
  for (const json &window : reference["perplexity"]["windows"])
    expected.insert(expected.end(), window.begin() + 1, window.end());
  const std::string text = slurp(sharedData("kjv/ref/heldout20k.txt"));
  for (size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find("\n\n", begin), text.size() - 1) + 1;
    const std::vector<int32_t> chapter = encode(*fromJson, text.substr(begin, end - begin));
    got.insert(got.end(), chapter.begin(), chapter.end());
    got.push_back(fromJson->eos());
  }
  EXPECT_EQ(got.size(), expected.size());
  EXPECT_TRUE(got == expected)
      << "first difference at token "
      << std::mismatch(got.begin(), got.end(), expected.begin(), expected.end()).first - got.begin();
}

TEST_F(KjvTokenizer, DecodingGivesTheTextBack) {
  const std::string text = slurp(sharedData("kjv/ref/heldout20k.txt"));
  const std::vector<int32_t> ids = encode(*fromJson, text);
  const auto back = fromJson->decode(ids.data(), ids.size(), false);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(*back == text);
}

TEST_F(KjvTokenizer, GgufGivesTheSameIdsAsJson) {
  const auto fromGguf = loadImported(
      importGgufTokenizer(ggufFrom(json::parse(slurp(folder + "/tokenizer.json"))), "kjv.gguf", {}));
  ASSERT_TRUE(fromGguf);
  expectPrompts(*fromGguf);
  const std::string text =
      slurp(sharedData("kjv/ref/heldout20k.txt")) + "caf\xC3\xA9 \xE2\x98\x83 12345 \xFF\xC3 <|eot_id|>";
  EXPECT_TRUE(encode(*fromGguf, text) == encode(*fromJson, text));
  EXPECT_TRUE(encode(*fromGguf, text, false, true) == encode(*fromJson, text, false, true));
  EXPECT_EQ(fromGguf->stop_tokens(), fromJson->stop_tokens());
}

/// Llama 3's and Qwen's vocabularies as the rule knows them: their size and one token's place.
GgufVocabulary withoutPre(size_t size, size_t id, const char *token) {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.tokens.resize(size);
  vocabulary.types.assign(size, 5);
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens[byte] = alphabetOf(static_cast<uint8_t>(byte));
    vocabulary.types[byte] = 1;
  }
  vocabulary.tokens[id] = token;
  vocabulary.types[id] = 3;
  vocabulary.addBos = false;
  return vocabulary;
}

TEST(TokenizerForms, MissingPreTokenizerIsDecidedByTheVocabularyAndReported) {
  for (const char *pre : {"", "default"}) {
    GgufVocabulary vocabulary = withoutPre(128256, 128000, "<|begin_of_text|>");
    vocabulary.pre = pre;
    auto imported = importGgufTokenizer(vocabulary, "m.gguf", {});
    ASSERT_TRUE(bool(imported));
    ASSERT_EQ(imported->decisions.size(), 1u);
    EXPECT_EQ(imported->decisions[0].what, "pre-tokenizer");
    EXPECT_EQ(imported->decisions[0].value, "llama-bpe");
    EXPECT_EQ(imported->decisions[0].flag, "pre");
  }
  auto qwen = importGgufTokenizer(withoutPre(151936, 151644, "<|im_start|>"), "m.gguf", {});
  ASSERT_TRUE(bool(qwen));
  ASSERT_EQ(qwen->decisions.size(), 1u);
  EXPECT_EQ(qwen->decisions[0].value, "qwen2");
}

TEST(TokenizerForms, MissingPreTokenizerOfAnotherVocabularyIsRefused) {
  for (const GgufVocabulary &vocabulary :
       {withoutPre(128257, 128000, "<|begin_of_text|>"), withoutPre(128256, 128001, "<|begin_of_text|>")}) {
    auto refused = importGgufTokenizer(vocabulary, "m.gguf", {});
    EXPECT_NE(errorOf(refused).find(", got nothing; --set pre=NAME says how the text is split"),
              std::string::npos);
    auto given = importGgufTokenizer(vocabulary, "m.gguf", {{"pre", "default"}});
    EXPECT_EQ(errorOf(given), "");
  }
  GgufVocabulary named = withoutPre(300, 299, "<s>"); // 'default' of a vocabulary that nothing is known of
  named.pre = "default";
  auto imported = importGgufTokenizer(named, "m.gguf", {});
  ASSERT_TRUE(bool(imported));
  EXPECT_TRUE(imported->decisions.empty());
}

TEST(TokenizerForms, BosThatTheFileLeavesOpenIsDecidedAndReported) {
  for (const char *pre : {"llama-bpe", "gpt-2"}) {
    GgufVocabulary vocabulary = withoutPre(300, 299, "<s>");
    vocabulary.pre = pre;
    vocabulary.bos = 299;
    vocabulary.addBos.reset();
    auto imported = importGgufTokenizer(vocabulary, "m.gguf", {});
    ASSERT_TRUE(bool(imported));
    ASSERT_EQ(imported->decisions.size(), 1u);
    EXPECT_EQ(imported->decisions[0].what, "BOS before a text");
    EXPECT_EQ(imported->decisions[0].value, std::string(pre) == "gpt-2" ? "no" : "yes");
    EXPECT_EQ(imported->decisions[0].flag, "add_bos");
    vocabulary.addBos = true;
    auto said = importGgufTokenizer(vocabulary, "m.gguf", {});
    ASSERT_TRUE(bool(said));
    EXPECT_TRUE(said->decisions.empty());
  }
}

TEST_F(KjvTokenizer, FolderHasTheChatTemplate) {
  auto imported = importTokenizerFolder(folder, {});
  ASSERT_TRUE(bool(imported));
  EXPECT_NE(imported->chatTemplate.find("| capitalize"), std::string::npos);
  EXPECT_TRUE(imported->decisions.empty());
}

TEST(TokenizerForms, SettingsWinOverTheFile) {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "unheard-of";
  for (int byte = 0; byte < 256; ++byte)
    vocabulary.tokens.push_back(alphabetOf(static_cast<uint8_t>(byte)));
  vocabulary.tokens.push_back("<|end|>");
  vocabulary.types.assign(257, 1);
  vocabulary.types[256] = 3;
  auto refused = importGgufTokenizer(vocabulary, "m.gguf", {});
  EXPECT_EQ(
      errorOf(refused),
      "m.gguf: tokenizer.ggml.pre: expected one of " +
          std::string("llama-bpe, llama3, llama-v3, falcon3, falcon_e, qwen2, qwen35, gpt-2, olmo, falcon, "
                      "default") +
          ", got 'unheard-of'; --set pre=NAME says how the text is split");
  const auto tokenizer = loadImported(
      importGgufTokenizer(vocabulary, "m.gguf", {{"pre", "gpt-2"}, {"bos", "256"}, {"add_bos", "true"}}));
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "a", true), (std::vector<int32_t>{256, 'a'}));
}

TEST(TokenizerForms, WrongTemplateOfMicrosoftsFileIsReplacedAndReported) {
  std::vector<Decision> decisions;
  const std::string wrong = "{% for message in messages %}{{ 'Human: ' + message['content'] + "
                            "'\n\nBITNETAssistant: ' + eos_token }}"
                            "{% endfor %}";
  EXPECT_NE(correctChatTemplate(wrong, decisions).find("| capitalize"), std::string::npos);
  EXPECT_EQ(decisions.size(), 1u);
  EXPECT_EQ(correctChatTemplate("{{ messages }}", decisions), "{{ messages }}");
  EXPECT_EQ(decisions.size(), 1u);
}

} // namespace
} // namespace bitnet::import
