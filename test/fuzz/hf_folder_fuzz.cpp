// A Hugging Face folder on disk: config.json, the index, two shards, and the model that they make up with
// every weight, decoded. An input is these four files in this order with a line of dashes between them;
// without an index the first shard is the whole model.
#include "test/compiler/import/safetensors_writer.h"
#include "test/fuzz/checkpoint_checks.h"
#include "test/fuzz/fuzz_target.h"
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace bitnet::import;
using namespace bitnet::fuzz;
namespace fs = std::filesystem;

namespace {

constexpr char kBetween[] = "\n--------\n";

/// A folder of this process, in memory where there is a place for that, removed at its end.
struct Folder {
  const fs::path path = (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
                        ("bitnet_hf_fuzz_" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  /// An empty file is none.
  void put(const char *name, const std::string &bytes) const {
    if (bytes.empty())
      fs::remove(path / name);
    else
      std::ofstream(path / name, std::ios::binary | std::ios::trunc) << bytes;
  }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Folder folder;
  std::string input(reinterpret_cast<const char *>(data), size), files[4];
  for (std::string &file : files) {
    size_t end = input.find(kBetween);
    file = input.substr(0, end);
    input.erase(0, end == std::string::npos ? end : end + sizeof kBetween - 1);
  }
  const bool sharded = !files[1].empty();
  folder.put("config.json", files[0]);
  folder.put("model.safetensors.index.json", files[1]);
  folder.put("model.safetensors", sharded ? "" : files[2]);
  folder.put("a.safetensors", sharded ? files[2] : "");
  folder.put("b.safetensors", sharded ? files[3] : "");
  ImportOptions options;
  options.warn = [](const std::string &line) { check(line.find('\n') == std::string::npos); };
  decodeModel(partsOfHuggingFace(folder.path.string(), ModelSettings(), options), ModelSettings());
  return 0;
}

std::vector<std::string> bitnet::fuzz::seeds() {
  TinyHfModel floats(32), packed(32), mlx(32), qwen3(32), gemma3(32);
  packed.config["quantization_config"] = R"({"quant_method":"bitnet","modules_to_not_convert":null})";
  mlx.config["quantization"] = R"({"group_size":32,"bits":2,"lm_head":false,"model.norm":{"bits":2}})";
  for (const TinyHfModel::Matrix &m : floats.matrices()) {
    packed.packed(m);
    mlx.mlx(m, 32);
  }
  mlx.mlx({"model.embed_tokens", 16, 32}, 32);
  // Families with more norms, and all that config.json says of their rotation, layers and pooling.
  qwen3.config["model_type"] = "\"qwen3\"";
  qwen3.config["architectures"] = R"(["Qwen3Model"])";
  qwen3.config["hidden_act"] = "\"silu\"";
  qwen3.config["rope_parameters"] =
      R"({"rope_type":"yarn","rope_theta":1e6,"factor":4.0,"original_max_position_embeddings":16,"beta_fast":32,"beta_slow":1,"mscale":1.0,"mscale_all_dim":0.5,"truncate":false})";
  gemma3.config["model_type"] = "\"gemma3_text\"";
  gemma3.config.erase("hidden_act");
  gemma3.config["hidden_activation"] = "\"gelu_pytorch_tanh\"";
  gemma3.config["query_pre_attn_scalar"] = "16";
  gemma3.config["sliding_window"] = "32";
  gemma3.config["layer_types"] = R"(["sliding_attention"])";
  gemma3.config["rope_parameters"] =
      R"({"full_attention":{"rope_type":"linear","factor":8.0,"rope_theta":1e6},"sliding_attention":{"rope_type":"default","rope_theta":1e4}})";
  for (TinyHfModel *model : {&qwen3, &gemma3}) {
    model->tensors.erase("model.layers.0.self_attn.attn_sub_norm.weight");
    model->tensors.erase("model.layers.0.mlp.ffn_sub_norm.weight");
    for (const char *head : {"q", "k"})
      model->ones("model.layers.0.self_attn." + std::string(head) + "_norm", {16});
    for (const TinyHfModel::Matrix &m : model->matrices())
      model->ones(m.name + ".norm", {m.cols});
  }
  for (const char *norm : {"pre", "post"})
    gemma3.ones("model.layers.0." + std::string(norm) + "_feedforward_layernorm", {32});
  std::vector<std::string> seeds;
  for (const TinyHfModel *model : {&floats, &packed, &mlx, &qwen3, &gemma3}) {
    seeds.push_back(model->configText() + kBetween + kBetween + safeTensors(model->tensors));
    std::map<std::string, HfTensor> shards[2];
    std::string index;
    for (const auto &[name, tensor] : model->tensors) {
      const size_t shard = name.find("mlp") != std::string::npos;
      shards[shard][name] = tensor;
      index +=
          (index.empty() ? "{\"weight_map\":{\"" : ",\"") + name + "\":\"" + "ab"[shard] + ".safetensors\"";
    }
    seeds.push_back(model->configText() + kBetween + index + "}}" + kBetween + safeTensors(shards[0]) +
                    kBetween + safeTensors(shards[1]));
  }
  return seeds;
}
