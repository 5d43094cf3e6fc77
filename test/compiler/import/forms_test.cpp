// One small trained model in six forms (data/kjv): all must come out as the same numbers.
#include "test/compiler/import/import_testing.h"

using namespace bitnet::import;

namespace {

const char *const kForms[] = {
    "kjv/gguf/kjv-i2_s.gguf",         "kjv/gguf/kjv-tq1_0.gguf", "kjv/gguf/kjv-tq2_0.gguf",
    "kjv/gguf/kjv-f16.gguf",          "kjv/hf-packed",           "kjv/hf-bf16",
    "kjv/hf-packed/model.safetensors"};
const char *const kLinears[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                "ffn_gate", "ffn_up", "ffn_down"};
const char *const kNorms[] = {"attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"};

std::unique_ptr<Checkpoint> open(const std::string &path) {
  llvm::Expected<std::unique_ptr<Checkpoint>> checkpoint = openCheckpoint(path, ImportOptions());
  if (!checkpoint) {
    ADD_FAILURE() << llvm::toString(checkpoint.takeError());
    return nullptr;
  }
  return std::move(*checkpoint);
}

TernaryMatrix ternary(const Checkpoint &checkpoint, const std::string &name) {
  llvm::Expected<TernaryMatrix> matrix = checkpoint.ternary(name);
  if (!matrix) {
    ADD_FAILURE() << llvm::toString(matrix.takeError());
    return TernaryMatrix();
  }
  return std::move(*matrix);
}

DenseTensor dense(const Checkpoint &checkpoint, const std::string &name, int32_t begin, int32_t end) {
  llvm::Expected<DenseTensor> tensor = checkpoint.dense(name, begin, end);
  if (!tensor) {
    ADD_FAILURE() << llvm::toString(tensor.takeError());
    return DenseTensor();
  }
  return std::move(*tensor);
}

std::string layerName(int layer, const std::string &part) {
  return "blk." + std::to_string(layer) + "." + part + ".weight";
}

class Forms : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    std::string first = sharedData(kForms[0]), path = sharedData(GetParam());
    if (first.empty() || path.empty())
      GTEST_SKIP() << "shared test data not found (BITNET_SHARED_DATA)";
    reference_ = open(first);
    checkpoint_ = open(path);
    ASSERT_TRUE(reference_ && checkpoint_);
  }
  std::unique_ptr<Checkpoint> reference_, checkpoint_;
};

TEST_P(Forms, HaveTheSameConfiguration) {
  const ModelConfig &c = checkpoint_->config();
  EXPECT_EQ(c.layers, 6);
  EXPECT_EQ(c.width, 256);
  EXPECT_EQ(c.ffnWidth, 768);
  EXPECT_EQ(c.heads, 4);
  EXPECT_EQ(c.kvHeads, 2);
  EXPECT_EQ(c.headDim, 64);
  EXPECT_EQ(c.vocab, 4096);
  EXPECT_EQ(c.context, 512);
  EXPECT_EQ(c.normEps, 1e-5f);
  EXPECT_EQ(c.ropeTheta, 500000.0f);
  EXPECT_EQ(c.act, bitnet::format::Act::relu2);
  EXPECT_TRUE(c.attnSubNorm && c.ffnSubNorm && c.tiedHead);
  EXPECT_EQ(c.family, "bitnet-b1.58");
}

TEST_P(Forms, HaveTheSameTritsAndScales) {
  for (int layer = 0; layer < 6; ++layer)
    for (const char *part : kLinears) {
      std::string name = layerName(layer, part);
      TernaryMatrix expected = ternary(*reference_, name), got = ternary(*checkpoint_, name);
      ASSERT_EQ(got.rows, expected.rows) << name;
      ASSERT_EQ(got.cols, expected.cols) << name;
      EXPECT_EQ(got.scales, expected.scales) << name;
      EXPECT_TRUE(got.trits == expected.trits) << name;
    }
}

TEST_P(Forms, HaveTheSameNormsAndEmbedding) {
  for (int layer = 0; layer < 6; ++layer)
    for (const char *part : kNorms)
      EXPECT_EQ(dense(*checkpoint_, layerName(layer, part), 0, 1).values,
                dense(*reference_, layerName(layer, part), 0, 1).values);
  EXPECT_EQ(dense(*checkpoint_, "output_norm.weight", 0, 1).values,
            dense(*reference_, "output_norm.weight", 0, 1).values);
  EXPECT_TRUE(dense(*checkpoint_, "token_embd.weight", 0, 4096).values ==
              dense(*reference_, "token_embd.weight", 0, 4096).values);
}

TEST_P(Forms, HaveATokenizerAndTheSameTemplate) {
  EXPECT_FALSE(checkpoint_->tokenizer().empty());
  EXPECT_FALSE(checkpoint_->chatTemplate().empty());
  EXPECT_EQ(checkpoint_->chatTemplate(), reference_->chatTemplate());
}

INSTANTIATE_TEST_SUITE_P(Kjv, Forms, testing::ValuesIn(kForms), [](const auto &info) {
  std::string name = info.param;
  for (char &c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)))
      c = '_';
  return name;
});

TEST(Dense, GivesTheRowsAskedFor) {
  std::string path = sharedData(kForms[0]);
  SKIP_WITHOUT(path);
  std::unique_ptr<Checkpoint> checkpoint = open(path);
  DenseTensor all = dense(*checkpoint, "token_embd.weight", 0, 4096);
  DenseTensor tail = dense(*checkpoint, "token_embd.weight", 4090, 5000);
  ASSERT_EQ(tail.rows, 6);
  EXPECT_TRUE(std::equal(tail.values.begin(), tail.values.end(), all.values.end() - 6 * 256));
}

TEST(Source, SaysWhatWasRead) {
  std::string gguf = sharedData("kjv/gguf/kjv-f16.gguf"), folder = sharedData("kjv/hf-packed");
  SKIP_WITHOUT(gguf);
  EXPECT_EQ(open(gguf)->source(), "gguf v3, 68 tensors, f16 ternary");
  EXPECT_EQ(open(folder)->source(), "hugging face, 110 tensors, packed u8");
}

} // namespace
