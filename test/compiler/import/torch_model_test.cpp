// .pt checkpoints as models: which rows, scales and heads, what is decided for the user, what a folder holds.
#include "compiler/import/StoredCheckpoint.h"
#include "compiler/import/TorchConfig.h"
#include "test/compiler/import/import_testing.h"
#include "test/compiler/import/torch_writer.h"
#include <filesystem>
#include <unistd.h>

using namespace bitnet::import;
namespace fs = std::filesystem;

namespace {

class TorchModel : public testing::Test {
protected:
  const std::string folder_ = testing::TempDir() + "torch_" + std::to_string(getpid());
  const std::string file_ = folder_ + "/model_state_int2.pt";
  ImportOptions options_;
  std::vector<std::string> warnings_;
  std::unique_ptr<Checkpoint> checkpoint_;

  void SetUp() override {
    fs::create_directories(folder_);
    options_.settings = {{"heads", "2"}};
    options_.warn = [this](const std::string &line) { warnings_.push_back(line); };
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Opens and keeps; the error, with F for the folder.
  std::string open(const std::string &path) { return openInto(checkpoint_, path, options_, folder_, "F"); }
  std::string open(const TorchWriter &model) {
    spill(file_, model.finish());
    return open(file_);
  }
  TernaryMatrix ternary(const std::string &name) const {
    llvm::Expected<TernaryMatrix> matrix = checkpoint_->ternary("blk.0." + name + ".weight");
    if (matrix)
      return std::move(*matrix);
    ADD_FAILURE() << llvm::toString(matrix.takeError());
    return TernaryMatrix();
  }
  /// The decision of this name, as value: reason.
  std::string decision(const std::string &what) const {
    for (const Decision &d : checkpoint_->decisions())
      if (d.what == what)
        return d.value + ": " + d.reason;
    return "";
  }
};

TEST_F(TorchModel, HasTheConstantsOfTheOriginalsCode) {
  ASSERT_EQ(open(TinyTorchModel()), "");
  const ModelConfig &c = checkpoint_->config();
  EXPECT_EQ(c.family, "bitnet-b1.58");
  EXPECT_EQ(c.name, fs::path(folder_).filename());
  EXPECT_EQ(std::vector<int32_t>(
                {c.layers, c.width, c.ffnWidth, c.heads, c.kvHeads, c.headDim, c.vocab, c.context}),
            std::vector<int32_t>({1, 32, 48, 2, 1, 16, 16, 4096}));
  EXPECT_EQ(c.normEps, 1e-5f);
  EXPECT_EQ(c.subNormEps, 1e-6f);
  EXPECT_EQ(c.ropeTheta, 500000.0f);
  EXPECT_EQ(c.act, bitnet::format::Act::relu2);
  EXPECT_TRUE(c.attnSubNorm && c.ffnSubNorm && c.tiedHead);
  EXPECT_EQ(checkpoint_->source(), "torch zip, 13 tensors, int2");
  EXPECT_EQ(decision("heads"), "2/1: set by the user");
  EXPECT_EQ(decision("sub_norm_eps"),
            "1e-6: a .pt checkpoint does not say; the value of the original's code");
  options_.settings = {{"heads", "2"}, {"context", "64"}, {"norm_eps", "0.25"}, {"sub_norm_eps", "0.5"}};
  ASSERT_EQ(open(file_), "");
  EXPECT_EQ(checkpoint_->config().context, 64);
  EXPECT_EQ(checkpoint_->config().normEps, 0.25f);
  EXPECT_EQ(checkpoint_->config().subNormEps, 0.5f);
  EXPECT_EQ(decision("norm_eps"), "0.250000: set by the user");
}

TEST_F(TorchModel, CutsRowsWithTheScaleOfEachProjection) {
  ASSERT_EQ(open(TinyTorchModel()), "");
  const std::tuple<const char *, int32_t, int32_t, float> parts[] = {
      {"attn_q", 32, 32, 1.0f},      {"attn_k", 16, 32, 2.0f},   {"attn_v", 16, 32, 3.0f},
      {"attn_output", 32, 32, 4.0f}, {"ffn_gate", 48, 32, 5.0f}, {"ffn_up", 48, 32, 6.0f},
      {"ffn_down", 32, 48, 7.0f}};
  for (auto [name, rows, cols, scale] : parts) {
    const TernaryMatrix m = ternary(name);
    EXPECT_EQ(m.rows, rows) << name;
    EXPECT_EQ(m.cols, cols) << name;
    EXPECT_EQ(m.scales, std::vector<float>{scale}) << name;
  }
}

/// Row r of wqkv has one weight other than 0, in column r % 32.
TEST_F(TorchModel, ReadsRowsOfQAndKAsPairs) {
  TinyTorchModel model;
  std::string bytes;
  for (int row = 0; row < 64; ++row)
    for (int col = 0; col < 32; ++col)
      bytes += ZipWriter::number(col == row % 32 ? (row % 3 ? 0x3f80 : 0xbf80) : 0, 2);
  model.add("layers.0.attention.wqkv.weight", "BFloat16Storage", {64, 32}, bytes);
  model.tensors.erase("layers.0.attention.wqkv.weight_scale");
  ASSERT_EQ(open(model), "");
  EXPECT_EQ(checkpoint_->source(), "torch zip, 12 tensors, bf16 ternary");
  const TernaryMatrix q = ternary("attn_q"), k = ternary("attn_k"), v = ternary("attn_v");
  auto at = [](const TernaryMatrix &m, int row, int col) { return m.trits[size_t(row * 32 + col)]; };
  for (int head = 0; head < 2; ++head)
    for (int j = 0; j < 8; ++j)
      for (int s = 0; s < 2; ++s) {
        const int theirs = 16 * head + 2 * j + s; // neighbours turn together there, halves here
        EXPECT_EQ(at(q, 16 * head + 8 * s + j, theirs), theirs % 3 ? 1 : -1);
        EXPECT_EQ(at(k, 8 * s + j, 2 * j + s), (2 * j + s + 32) % 3 ? 1 : -1);
      }
  for (int row = 0; row < 16; ++row)
    EXPECT_EQ(at(v, row, 16 + row), (row + 48) % 3 ? 1 : -1);
}

TEST_F(TorchModel, TiesTheHeadIfItIsTheEmbedding) {
  TinyTorchModel model;
  model.tensors["output.weight"] = model.tensors["tok_embeddings.weight"]; // one storage
  ASSERT_EQ(open(model), "");
  EXPECT_TRUE(checkpoint_->config().tiedHead);
  EXPECT_EQ(decision("head"), "tied: its bytes are those of the embedding, which is stored once");
  model.bf16("output.weight", {16, 32}); // a copy
  ASSERT_EQ(open(model), "");
  EXPECT_TRUE(checkpoint_->config().tiedHead);
  model.storages["output.weight"].bytes[1023] = '\x40';
  ASSERT_EQ(open(model), "");
  EXPECT_FALSE(checkpoint_->config().tiedHead);
  EXPECT_EQ(decision("head"), "");
  model.bf16("output.weight", {16, 16});
  EXPECT_EQ(
      open(model),
      "F/model_state_int2.pt: tensor 'output.weight': expected float or block-scaled [16, 32], got bf16 "
      "[16, 16]");
}

TEST_F(TorchModel, NeedsTheNumberOfHeads) {
  spill(file_, TinyTorchModel().finish());
  options_.settings = {};
  EXPECT_EQ(open(file_), "F/model_state_int2.pt: attention heads: expected their number, got none, for a .pt "
                         "checkpoint does not say "
                         "it; --set heads=N (and kv_heads=M), or n_heads in a params.json beside it");
  options_.settings = {{"kv_heads", "2"}};
  ASSERT_EQ(open(file_), "");
  EXPECT_EQ(checkpoint_->config().heads, 4);
  for (const char *heads : {"3", "4", "64"}) {
    options_.settings = {{"heads", heads}, {"kv_heads", "1"}};
    EXPECT_EQ(open(file_),
              std::string("F/model_state_int2.pt: attention heads: expected numbers of heads of one size "
                          "for query width 32 and key width 16, got ") +
                  heads + " and 1 (set by the user)");
  }
  options_.settings = {};
  for (const char *text :
       {R"({"n_heads": 2, "n_kv_heads": 1, "rope_theta": 10000, "norm_eps": 0.125})",
        R"({"model": {"dim": 32, "n_layers": 1, "n_heads": 2, "rope_theta": 1e4, "norm_eps": 0.125}})",
        R"({"num_attention_heads": 2, "hidden_size": 32.0, "num_hidden_layers": 1, "vocab_size": 16,
                               "intermediate_size": 48, "rope_theta": 10000.0, "rms_norm_eps": 0.125})",
        R"({"head_dim": 16, "rope_theta": 10000, "norm_eps": 0.125})"}) {
    spill(folder_ + "/params.json", text);
    ASSERT_EQ(open(file_), "") << text;
    EXPECT_EQ(checkpoint_->config().heads, 2);
    EXPECT_EQ(checkpoint_->config().kvHeads, 1);
    EXPECT_EQ(checkpoint_->config().ropeTheta, 10000.0f);
    EXPECT_EQ(checkpoint_->config().normEps, 0.125f);
    EXPECT_EQ(checkpoint_->config().subNormEps, 1e-6f);
    EXPECT_EQ(decision("heads"), "2/1: " + folder_ + "/params.json");
    EXPECT_EQ(decision("rope_theta"), "");
  }
  fs::remove(folder_ + "/params.json");
  spill(folder_ + "/config.json", R"({"n_heads": 4, "max_position_embeddings": 128})");
  ASSERT_EQ(open(file_), "");
  EXPECT_EQ(checkpoint_->config().heads, 4);
  EXPECT_EQ(checkpoint_->config().context, 128);
  options_.settings = {{"heads", "2"}}; // the user's word counts
  ASSERT_EQ(open(file_), "");
  EXPECT_EQ(checkpoint_->config().heads, 2);
}

