// A Hugging Face folder on disk: config.json, the index, two shards, and the model that they make up with
// every weight, decoded. An input is these four files in this order with a line of dashes between them;
// without an index the first shard is the whole model.
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

/// A SafeTensors file of float tensors of ones and zeros.
class Shard {
public:
  Shard &add(const std::string &name, int rows, int cols) {
    std::string bytes;
    for (int i = 0; i < std::max(rows, 1) * cols; ++i)
      bytes += rows == 0 || i % 3 ? std::string("\x80\x3f", 2) : std::string(2, '\0');
    return raw(name, "BF16",
               rows == 0 ? std::to_string(cols) : std::to_string(rows) + "," + std::to_string(cols), bytes);
  }
  Shard &raw(const std::string &name, const std::string &dtype, const std::string &shape,
             const std::string &bytes) {
    header_ += (header_.empty() ? "{\"" : ",\"") + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" +
               shape + R"(],"data_offsets":[)" + std::to_string(data_.size()) + "," +
               std::to_string(data_.size() + bytes.size()) + "]}";
    data_ += bytes;
    return *this;
  }
  std::string finish() const {
    uint64_t length = header_.size() + 1;
    return std::string(reinterpret_cast<const char *>(&length), sizeof length) + header_ + "}" + data_;
  }

private:
  std::string header_, data_;
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
  const std::string config =
      R"({"model_type":"bitnet","hidden_size":32,"intermediate_size":48,"num_hidden_layers":1,)"
      R"("num_attention_heads":2,"num_key_value_heads":1,"vocab_size":16,"max_position_embeddings":64,)"
      R"("hidden_act":"relu2","rms_norm_eps":1e-5,"tie_word_embeddings":true)";
  const std::string packed = config + R"(,"quantization_config":{"quant_method":"bitnet"}})";
  const std::string index =
      R"({"weight_map":{"model.embed_tokens.weight":"a.safetensors","model.norm.weight":"a.safetensors",)"
      R"("model.layers.0.input_layernorm.weight":"a.safetensors",)"
      R"("model.layers.0.post_attention_layernorm.weight":"a.safetensors",)"
      R"("model.layers.0.self_attn.q_proj.weight":"a.safetensors",)"
      R"("model.layers.0.self_attn.k_proj.weight":"a.safetensors",)"
      R"("model.layers.0.self_attn.v_proj.weight":"a.safetensors",)"
      R"("model.layers.0.self_attn.o_proj.weight":"b.safetensors",)"
      R"("model.layers.0.mlp.gate_proj.weight":"b.safetensors","model.layers.0.mlp.up_proj.weight":"b.safetensors",)"
      R"("model.layers.0.mlp.down_proj.weight":"b.safetensors",)"
      R"("model.layers.0.mlp.down_proj.weight_scale":"b.safetensors"}})";
  const std::string layer = "model.layers.0.";
  Shard first, second, whole;
  for (Shard *shard : {&first, &whole})
    shard->add("model.embed_tokens.weight", 16, 32)
        .add("model.norm.weight", 0, 32)
        .add(layer + "input_layernorm.weight", 0, 32)
        .add(layer + "post_attention_layernorm.weight", 0, 32)
        .add(layer + "self_attn.q_proj.weight", 32, 32)
        .add(layer + "self_attn.k_proj.weight", 16, 32)
        .add(layer + "self_attn.v_proj.weight", 16, 32);
  for (Shard *shard : {&second, &whole})
    shard->add(layer + "self_attn.o_proj.weight", 32, 32)
        .add(layer + "mlp.gate_proj.weight", 48, 32)
        .add(layer + "mlp.up_proj.weight", 48, 32)
        .raw(layer + "mlp.down_proj.weight", "U8", "8,48", std::string(8 * 48, '\x98'))
        .raw(layer + "mlp.down_proj.weight_scale", "BF16", "1", std::string("\x00\x40", 2));
  auto join = [](std::initializer_list<std::string> files) {
    std::string input;
    for (const std::string &file : files)
      input += (&file == files.begin() ? "" : kBetween) + file;
    return input;
  };
  return {join({packed, "", whole.finish()}), join({packed, index, first.finish(), second.finish()}),
          join({config + "}", index, first.finish(), second.finish()})};
}
