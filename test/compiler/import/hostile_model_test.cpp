// Models whose container is fine and whose values are not: each mistake in a GGUF file's keys and in a
// Hugging Face folder's config.json, and what is said of it.
#include "test/compiler/import/gguf_writer.h"
#include "test/compiler/import/import_testing.h"
#include "test/compiler/import/safetensors_writer.h"
#include <cmath>
#include <filesystem>
#include <limits>
#include <unistd.h>

using namespace bitnet::import;
namespace fs = std::filesystem;

namespace {

std::string errorOfPath(const std::string &path) {
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = openCheckpoint(path, ImportOptions());
  return errorOf(opened);
}

/// What the reader says of TinyModel with one key changed; a part of it is `says`, or it is accepted.
struct GgufCase {
  const char *key; ///< without the architecture
  std::function<void(GgufWriter &, const std::string &)> write;
  const char *says;
};
auto u32(uint32_t value) {
  return [value](GgufWriter &w, const std::string &key) { w.u32(key, value); };
}
auto f32(float value) {
  return [value](GgufWriter &w, const std::string &key) { w.f32(key, value); };
}
template <typename T> auto kind(uint32_t kind, T value) {
  return [=](GgufWriter &w, const std::string &key) { w.number(key, kind, value); };
}

TEST(HostileGguf, ModelsAreRefused) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const GgufCase cases[] = {
      // Sizes, in any integer type that they fit.
      {"attention.head_count", u32(0), "expected 1 to 2147483647, got 0"},
      {"attention.head_count", u32(3), "expected a number that divides the width 32, got 3"},
      {"attention.head_count", kind(5, int32_t(-2)), "expected 1 to 2147483647, got -2"},
      {"attention.head_count", kind(10, ~uint64_t(0)), "head_count': expected an integer, got u64"},
      {"attention.head_count", kind(10, uint64_t(2)), ""},
      {"attention.head_count", kind(5, int32_t(2)), ""},
      {"attention.head_count", kind(0, uint8_t(2)), ""},
      {"attention.head_count", f32(2), "expected an integer, got f32"},
      {"attention.head_count", kind(7, uint8_t(1)), "expected an integer, got bool"},
      {"attention.head_count_kv", u32(0), "expected 1 to 2147483647, got 0"},
      {"attention.head_count_kv", u32(3), "key/value heads that divide the 2 attention heads, got 3"},
      {"attention.key_length", u32(15), "head size: expected a multiple of"},
      {"attention.key_length", u32(0), "expected 1 to 2147483647, got 0"},
      {"attention.value_length", u32(8), "expected the key length 16, got 8"},
      {"block_count", u32(0), "expected 1 to 2147483647, got 0"},
      {"block_count", u32(1u << 31), "expected 1 to 2147483647, got 2147483648"},
      {"block_count", u32((1u << 31) - 1), "layers: expected a number of 1 to 4096, got 2147483647"},
      {"block_count", u32(4096), "tensor 'blk.1.attn_q.weight': expected [32, 32], got no such tensor"},
      {"embedding_length", u32(0), "expected 1 to 2147483647, got 0"},
      {"embedding_length", u32(64), "token_embd.weight': expected"},
      {"feed_forward_length", u32(0), "expected 1 to 2147483647, got 0"},
      {"feed_forward_length", u32(1u << 30), "ffn width: expected a multiple of 16 of 1 to 1048576"},
      {"context_length", u32(0), "expected 1 to 2147483647, got 0"},
      {"vocab_size", u32(17), "expected 16, the rows of token_embd.weight, got 17"},
      {"vocab_size", u32(15), "expected 16, the rows of token_embd.weight, got 15"},
      // Numbers of the norms and the rotation.
      {"attention.layer_norm_rms_epsilon", f32(0), "norm epsilon: expected a number above 0 and below 1"},
      {"attention.layer_norm_rms_epsilon", f32(-1e-5f),
       "norm epsilon: expected a number above 0 and below 1"},
      {"attention.layer_norm_rms_epsilon", f32(nan), "norm epsilon: expected a number above 0 and below 1"},
      {"attention.layer_norm_rms_epsilon", f32(inf), "norm epsilon: expected a number above 0 and below 1"},
      {"attention.layer_norm_rms_epsilon", kind(12, 1e-5), ""},
      {"attention.layer_norm_rms_epsilon", kind(12, 1e-300), "norm epsilon: expected a number above 0"},
      {"rope.freq_base", f32(0), "rope base: expected a number above 0"},
      {"rope.freq_base", f32(-10000), "rope base: expected a number above 0"},
      {"rope.freq_base", f32(nan), "rope base: expected a number above 0"},
      {"rope.freq_base", f32(inf), "rope base: expected a number above 0"},
      {"rope.freq_base", u32(500000), ""},
      {"rope.dimension_count", u32(15), "expected the head size 16, got 15"},
  };
  const std::string path = testing::TempDir() + "hostile_" + std::to_string(getpid()) + ".gguf";
  for (const GgufCase &c : cases) {
    TinyModel model;
    model.keys["bitnet-b1.58." + std::string(c.key)] = c.write;
    spill(path, model.finish());
    const std::string error = errorOfPath(path);
    SCOPED_TRACE(c.key);
    if (*c.says == 0) {
      EXPECT_EQ(error, "");
      continue;
    }
    expectOneLine(error);
    EXPECT_NE(error.find(c.says), std::string::npos) << error << " lacks " << c.says;
  }
  fs::remove(path);
}