TEST_F(TorchModel, RefusesAConfigurationOfAnotherModel) {
  spill(file_, TinyTorchModel().finish());
  const std::pair<const char *, const char *> cases[] = {
      {R"({"dim": 64})", "width: expected 32, as the tensors of F/model_state_int2.pt have, got 64"},
      {R"({"n_layers": 2})", "layers: expected 1, as the tensors of F/model_state_int2.pt have, got 2"},
      {R"({"ffn_dim": 0})", "ffn_dim: expected an integer of 1 to 2147483647, got '0'"},
      {R"({"rope_theta": "x"})", "rope_theta: expected a number, got '\"x\"'"},
      {R"({"hidden_act": "tanh"})", "hidden_act: expected relu2, silu or gelu, got '\"tanh\"'"},
      {R"([])", "expected an object, got '[]'"},
      {R"({)", "expected JSON, got text that does not parse"}};
  for (auto [text, error] : cases) {
    spill(folder_ + "/params.json", text);
    EXPECT_EQ(open(file_), std::string("F/params.json: ") + error);
  }
}

/// All matrices of 2B-4T's sizes are views of one storage, so the file is small.
TEST_F(TorchModel, KnowsTheSizesOf2B4T) {
  TorchWriter model;
  model.storages["codes"] = {"CharStorage", 13824 * 640, std::string(13824 * 640, '\x56')};
  model.bf16("tok_embeddings.weight", {16, 2560});
  model.bf16("scale", {4});
  const std::string layer = "layers.0.";
  auto matrix = [&](const std::string &name, int64_t rows, int64_t cols) {
    model.tensors[layer + name + ".weight"] = {"codes", 0, {rows, cols / 4}, {cols / 4, 1}};
    model.tensors[layer + name + ".weight_scale"] = model.tensors["scale"];
  };
  matrix("attention.wqkv", 3840, 2560);
  matrix("attention.wo", 2560, 2560);
  matrix("feed_forward.w13", 13824, 2560);
  matrix("feed_forward.w2", 2560, 6912);
  for (const char *norm :
       {"norm", "layers.0.attention_norm", "layers.0.ffn_norm", "layers.0.attention.attn_sub_norm"})
    model.bf16(norm + std::string(".weight"), {2560});
  model.bf16(layer + "feed_forward.ffn_sub_norm.weight", {6912});
  options_.settings = {};
  ASSERT_EQ(open(model), "");
  EXPECT_EQ(checkpoint_->config().heads, 20);
  EXPECT_EQ(checkpoint_->config().kvHeads, 5);
  EXPECT_EQ(checkpoint_->config().headDim, 128);
  EXPECT_EQ(decision("heads"),
            "20/5: a .pt checkpoint does not say; the sizes are those of BitNet b1.58 2B-4T, whose "
            "heads are 128 wide");
  EXPECT_EQ(warnings_, std::vector<std::string>{file_ + ": 1 tensors are not used, 'scale' among them"});
}

