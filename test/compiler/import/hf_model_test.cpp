// Hugging Face folders as models: config.json, the direction of weight_scale, shards, and refusals.
#include "compiler/import/HfConfig.h"
#include "test/compiler/import/import_testing.h"
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace bitnet::import;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json goodConfig() {
  return json::parse(
      R"({"model_type": "bitnet", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16, "max_position_embeddings": 64,
    "hidden_act": "relu2", "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": true,
    "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}})");
}

std::string configError(const json &config) {
  llvm::Expected<HfConfig> parsed = parseHfConfig(config.dump(), "config.json", nullptr);
  return errorOf(parsed);
}

json with(std::initializer_list<std::pair<const char *, json>> changes) {
  json config = goodConfig();
  for (const auto &[key, value] : changes)
    config[key] = value;
  return config;
}

TEST(HfConfig, TakesFloatsForIntegersAndBothFormsOfRope) {
  json config = with({{"hidden_size", 32.0}, {"rope_theta", 1000042}});
  llvm::Expected<HfConfig> parsed = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(parsed), "");
  EXPECT_EQ(parsed->model.width, 32);
  EXPECT_EQ(parsed->model.ropeTheta, 1000042.0f);
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 12345.0}};
  llvm::Expected<HfConfig> v5 = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(v5), "");
  EXPECT_EQ(v5->model.ropeTheta, 12345.0f);
}

TEST(HfConfig, TheLastOfTwoQuantizationConfigsCounts) {
  std::string warning, text = goodConfig().dump();
  text.insert(1, "\"quantization_config\": {\"quant_method\": \"gptq\"}, ");
  llvm::Expected<HfConfig> parsed =
      parseHfConfig(text, "config.json", [&](const std::string &w) { warning = w; });
  EXPECT_EQ(errorOf(parsed), "");
  EXPECT_EQ(warning, "config.json: key 'quantization_config' is there twice; the last one counts");
}

TEST(HfConfig, ReadsTheDirectionOfTheScale) {
  for (auto [text, divides] : {std::pair<const char *, bool>{R"({"quant_method": "bitnet"})", true},
                               {R"({"quant_method": "bitnet", "linear_class": "bitlinear"})", true},
                               {R"({"quant_method": "bitnet", "linear_class": "autobitlinear"})", false}}) {
    llvm::Expected<HfConfig> parsed =
        parseHfConfig(with({{"quantization_config", json::parse(text)}}).dump(), "config.json", nullptr);
    ASSERT_EQ(errorOf(parsed), "");
    EXPECT_EQ(parsed->scaleDivides, divides) << text;
  }
}

TEST(HfConfig, ReadsScaledRotation) {
  json config = with({{"rope_scaling",
                       {{"rope_type", "llama3"},
                        {"factor", 32.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}}}});
  llvm::Expected<HfConfig> llama3 = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(llama3), "");
  EXPECT_EQ(llama3->model.ropeScaling.kind, RopeScaling::Kind::llama3);
  EXPECT_EQ(llama3->model.ropeScaling.originalContext, 8192.0f);
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"mscale", 1.0}, {"mscale_all_dim", 0.5}};
  llvm::Expected<HfConfig> yarn = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(yarn), "");
  EXPECT_EQ(yarn->model.ropeScaling.originalContext, 64.0f); // max_position_embeddings
  EXPECT_FLOAT_EQ(ropeMagnitude(yarn->model.ropeScaling), 1.1386294f / 1.0693147f);
}