TEST(HostileGguf, FewerLayersThanTensorsAreRefused) {
  TinyModel model;
  model.tensors["blk.1.attn_q.weight"] = model.tensors["blk.0.attn_q.weight"];
  const std::string path = testing::TempDir() + "layers_" + std::to_string(getpid()) + ".gguf";
  spill(path, model.finish());
  EXPECT_NE(errorOfPath(path).find("tensor 'blk.1.attn_q.weight': expected only tensors of the 1-layer"),
            std::string::npos);
  fs::remove(path);
}

/// The reader of tokens against a vocabulary of three.
TEST(HostileGguf, TokenIdsBeyondTheVocabularyAreRefused) {
  const std::string path = testing::TempDir() + "ids_" + std::to_string(getpid()) + ".gguf";
  for (const char *name : {"bos", "eos", "eot", "eom", "padding", "unknown"})
    for (uint32_t id : {3u, 16u, 0x7fffffffu, 0xffffffffu}) {
      TinyModel model;
      model.keys["tokenizer.ggml.model"] = [](GgufWriter &w, const std::string &key) { w.text(key, "gpt2"); };
      model.keys["tokenizer.ggml.pre"] = [](GgufWriter &w, const std::string &key) {
        w.text(key, "llama-bpe");
      };
      model.keys["tokenizer.ggml.tokens"] = [](GgufWriter &w, const std::string &key) {
        w.strings(key, {"a", "b", "ab"});
      };
      model.keys["tokenizer.ggml.merges"] = [](GgufWriter &w, const std::string &key) {
        w.strings(key, {"a b"});
      };
      model.set("tokenizer.ggml.eos_token_id", 1);
      model.set("tokenizer.ggml." + std::string(name) + "_token_id", id);
      spill(path, model.finish());
      const std::string error = errorOfPath(path);
      SCOPED_TRACE(std::string(name) + " " + std::to_string(id));
      expectOneLine(error);
      EXPECT_NE(error.find(std::to_string(id)), std::string::npos) << error;
    }
  fs::remove(path);
}

struct HfCase {
  const char *key, *json, *says;
};

