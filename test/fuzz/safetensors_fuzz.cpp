// SafeTensors: the header; and what else of a Hugging Face folder is JSON: config.json and the index of
// shards. The first byte picks the reader, so that one target covers the three.
#include "compiler/import/HfConfig.h"
#include "compiler/import/SafeTensors.h"
#include "test/fuzz/checkpoint_checks.h"
#include "test/fuzz/fuzz_target.h"
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace bitnet::import;
using namespace bitnet::fuzz;

namespace {

void readHeader(std::string bytes) {
  std::shared_ptr<ByteSource> source = bytesInMemory("fuzz.safetensors", std::move(bytes));
  llvm::Expected<SafeTensorsFile> file = SafeTensorsFile::read(source);
  if (!ok(file))
    return;
  uint64_t total = 0;
  for (const auto &[name, tensor] : file->tensors()) {
    std::string data(size_t(tensor.bytes), '\0');
    llvm::Error error = source->read(tensor.offset, data.data(), data.size());
    check(!error); // an accepted tensor lies inside the file
    total += tensor.bytes;
  }
  check(total <= source->size()); // and overlaps no other
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  std::string bytes(reinterpret_cast<const char *>(data) + 1, size - 1);
  if (data[0] % 3 == 0)
    readHeader(std::move(bytes));
  else if (data[0] % 3 == 1)
    ok(parseHfConfig(bytes, "config.json", [](const std::string &) {}));
  else
    ok(parseShardIndex(bytes, "model.safetensors.index.json", [](const std::string &) {}));
  return 0;
}

std::vector<std::string> bitnet::fuzz::seeds() {
  std::vector<std::string> seeds = {
      std::string(1, '\1') +
          R"({"model_type": "bitnet", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16, "max_position_embeddings": 64,
        "hidden_act": "relu2", "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": true,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "quantization_config": {"quant_method": "bitnet",
        "linear_class": "autobitlinear", "quantization_mode": "offline", "modules_to_not_convert": ["lm_head"]}})",
      std::string(1, '\2') +
          R"({"metadata": {"total_size": 12}, "weight_map": {"a.weight": "model-1.safetensors",
        "b.weight": "model-2.safetensors"}})"};
  std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})";
  uint64_t length = header.size();
  seeds.push_back(std::string(1, '\0') + std::string(reinterpret_cast<const char *>(&length), 8) + header +
                  std::string(19, 'x'));
  const char *shared = std::getenv("BITNET_SHARED_DATA");
  std::error_code error;
  for (const auto &entry : std::filesystem::directory_iterator(
           std::string(shared ? shared : "") + "/safetensors_malformed", error))
    if (entry.path().extension() == ".safetensors") {
      std::ifstream in(entry.path(), std::ios::binary);
      seeds.push_back(std::string(1, '\0') + std::string(std::istreambuf_iterator<char>(in), {}));
    }
  return seeds;
}