TEST(HfConfig, ReadsTheLayersOfGemma3) {
  json config = with(
      {{"model_type", "gemma3_text"}, {"num_hidden_layers", 7}, {"sliding_window", 32}, {"head_dim", 16}});
  config["query_pre_attn_scalar"] = 16;
  config.erase("quantization_config");
  config["architectures"] = {"Gemma3TextModel"};
  llvm::Expected<HfConfig> parsed = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(parsed), "");
  const ModelConfig &c = parsed->model;
  EXPECT_EQ(c.localLayers, (std::vector<bool>{1, 1, 1, 1, 1, 0, 1}));
  EXPECT_EQ(c.window, 32);
  EXPECT_EQ(c.localRopeTheta, 10000.0f);
  EXPECT_TRUE(c.headNorms && c.postNorms && c.embeds);
  config["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8}, {"rope_theta", 1e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}};
  llvm::Expected<HfConfig> v5 = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(v5), "");
  EXPECT_EQ(v5->model.ropeTheta, 1e6f);
  EXPECT_EQ(v5->model.localRopeTheta, 2e4f);
  EXPECT_EQ(v5->model.ropeScaling.factor, 8.0f);
  config["query_pre_attn_scalar"] = 256;
  EXPECT_EQ(configError(config),
            "config.json: query_pre_attn_scalar: expected the head size 16, got 256.000000; "
            "another scale of attention is not supported");
  config.erase("query_pre_attn_scalar"); // transformers' default
  EXPECT_NE(configError(config).find("query_pre_attn_scalar: expected the head size 16, got 256"),
            std::string::npos);
}

TEST(HfConfig, ReadsTheActivationUnderEachOfItsKeys) {
  json config = with({{"hidden_act", "silu"}, {"activation", "relu2"}});
  llvm::Expected<HfConfig> falcon = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(falcon), "");
  EXPECT_EQ(falcon->model.act, bitnet::format::Act::silu);
  config["hidden_activation"] = "gelu_pytorch_tanh"; // gemma's, which leaves hidden_act alone
  llvm::Expected<HfConfig> gemma = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(gemma), "");
  EXPECT_EQ(gemma->model.act, bitnet::format::Act::gelu);
  EXPECT_TRUE(gemma->decisions.empty());
  config["hidden_activation"] = "gelu";
  llvm::Expected<HfConfig> exact = parseHfConfig(config.dump(), "config.json", nullptr);
  ASSERT_EQ(errorOf(exact), "");
  ASSERT_EQ(exact->decisions.size(), 1u);
  EXPECT_EQ(exact->decisions[0].value, "gelu by tanh");
}

TEST(HfConfig, SaysWhatIsWrong) {
  EXPECT_EQ(configError(with({{"model_type", "qwen2"}})),
            "config.json: model_type 'qwen2': expected bitnet, llama, qwen3 or gemma3_text; its q, k and v "
            "have biases");
  EXPECT_EQ(
      configError(with({{"model_type", "prism_hadamard_qwen35"}})),
      "config.json: model_type 'prism_hadamard_qwen35': expected bitnet, llama, qwen3 or gemma3_text; its "
      "weights are rotated, and its layers are of two kinds (a hybrid of Gated DeltaNet and attention)");
  EXPECT_EQ(configError(with({{"parallel_attn", true}})),
            "config.json: parallel_attn: expected false, got true; that graph is not supported");
  EXPECT_EQ(
      configError(with({{"partial_rotary_factor", 0.5}})),
      "config.json: partial_rotary_factor: expected 1, got 0.500000; partial rotation is not supported");
  EXPECT_EQ(configError(with({{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}})),
            "config.json: rope_scaling: expected rope_type default, linear, llama3 or yarn, got 'dynamic'");
  EXPECT_EQ(configError(with({{"hidden_size", 32.5}})),
            "config.json: hidden_size: expected an integer of 1 to 2147483647, got '32.5'");
  EXPECT_EQ(configError(with({{"hidden_act", "tanh"}})),
            "config.json: hidden_act: expected relu2, silu or gelu, got 'tanh'");
  EXPECT_EQ(configError(with({{"attention_bias", true}})),
            "config.json: attention_bias: expected false, got true; biases are not supported");
  EXPECT_EQ(
      configError(with({{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 32}}}})),
      "config.json: rope_scaling.original_max_position_embeddings: expected a number of 1 to 1.67772e+07, "
      "got 0");
  for (const char *kept : {"model.layers.0.mlp.gate_proj", "model.layers.0", "mlp", "model"})
    EXPECT_EQ(
        configError(with({{"quantization_config",
                           {{"quant_method", "bitnet"}, {"modules_to_not_convert", {"lm_head", kept}}}}})),
        "config.json: quantization_config.modules_to_not_convert: expected no projection of a layer, got "
        "'\"" +
            std::string(kept) + "\"'");
  EXPECT_EQ(configError(with({{"quantization_config",
                               {{"quant_method", "bitnet"}, {"use_rms_norm", true}, {"rms_norm_eps", -1}}}})),
            "config.json: quantization_config.rms_norm_eps: expected a number above 0, got -1.000000");
  EXPECT_EQ(configError(with({{"quantization_config", {{"quant_method", "gptq"}}}})),
            "config.json: quantization_config.quant_method: expected bitnet, got 'gptq'");
  EXPECT_EQ(configError(with({{"quantization_config", {{"quant_method", "bitnet"}, {"linear_class", "x"}}}})),
            "config.json: quantization_config.linear_class: expected bitlinear or autobitlinear, got 'x'");
  EXPECT_EQ(configError(json::array()), "config.json: expected an object");
}