TEST(HostileHfFolder, ModelsAreRefused) {
  const HfCase cases[] = {
      {"num_attention_heads", "0", "num_attention_heads: expected an integer of 1 to 2147483647, got '0'"},
      {"num_attention_heads", "3",
       "num_attention_heads: expected a number that divides hidden_size 128, got 3"},
      {"num_attention_heads", "-2", "num_attention_heads: expected an integer of 1 to 2147483647, got '-2'"},
      {"num_attention_heads", "2.5",
       "num_attention_heads: expected an integer of 1 to 2147483647, got '2.5'"},
      {"num_attention_heads", "2.0", ""},
      {"num_attention_heads", "\"2\"", "num_attention_heads: expected an integer"},
      {"num_attention_heads", "1e300", "num_attention_heads: expected an integer"},
      {"num_attention_heads", "18446744073709551618", "num_attention_heads: expected an integer"},
      {"num_attention_heads", "NaN", "num_attention_heads: expected an integer"},
      {"num_key_value_heads", "0", "num_key_value_heads: expected an integer"},
      {"num_key_value_heads", "3", "key/value heads that divide the 2 attention heads, got 3"},
      {"head_dim", "63", "head size: expected a multiple of"},
      {"head_dim", "0", "head_dim: expected an integer"},
      {"head_dim", "32",
       "tensor 'model.layers.0.self_attn.q_proj.weight': expected ternary or float [64, 128]"},
      {"num_hidden_layers", "2147483648", "num_hidden_layers: expected an integer"},
      {"num_hidden_layers", "2147483647", "layers: expected a number of 1 to 4096, got 2147483647"},
      {"num_hidden_layers", "2",
       "tensor 'model.layers.1.self_attn.q_proj.weight': expected [128, 128], got no such tensor"},
      {"input_bits", "4", "input_bits: expected 8, got '4'; other activations are not supported"},
      {"input_bits", "8", ""},
      {"hidden_size", "0", "hidden_size: expected an integer"},
      {"intermediate_size", "1099511627776", "intermediate_size: expected an integer"},
      {"max_position_embeddings", "-1", "max_position_embeddings: expected an integer"},
      {"vocab_size", "17", "tensor 'model.embed_tokens.weight': expected"},
      {"vocab_size", "15", "tensor 'model.embed_tokens.weight': expected"},
      {"rms_norm_eps", "0", "norm epsilon: expected a number above 0 and below 1, got 0"},
      {"rms_norm_eps", "-1e-5", "norm epsilon: expected a number above 0 and below 1, got -0.00001"},
      {"rms_norm_eps", "NaN", "rms_norm_eps: expected a number, got '\"NaN\"'"},
      {"rms_norm_eps", "Infinity", "rms_norm_eps: expected a number, got '\"Infinity\"'"},
      {"rms_norm_eps", "1e-300", "norm epsilon: expected a number above 0 and below 1, got 0"},
      {"rms_norm_eps", "\"1e-5\"", "rms_norm_eps: expected a number"},
      {"rope_theta", "0", "rope base: expected a number above 0"},
      {"rope_theta", "-1", "rope base: expected a number above 0"},
      {"rope_theta", "NaN", "rope_theta: expected a number, got '\"NaN\"'"},
      {"rope_theta", "-Infinity", "rope_theta: expected a number, got '\"-Infinity\"'"},
      {"rope_theta", "1e300", "rope base: expected a number above 0 and at most 1e12, got inf"},
      {"initializer_range", "NaN", ""}, // of no use here
      {"hidden_act", "1", "hidden_act: expected a string"},
      {"tie_word_embeddings", "1", "tie_word_embeddings: expected true or false"},
  };
  const std::string folder = testing::TempDir() + "hostile_" + std::to_string(getpid());
  fs::create_directories(folder);
  spill(folder + "/model.safetensors", safeTensors(TinyHfModel().tensors));
  for (const HfCase &c : cases) {
    TinyHfModel model;
    model.config[c.key] = c.json;
    spill(folder + "/config.json", model.configText());
    const std::string error = errorOfPath(folder);
    SCOPED_TRACE(std::string(c.key) + " " + c.json);
    if (*c.says == 0) {
      EXPECT_EQ(error, "");
      continue;
    }
    expectOneLine(error);
    EXPECT_NE(error.find(c.says), std::string::npos) << error << " lacks " << c.says;
  }
  fs::remove_all(folder);
}

} // namespace