TEST_F(TorchModel, SaysWhatIsWrong) {
  const std::string at = "F/model_state_int2.pt: tensor '", wqkv = "layers.0.attention.wqkv.weight";
  TinyTorchModel good;
  auto with = [&](auto change) {
    TinyTorchModel model;
    change(model);
    return open(model);
  };
  for (const auto &[name, tensor] : good.tensors)
    EXPECT_EQ(with([&, key = name](TorchWriter &m) { m.tensors.erase(key); }),
              at + name +
                  "': expected a tensor of that name, as microsoft/BitNet's gpu folder writes it, got none");
  EXPECT_EQ(with([&](TorchWriter &m) {
              m.tensors[wqkv].strides = {0, 1};
            }),
            at + wqkv +
                "': expected rows one after the other, got a view with gaps or in another order; save "
                "tensor.contiguous()");
  EXPECT_EQ(with([&](TorchWriter &m) {
              m.tensors[wqkv].shape = {32, 16}, m.tensors[wqkv].strides = {16, 1};
            }),
            at + wqkv + "': expected the rows of q, k and v, 32 of them q's, got 32");
  options_.settings = {{"heads", "4"}};
  EXPECT_EQ(
      with([&](TinyTorchModel &m) {
        m.packed("layers.0.attention.wqkv", 80, 32, {0, 0, 0, 0});
      }),
      at + wqkv +
          "': expected tiles of 16 rows and 32 columns, got 24 rows of blk.0.attn_k.weight and 32 columns");
  options_.settings = {{"heads", "2"}};
  EXPECT_EQ(with([&](TinyTorchModel &m) {
              m.packed("layers.0.attention.wo", 48, 32, {0, 0, 0, 0});
            }),
            at + "layers.0.attention.wo.weight': expected 32 rows, got 48");
  EXPECT_EQ(with([&](TorchWriter &m) { m.tensors[wqkv + "_scale"].shape = {2}; }),
            at + wqkv + "_scale': expected 3 values of bf16, f16 or f32 or more, got bf16 [2]");
  EXPECT_EQ(with([&](TorchWriter &m) {
              m.add(wqkv, "ByteStorage", {64, 8}, std::string(512, 'x'));
            }),
            at + wqkv + "': expected ternary or float [32, 32], got uint8 [32, 8]");
  EXPECT_EQ(with([&](TorchWriter &m) { m.bf16("layers.0.attention.wqkv.bias", {64}); }),
            at + "layers.0.attention.wqkv.bias': expected only tensors of the 1-layer decoder graph, got one "
                 "that it has "
                 "no place for");
  EXPECT_EQ(
      with([&](TorchWriter &m) { m.bf16("layers.2.ffn_norm.weight", {32}); }),
      at +
          "layers.1.attention_norm.weight': expected a tensor of that name, as microsoft/BitNet's gpu folder "
          "writes it, got none");
  // Code 0 is found when the matrix is read.
  TinyTorchModel zero;
  zero.storages[wqkv].bytes[300] = '\x54';
  ASSERT_EQ(open(zero), "");
  llvm::Expected<TernaryMatrix> q = checkpoint_->ternary("blk.0.attn_q.weight"),
                                k = checkpoint_->ternary("blk.0.attn_k.weight");
  EXPECT_EQ(errorOf(q), "");
  const std::string error = errorOf(k);
  EXPECT_NE(error.find("tensor '" + wqkv + "': byte "), std::string::npos) << error;
  EXPECT_NE(error.find("expected 2-bit codes 1..3, got 0"), std::string::npos) << error;
}