TEST(HfConfig, AnyValueOfAnyFieldIsTakenOrRefusedInOneLine) {
  const json values[] = {nullptr,       true,           -1,        0, 1e300, 4294967296, "x", "",
                         json::array(), json::object(), {{"a", 1}}};
  json good = goodConfig();
  for (const auto &[key, old] : good.items())
    for (const json &value : values) {
      std::string error = configError(with({{key.c_str(), value}}));
      if (!error.empty())
        expectOneLine(error);
    }
}

/// A folder with a model of one layer: packed weights of trits (row + col) % 3 - 1.
class HfFolder : public testing::Test {
protected:
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  std::map<std::string, Tensor> tensors_;
  json config_ = goodConfig();
  const std::string folder_ = testing::TempDir() + "hf_" + std::to_string(getpid());

  void SetUp() override {
    fs::create_directories(folder_);
    const std::string layer = "model.layers.0.";
    dense("model.embed_tokens", {16, 32});
    dense("model.norm", {32});
    dense(layer + "input_layernorm", {32});
    dense(layer + "post_attention_layernorm", {32});
    dense(layer + "self_attn.attn_sub_norm", {32});
    dense(layer + "mlp.ffn_sub_norm", {48});
    packed(layer + "self_attn.q_proj", 32, 32);
    packed(layer + "self_attn.k_proj", 16, 32);
    packed(layer + "self_attn.v_proj", 16, 32);
    packed(layer + "self_attn.o_proj", 32, 32);
    packed(layer + "mlp.gate_proj", 48, 32);
    packed(layer + "mlp.up_proj", 48, 32);
    packed(layer + "mlp.down_proj", 32, 48);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void dense(const std::string &name, std::vector<int64_t> shape) {
    int64_t n = 1;
    for (int64_t dim : shape)
      n *= dim;
    std::string bytes;
    for (int64_t i = 0; i < n; ++i)
      bytes += std::string("\x80\x3f", 2);
    tensors_[name + ".weight"] = {"BF16", shape, bytes};
  }
  void packed(const std::string &name, int64_t rows, int64_t cols) {
    tensors_[name + ".weight"] = {
        "U8", {rows / 4, cols}, std::string(size_t(rows / 4 * cols), '\x98')};    // 0 1 2 2 - 1
    tensors_[name + ".weight_scale"] = {"BF16", {1}, std::string("\x00\x40", 2)}; // 2.0
  }
  static std::string container(const std::map<std::string, Tensor> &tensors) {
    json header = json::object();
    std::string data;
    for (const auto &[name, t] : tensors) {
      header[name] = {{"dtype", t.dtype},
                      {"shape", t.shape},
                      {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
      data += t.bytes;
    }
    std::string text = header.dump();
    uint64_t length = text.size();
    return std::string(reinterpret_cast<const char *>(&length), 8) + text + data;
  }
  std::string open(const std::vector<std::pair<std::string, std::string>> &settings = {}) {
    spill(folder_ + "/config.json", config_.dump());
    ImportOptions options;
    options.settings = settings;
    return openInto(checkpoint_, folder_, options, folder_, "F");
  }
  std::string openWhole(const std::vector<std::pair<std::string, std::string>> &settings = {}) {
    spill(folder_ + "/model.safetensors", container(tensors_));
    return open(settings);
  }
  std::vector<float> scales(const std::string &name) {
    llvm::Expected<TernaryMatrix> m = checkpoint_->ternary(name);
    EXPECT_TRUE(bool(m));
    return m ? m->scales : (consumeError(m.takeError()), std::vector<float>());
  }
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(HfFolder, MultipliesOrDividesByTheScale) {
  ASSERT_EQ(openWhole(), "");
  EXPECT_EQ(scales("blk.0.ffn_down.weight"), std::vector<float>{2.0f});
  ASSERT_EQ(openWhole({{"scale", "divide"}}), "");
  EXPECT_EQ(scales("blk.0.ffn_down.weight"), std::vector<float>{0.5f});
  config_["quantization_config"].erase("linear_class");
  ASSERT_EQ(openWhole(), "");
  EXPECT_EQ(scales("blk.0.ffn_down.weight"), std::vector<float>{0.5f});
}

TEST_F(HfFolder, UnpacksStridedRows) {
  ASSERT_EQ(openWhole(), "");
  llvm::Expected<TernaryMatrix> k = checkpoint_->ternary("blk.0.attn_k.weight");
  ASSERT_TRUE(bool(k));
  const int8_t expected[4] = {-1, 1, 0, 1}; // 0x98 from the low bits: 0 2 1 2
  for (int row = 0; row < 16; ++row)
    EXPECT_EQ(k->trits[size_t(row) * 32], expected[row / 4]) << row;
}

TEST_F(HfFolder, RefusesAScaleThatIsNotFinite) {
  tensors_["model.layers.0.mlp.up_proj.weight_scale"].bytes = std::string("\x80\x7f", 2);
  ASSERT_EQ(openWhole(), "");
  llvm::Expected<TernaryMatrix> m = checkpoint_->ternary("blk.0.ffn_up.weight");
  EXPECT_NE(errorOf(m).find("expected a finite scale, got inf"), std::string::npos);
  config_["quantization_config"].erase("linear_class");
  tensors_["model.layers.0.mlp.up_proj.weight_scale"].bytes = std::string(2, '\0');
  ASSERT_EQ(openWhole(), "");
  llvm::Expected<TernaryMatrix> zero = checkpoint_->ternary("blk.0.ffn_up.weight");
  EXPECT_NE(errorOf(zero).find("expected a finite scale other than 0, got 0.000000"), std::string::npos);
}

TEST_F(HfFolder, NeedsAScaleBesidePackedWeights) {
  tensors_.erase("model.layers.0.mlp.up_proj.weight_scale");
  EXPECT_EQ(openWhole(), "F/model.safetensors: tensor 'model.layers.0.mlp.up_proj.weight': expected a tensor "
                         "'weight_scale' beside the packed weight, got none");
}

TEST_F(HfFolder, NamesTensorsThatAreNotThereAsItWould) {
  const auto without = [&](const std::string &name) {
    const auto tensor = tensors_.extract(name);
    EXPECT_FALSE(tensor.empty()) << name;
    const std::string error = openWhole();
    tensors_.insert({tensor.key(), tensor.mapped()});
    return error;
  };
  for (const char *name :
       {"model.embed_tokens.weight", "model.norm.weight", "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight", "model.layers.0.self_attn.attn_sub_norm.weight"})
    EXPECT_EQ(without(name).find("F: tensor '" + std::string(name) + "': expected ["), 0u) << without(name);
  config_["quantization_config"]["use_rms_norm"] = true;
  EXPECT_EQ(openWhole(),
            "F: tensor 'model.layers.0.self_attn.q_proj.rms_norm.weight': expected [32], got no such tensor");
}

TEST_F(HfFolder, NeedsPackedRowsToFit) {
  tensors_["model.layers.0.mlp.up_proj.weight"] = {"U8", {13, 32}, std::string(13 * 32, 'U')};
  EXPECT_EQ(openWhole(),
            "F/model.safetensors: tensor 'model.layers.0.mlp.up_proj.weight': expected ternary or float "
            "[48, 32], got U8 [13, 32]");
}

TEST_F(HfFolder, RefusesBiases) {
  dense("model.layers.0.self_attn.q_proj", {32});
  tensors_["model.layers.0.self_attn.q_proj.bias"] = tensors_["model.layers.0.self_attn.q_proj.weight"];
  packed("model.layers.0.self_attn.q_proj", 32, 32);
  EXPECT_EQ(openWhole(),
            "F/model.safetensors: tensor 'model.layers.0.self_attn.q_proj.bias': expected only tensors of "
            "the 1-layer decoder graph, got one that it has no place for");
}

TEST_F(HfFolder, ReadsShardsByTheirIndex) {
  std::map<std::string, Tensor> first, second;
  json map;
  for (const auto &[name, tensor] : tensors_) {
    bool one = map.size() % 2 == 0;
    (one ? first : second)[name] = tensor;
    map[name] = one ? "a.safetensors" : "b.safetensors";
  }
  spill(folder_ + "/a.safetensors", container(first));
  spill(folder_ + "/b.safetensors", container(second));
  auto writeIndex = [&] {
    spill(folder_ + "/model.safetensors.index.json",
          json{{"weight_map", map}, {"metadata", {{"total_size", 1}}}}.dump());
  };
  writeIndex();
  ASSERT_EQ(open(), "");
  EXPECT_EQ(scales("blk.0.attn_q.weight"), std::vector<float>{2.0f});
  map["model.norm.weight"] = map["model.norm.weight"] == "a.safetensors" ? "b.safetensors" : "a.safetensors";
  writeIndex();
  EXPECT_NE(
      open().find("tensor 'model.norm.weight': expected it here, as F/model.safetensors.index.json says"),
      std::string::npos);
  map["model.norm.weight"] = "../a.safetensors";
  writeIndex();
  EXPECT_EQ(
      open(),
      "F/model.safetensors.index.json: tensor 'model.norm.weight': expected a plain file name in the same "
      "folder, got '../a.safetensors'");
}

TEST_F(HfFolder, SaysHowItsEmbeddingsArePooled) {
  fs::create_directories(folder_ + "/1_Pooling");
  spill(
      folder_ + "/1_Pooling/config.json",
      R"({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true})");
  ASSERT_EQ(openWhole(), "");
  EXPECT_TRUE(checkpoint_->config().embeds);
  for (const char *other : {R"({"pooling_mode_mean_tokens": true, "pooling_mode_lasttoken": true})",
                            R"({"pooling_mode_cls_token": true})", "{}", "[]"}) {
    spill(folder_ + "/1_Pooling/config.json", other);
    EXPECT_EQ(
        openWhole(),
        "F/1_Pooling/config.json: expected pooling_mode_lasttoken true, got another way of pooling, which "
        "is not supported; --set pooling=last pools over the last token all the same");
    EXPECT_EQ(openWhole({{"pooling", "last"}}), "");
  }
}

TEST_F(HfFolder, RefusesSettingsThatMeanNothingInIt) {
  EXPECT_EQ(openWhole({{"ggml_type", "42:q2_0"}}),
            "--set ggml_type: expected a .gguf file, got F, which names its encodings");
}

TEST_F(HfFolder, NeedsSafetensors) {
  EXPECT_EQ(open(), "F: expected model.safetensors, model.safetensors.index.json, model_state_int2.pt or one "
                    ".gguf file, got none");
  spill(folder_ + "/pytorch_model.bin", "x");
  EXPECT_EQ(open(), "F: expected model.safetensors, model.safetensors.index.json, model_state_int2.pt or one "
                    ".gguf file, got "
                    "pytorch_model.bin, which can run code when it is read; convert it to safetensors");
}

TEST_F(HfFolder, OnlineWeightsAreAlwaysLatent) {
  // Exactly ternary, but declared latent: the reference takes the mean, zeros included.
  config_["quantization_config"]["quantization_mode"] = "online";
  std::string bytes;
  for (int i = 0; i < 48 * 32; ++i)
    bytes += i % 4 == 0 ? std::string(2, '\0') : std::string("\x80\x3f", 2);
  tensors_["model.layers.0.mlp.up_proj.weight"] = {"BF16", {48, 32}, bytes};
  tensors_.erase("model.layers.0.mlp.up_proj.weight_scale");
  ASSERT_EQ(openWhole(), "");
  EXPECT_EQ(scales("blk.0.ffn_up.weight"), std::vector<float>{0.75f});
}

} // namespace
