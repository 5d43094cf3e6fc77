// Folders of mlx-lm: 2-bit words with scales and biases beside them, and what config.json says of them.
#include "test/compiler/import/import_testing.h"
#include "test/compiler/import/safetensors_writer.h"
#include <filesystem>
#include <unistd.h>

using namespace bitnet::import;
namespace fs = std::filesystem;

namespace {

class MlxFolder : public testing::Test {
protected:
  const std::string folder_ = testing::TempDir() + "mlx_" + std::to_string(getpid());
  TinyHfModel model_;
  std::unique_ptr<Checkpoint> checkpoint_;

  void SetUp() override {
    fs::create_directories(folder_);
    for (const TinyHfModel::Matrix &m : model_.matrices())
      model_.mlx(m);
    model_.config["quantization"] = R"({"group_size": 128, "bits": 2})";
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string open() {
    spill(folder_ + "/config.json", model_.configText());
    spill(folder_ + "/model.safetensors", safeTensors(model_.tensors));
    return openInto(checkpoint_, folder_, ImportOptions(), folder_, "F");
  }
};

TEST_F(MlxFolder, HoldsTritsAndScalesOfGroups) {
  model_.mlx({"model.embed_tokens", 16, 128});
  ASSERT_EQ(open(), "");
  EXPECT_EQ(checkpoint_->source(), "hugging face, 29 tensors, mlx_2bit");
  llvm::Expected<TernaryMatrix> down = checkpoint_->ternary("blk.0.ffn_down.weight");
  ASSERT_EQ(errorOf(down), "");
  ASSERT_EQ(down->rows, 128);
  ASSERT_EQ(down->cols, 256);
  EXPECT_EQ(down->groupCols, 0); // both groups of a row agree
  ASSERT_EQ(down->scales.size(), 128u);
  for (int row = 0; row < 128; ++row) {
    EXPECT_EQ(down->scales[size_t(row)], row % 2 ? 0.25f : 0.5f);
    for (int col = 0; col < 256; ++col)
      ASSERT_EQ(down->trits[size_t(row * 256 + col)], TinyHfModel::trit(row, col)) << row << ", " << col;
  }
  llvm::Expected<DenseTensor> rows = checkpoint_->dense("token_embd.weight", 1, 3);
  ASSERT_EQ(errorOf(rows), "");
  for (int row = 1; row < 3; ++row)
    for (int col = 0; col < 128; ++col)
      EXPECT_EQ(rows->values[size_t((row - 1) * 128 + col)],
                float(TinyHfModel::trit(row, col)) * (row % 2 ? 0.25f : 0.5f));
}

TEST_F(MlxFolder, MayHaveScalesThatDifferInARow) {
  std::string &scales = model_.tensors["model.layers.0.mlp.down_proj.scales"].bytes;
  std::string &biases = model_.tensors["model.layers.0.mlp.down_proj.biases"].bytes;
  scales.replace(0, 2, TinyHfModel::bf16(2));
  biases.replace(0, 2, TinyHfModel::bf16(-2));
  ASSERT_EQ(open(), "");
  llvm::Expected<TernaryMatrix> down = checkpoint_->ternary("blk.0.ffn_down.weight");
  ASSERT_EQ(errorOf(down), "");
  EXPECT_EQ(down->groupCols, 128);
  ASSERT_EQ(down->scales.size(), 256u);
  EXPECT_EQ(down->scales[0], 2.0f);
  EXPECT_EQ(down->scales[1], 0.5f);
}

TEST_F(MlxFolder, MustBeTernary) {
  model_.tensors["model.layers.0.mlp.up_proj.biases"].bytes.replace(0, 2, TinyHfModel::bf16(-1));
  ASSERT_EQ(open(), "");
  llvm::Expected<TernaryMatrix> up = checkpoint_->ternary("blk.0.ffn_up.weight");
  EXPECT_NE(errorOf(up).find("not a ternary model"), std::string::npos);
}

TEST_F(MlxFolder, SaysInItsConfigurationHowItWasPacked) {
  // mlx-lm writes the same once more under the other key.
  model_.config["quantization_config"] = model_.config["quantization"];
  EXPECT_EQ(open(), "");
  model_.config.erase("quantization");
  EXPECT_EQ(open(), "");
  model_.config["quantization_config"] =
      R"({"group_size": 128, "bits": 2, "mode": "affine", "lm_head": false, "model.embed_tokens": {"bits": 2}})";
  EXPECT_EQ(open(), "");
  model_.config.erase("quantization_config");
  EXPECT_EQ(open(),
            "F/model.safetensors: tensor 'model.layers.0.mlp.down_proj.weight': expected weights, got "
            "words of mlx without a key 'quantization' in config.json that says how to read them");
  for (auto [quantization, says] : std::initializer_list<std::pair<const char *, const char *>>{
           {R"({"group_size": 64, "bits": 4})",
            "F/config.json: quantization.bits: expected 2, got '4'; packs of mlx with other widths are not "
            "ternary"},
           {R"({"group_size": 128})",
            "F/config.json: quantization.bits: expected 2, got none; packs of mlx with other widths are not "
            "ternary"},
           {R"({"group_size": 96, "bits": 2})",
            "F/config.json: quantization.group_size: expected 32, 64 or 128, got '96'"},
           {R"({"group_size": 128, "bits": 2, "mode": "mxfp4"})",
            "F/config.json: quantization.mode: expected affine, got 'mxfp4'"},
           {R"({"group_size": 128, "bits": 2, "model.embed_tokens": {"group_size": 64, "bits": 8}})",
            "F/config.json: quantization of 'model.embed_tokens': bits: expected 2, got '8'; packs of mlx "
            "with "
            "other widths are not ternary"},
           {"2", "F/config.json: quantization: expected an object, got '2'"}}) {
    model_.config["quantization"] = quantization;
    EXPECT_EQ(open(), says);
  }
}

TEST_F(MlxFolder, NeedsScalesAndBiasesThatFit) {
  const std::string name = "model.layers.0.mlp.up_proj";
  const TinyHfModel good = model_;
  model_.tensors.erase(name + ".biases");
  EXPECT_EQ(open(), "F/model.safetensors: tensor 'model.layers.0.mlp.up_proj.weight': expected a tensor "
                    "'model.layers.0.mlp.up_proj.biases' beside it, got none");
  model_ = good;
  model_.tensors[name + ".scales"].shape = {512};
  model_.tensors[name + ".scales"].bytes.resize(1024);
  EXPECT_EQ(open(), "F/model.safetensors: tensor 'model.layers.0.mlp.up_proj.scales': expected F32, BF16 or "
                    "F16 [256, 1], got BF16 [512]");
  model_ = good;
  model_.tensors[name + ".biases"].dtype = "U16";
  EXPECT_EQ(open(), "F/model.safetensors: tensor 'model.layers.0.mlp.up_proj.biases': expected F32, BF16 or "
                    "F16 [256, 1], got U16 [256, 1]");
  model_ = good;
  model_.mlx({name, 256, 256}); // twice as wide as the graph wants
  EXPECT_EQ(open(), "F/model.safetensors: tensor 'model.layers.0.mlp.up_proj.weight': expected ternary or "
                    "float [256, 128], got U32 [256, 256]");
}

} // namespace