TEST_F(TorchModel, AFolderHoldsOneCheckpoint) {
  const std::string gguf = std::getenv("BITNET_SHARED_DATA") ? sharedData("kjv/gguf/kjv-tq1_0.gguf") : "";
  spill(folder_ + "/model_state.pt", TinyTorchModel().finish());
  ASSERT_EQ(open(folder_), "");
  EXPECT_EQ(checkpoint_->source(), "torch zip, 13 tensors, int2");
  spill(folder_ + "/model_state_fp16.pt", "x"); // comes first
  EXPECT_EQ(open(folder_ + "/"), "F/model_state_fp16.pt: expected a file of torch.save, got 1 bytes");
  spill(file_, "xyz!");
  EXPECT_EQ(open(folder_),
            "F/model_state_int2.pt: byte 0: expected a file of torch.save ('PK' or a pickle), got "
            "'xyz!'");
  for (const char *name : {"/model_state.pt", "/model_state_fp16.pt", "/model_state_int2.pt"})
    fs::remove(folder_ + name);
  spill(folder_ + "/b.gguf", "x");
  spill(folder_ + "/a.gguf", "x");
  EXPECT_EQ(open(folder_), "F: expected one .gguf file, got 2 ('a.gguf', 'b.gguf'); name the file itself");
  fs::remove(folder_ + "/a.gguf");
  EXPECT_EQ(open(folder_),
            "--set heads: expected a .pt checkpoint, got F/b.gguf, which says itself how many heads it "
            "has");
  SKIP_WITHOUT(gguf);
  fs::copy_file(gguf, folder_ + "/b.gguf", fs::copy_options::overwrite_existing);
  options_.settings = {};
  ASSERT_EQ(open(folder_), "");
  EXPECT_EQ(checkpoint_->config().heads, 4);
  spill(folder_ + "/model.safetensors", "x"); // comes before it
  EXPECT_NE(open(folder_).find("model.safetensors: expected 8 bytes of header length"), std::string::npos);
}

