// The tiktoken rank file of Llama 3 against what Microsoft's Python tokenizer gives
// (data/tokenizer/llama3-cases.json). Cases about the Python interface (chunking at 400,000 characters,
// disallowed_special) are not for this layer.
#include "runtime/tokenizer/tokenizer_file.h"
#include "test/compiler/import/tokenizer_testing.h"

using nlohmann::json;

namespace bitnet::import {
namespace {

/// Python's JSON holds unpaired surrogates, which are no text: U+FFFD, as the Python tokenizer takes them.
std::string replaceLoneSurrogates(std::string text) {
  const auto unit = [&](size_t at) {
    return at + 6 <= text.size() && text[at] == '\\' && text[at + 1] == 'u'
               ? std::stoul(text.substr(at + 2, 4), nullptr, 16)
               : 0;
  };
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\')
      continue;
    const unsigned long first = unit(at), second = unit(at + 6);
    const bool high = first >= 0xD800 && first < 0xDC00, paired = second >= 0xDC00 && second < 0xE000;
    if (first >= 0xD800 && first < 0xE000 && !(high && paired))
      text.replace(at, 6, "\\ufffd");
    at += high && paired ? 11 : first ? 5 : 1; // to the last character of the escape
  }
  return text;
}

class Llama3 : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    const std::string ranks = sharedData("tokenizer/llama3.tokenizer.model");
    const std::string file = sharedData("tokenizer/llama3-cases.json");
    if (ranks.empty() || file.empty())
      return;
    tokenizer = loadImported(importTokenizerFile(ranks, {}));
    cases = new json(json::parse(replaceLoneSurrogates(slurp(file))));
  }
  void SetUp() override {
    if (!cases)
      GTEST_SKIP() << "shared test data not found (BITNET_SHARED_DATA)";
    ASSERT_TRUE(tokenizer);
  }
  static std::unique_ptr<runtime::Tokenizer> tokenizer;
  static json *cases;
};
std::unique_ptr<runtime::Tokenizer> Llama3::tokenizer;
json *Llama3::cases = nullptr;

TEST_F(Llama3, EncodesAsTheReference) {
  int compared = 0;
  for (const json &one : (*cases)["encode"]) {
    const bool all = one.value("allowed_special", json()) == "all";
    if (one.contains("error") || (one.contains("allowed_special") && !all))
      continue;
    const std::vector<int32_t> expected = one["tokens"];
    std::vector<int32_t> got = encode(*tokenizer, one["text"], one["bos"], all);
    if (one["eos"])
      got.push_back(tokenizer->eos());
    EXPECT_EQ(got, expected) << one["id"];
    ++compared;
  }
  EXPECT_GT(compared, 450);
}

TEST_F(Llama3, IsTheSameWithoutTheImporter) {
  const auto opened = runtime::open_tokenizer(sharedData("tokenizer/llama3.tokenizer.model"));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const runtime::Tokenizer &alone = **opened;
  for (const json &one : (*cases)["encode"])
    EXPECT_EQ(encode(alone, one["text"], true, true), encode(*tokenizer, one["text"], true, true))
        << one["id"];
  ASSERT_EQ(alone.size(), tokenizer->size());
  for (int32_t id = 0; id < alone.size(); ++id) {
    ASSERT_EQ(alone.token_bytes(id), tokenizer->token_bytes(id)) << id;
    ASSERT_EQ(alone.is_special(id), tokenizer->is_special(id)) << id;
  }
  EXPECT_EQ(alone.bos(), tokenizer->bos());
  EXPECT_EQ(alone.eos(), tokenizer->eos());
  EXPECT_EQ(alone.pad(), tokenizer->pad());
  EXPECT_EQ(alone.stop_tokens(), tokenizer->stop_tokens());
}

TEST_F(Llama3, EncodesLongPiecesAsTheReference) {
  for (const json &one : (*cases)["encode_long"]) {
    if (one["differs_from_unsplit"] != false) // cut by the Python interface
      continue;
    std::string text;
    for (const json &part : one["parts"])
      for (int i = 0; i < part[1].get<int>(); ++i)
        text += part[0].get<std::string>();
    const std::vector<int32_t> got = encode(*tokenizer, text);
    const std::vector<int32_t> head = one["head"], tail = one["tail"];
    ASSERT_EQ(got.size(), one["n_tokens"].get<size_t>()) << one["id"];
    EXPECT_TRUE(std::equal(head.begin(), head.end(), got.begin())) << one["id"];
    EXPECT_TRUE(std::equal(tail.rbegin(), tail.rend(), got.rbegin())) << one["id"];
  }
}

TEST_F(Llama3, DecodesAsTheReference) {
  for (const json &one : (*cases)["decode"]) {
    std::vector<int32_t> ids;
    for (const json &id : one["tokens"])
      ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
    const auto text = tokenizer->decode(ids.data(), ids.size(), /*keep_special=*/true);
    ASSERT_EQ(text.ok(), !one.contains("error")) << one;
    if (text.ok()) {
      EXPECT_EQ(*text, one["text"].get<std::string>()) << one;
    }
  }
}

TEST_F(Llama3, EncodesHeadersAsTheReference) {
  for (const json &one : (*cases)["chat_headers"]) {
    std::string role = one["role"];
    role[0] = static_cast<char>(std::toupper(role[0]));
    EXPECT_EQ(encode(*tokenizer, role + ": "), one["tokens"].get<std::vector<int32_t>>());
  }
}

TEST_F(Llama3, HasTheSpecialTokensOfTheReference) {
  for (const auto &[name, id] : (*cases)["special_tokens"].items()) {
    EXPECT_EQ(encode(*tokenizer, name, false, true), std::vector<int32_t>{id.get<int32_t>()});
    EXPECT_TRUE(tokenizer->is_special(id));
  }
  EXPECT_EQ(tokenizer->size(), 128256);
  EXPECT_EQ(tokenizer->bos(), 128000);
  EXPECT_EQ(tokenizer->eos(), 128001);
  EXPECT_EQ(tokenizer->pad(), 128255);
  EXPECT_EQ(tokenizer->stop_tokens(), (std::vector<int32_t>{128001, 128009}));
}

} // namespace
} // namespace bitnet::import
