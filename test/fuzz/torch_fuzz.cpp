// Files of torch.save: both containers and their pickle, the model that they describe with params.json, and
// every weight, decoded. The first byte picks whether the rest is a file, the pickle of a good archive, or
// params.json.
#include "test/compiler/import/torch_writer.h"
#include "test/fuzz/checkpoint_checks.h"
#include "test/fuzz/fuzz_target.h"
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace bitnet::import;
using namespace bitnet::fuzz;

namespace {

/// Every accepted tensor lies in its storage, and every storage in the file.
void readTensors(const TorchFile &file) {
  for (const auto &[name, tensor] : file.tensors()) {
    const TorchStorage &storage = file.storages()[tensor.storage];
    const uint64_t width = torchBytes(storage.type), end = storage.elements * width;
    check(!(storage.offset > file.source()->size() || end > file.source()->size() - storage.offset));
    uint64_t last = tensor.offset;
    for (size_t i = 0; i < tensor.shape.size(); ++i)
      last += tensor.shape[i] ? (tensor.shape[i] - 1) * tensor.strides[i] : 0;
    check(!(tensor.elements() > 0 && last >= storage.elements));
    check(!(tensor.contiguous() && tensor.elements() > storage.elements));
  }
}

void readModel(const TorchFile &file) {
  ImportOptions options;
  options.tokenizer = "-"; // so that none is looked for
  ModelSettings settings;
  settings.heads = 2;
  decodeModel(partsOfTorch(file, TorchConfig(), "fuzz.pt", settings, options), settings);
}

void readFile(std::string bytes) {
  llvm::Expected<TorchFile> file = TorchFile::read(bytesInMemory("fuzz.pt", std::move(bytes)));
  if (!ok(file))
    return;
  readTensors(*file);
  readModel(*file);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  std::string bytes(reinterpret_cast<const char *>(data) + 1, size - 1);
  if (data[0] % 4 <= 1) {
    readFile(std::move(bytes));
  } else if (data[0] % 4 == 2) {
    readFile(TinyTorchModel().zipOf(bytes).finish());
  } else {
    llvm::Expected<TorchConfig> config = parseTorchConfig(bytes, "params.json", nullptr);
    ok(config);
  }
  return 0;
}

std::vector<std::string> bitnet::fuzz::seeds() {
  const TinyTorchModel model;
  ZipWriter wide = model.zip();
  wide.wide = true;
  const std::string file(1, '\0'), pickle(1, '\2'), config(1, '\3');
  std::vector<std::string> seeds = {
      file + model.finish(), file + wide.finish(), pickle + model.pickle(), pickle + model.pickle(),
      config + R"({"model": {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1,
                                                 "rope_theta": 5e5, "norm_eps": 1e-5, "hidden_act": "relu2"}})"};
  const char *shared = std::getenv("BITNET_SHARED_DATA");
  for (const char *name : {"pt-views.pt", "pt-views-legacy.pt", "tiny-ckpt/model_state_int2.pt"}) {
    std::ifstream in(std::string(shared ? shared : "") + "/ms_gpu/" + name, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(in), {});
    if (!bytes.empty())
      seeds.push_back(file + bytes);
  }
  return seeds;
}