TEST_F(TorchModel, TakesTheTokenizerBesideTheFile) {
  ASSERT_EQ(open(TinyTorchModel()), "");
  EXPECT_TRUE(checkpoint_->tokenizer().empty());
  std::string ranks; // "A" to "P", and 256 special tokens: more than the 16 rows of the embedding
  const char *letters[] = {"QQ==", "Qg=="};
  for (int i = 0; i < 2; ++i)
    ranks += letters[i] + (" " + std::to_string(i)) + "\n";
  spill(folder_ + "/tokenizer.model", ranks);
  EXPECT_EQ(open(file_),
            "F: expected a tokenizer of at most 16 tokens, as many as the embedding has rows, got 258");
  TinyTorchModel model;
  model.bf16("tok_embeddings.weight", {258, 32});
  ASSERT_EQ(open(model), "");
  EXPECT_FALSE(checkpoint_->tokenizer().empty());
}

/// The kjv model in this form and in another: the same trits, scales, norms and embedding.
TEST(TorchForms, HoldTheSameNumbers) {
  const std::string gpu = sharedData("kjv/gpu/model_state_int2.pt"),
                    gguf = sharedData("kjv/gguf/kjv-i2_s.gguf");
  SKIP_WITHOUT(gpu);
  ImportOptions options;
  llvm::Expected<std::unique_ptr<Checkpoint>> theirs = openCheckpoint(gguf, options);
  options.settings = {{"heads", "4"}};
  llvm::Expected<std::unique_ptr<Checkpoint>> ours = openCheckpoint(gpu, options);
  ASSERT_EQ(errorOf(ours) + errorOf(theirs), "");
  EXPECT_TRUE((*ours)->config().tiedHead);
  for (int32_t layer = 0; layer < 6; ++layer) {
    for (const char *part : kLinearNames) {
      llvm::Expected<TernaryMatrix> a = (*ours)->ternary(layerTensor(layer, part)),
                                    b = (*theirs)->ternary(layerTensor(layer, part));
      ASSERT_EQ(errorOf(a) + errorOf(b), "");
      EXPECT_EQ(a->scales, b->scales) << layer << part;
      EXPECT_TRUE(a->trits == b->trits) << layer << part;
    }
    for (const char *norm : {"attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"}) {
      llvm::Expected<DenseTensor> a = (*ours)->dense(layerTensor(layer, norm), 0, 1),
                                  b = (*theirs)->dense(layerTensor(layer, norm), 0, 1);
      ASSERT_EQ(errorOf(a) + errorOf(b), "");
      EXPECT_EQ(a->values, b->values) << layer << norm;
    }
  }
  llvm::Expected<DenseTensor> a = (*ours)->dense("token_embd.weight", 0, 4096),
                              b = (*theirs)->dense("token_embd.weight", 0, 4096);
  ASSERT_EQ(errorOf(a) + errorOf(b), "");
  EXPECT_TRUE(a->values == b->values);
}

/// convert_checkpoint.py made the other two forms of the latents.
TEST(TorchForms, LatentsBecomeWhatTheConverterMadeOfThem) {
  const std::string folder = sharedData("ms_gpu/tiny-ckpt");
  SKIP_WITHOUT(folder);
  ImportOptions options;
  options.settings = {{"heads", "4"}, {"kv_heads", "2"}};
  std::vector<std::unique_ptr<Checkpoint>> forms;
  for (const char *name : {"model_state", "model_state_fp16", "model_state_int2"}) {
    llvm::Expected<std::unique_ptr<Checkpoint>> form = openCheckpoint(folder + "/" + name + ".pt", options);
    ASSERT_EQ(errorOf(form), "");
    forms.push_back(std::move(*form));
  }
  EXPECT_EQ(forms[0]->source(), "torch zip, 19 tensors, bf16 latent");
  EXPECT_EQ(forms[1]->source(), "torch zip, 19 tensors, bf16 ternary");
  for (int32_t layer = 0; layer < 2; ++layer)
    for (const char *part : kLinearNames) {
      llvm::Expected<TernaryMatrix> packed = forms[2]->ternary(layerTensor(layer, part));
      ASSERT_EQ(errorOf(packed), "");
      for (int form : {0, 1}) {
        llvm::Expected<TernaryMatrix> other = forms[size_t(form)]->ternary(layerTensor(layer, part));
        ASSERT_EQ(errorOf(other), "");
        EXPECT_TRUE(other->trits == packed->trits) << form << layer << part;
        EXPECT_EQ(other->scales, packed->scales) << form << layer << part;
      }
    }
}

} // namespace
