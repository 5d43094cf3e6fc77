// GGUF: the header, what its type numbers mean, the model that it describes, its tokenizer, and every weight,
// decoded.
#include "test/compiler/import/gguf_writer.h"
#include "test/fuzz/checkpoint_checks.h"
#include "test/fuzz/fuzz_target.h"
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace bitnet::import;
using namespace bitnet::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string bytes(reinterpret_cast<const char *>(data), size);
  llvm::Expected<GgufFile> file = GgufFile::read(bytesInMemory("fuzz.gguf", std::move(bytes)), nullptr);
  if (!ok(file))
    return 0;
  for (const GgufTensor &tensor : file->tensors())
    check(tensor.type && tensor.offset <= size && tensor.bytes <= size - tensor.offset);
  decodeModel(partsOfGguf(*file, ModelSettings(), ImportOptions()), ModelSettings());
  return 0;
}

std::vector<std::string> bitnet::fuzz::seeds() {
  TinyModel plain, packed, llama("llama"), qwen3("qwen3"), gemma3("gemma3");
  // One matrix in each block encoding: width 256, so the whole model is of that width.
  packed.set("bitnet-b1.58.embedding_length", 256);
  packed.set("bitnet-b1.58.attention.head_count", 4);
  packed.set("bitnet-b1.58.attention.head_count_kv", 2);
  packed.matrix("token_embd", 16, 256);
  for (const char *norm : {"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm", "blk.0.attn_sub_norm"})
    packed.vector(norm, 256);
  packed.tensors["blk.0.attn_q.weight"] = {{256, 256}, kGgmlI2S, std::string(256 * 64 + 32, '\x55')};
  packed.tensors["blk.0.attn_k.weight"] = {{256, 128}, kGgmlTQ1, std::string(128 * 54, '\x30')};
  packed.tensors["blk.0.attn_v.weight"] = {{256, 128}, kGgmlTQ2, std::string(128 * 66, '\x24')};
  packed.tensors["blk.0.attn_output.weight"] = {{256, 256}, kGgmlTQ2, std::string(256 * 66, '\x24')};
  packed.set("bitnet-b1.58.feed_forward_length", 16); // small, since these are floats
  packed.matrix("blk.0.ffn_gate", 16, 256);
  packed.matrix("blk.0.ffn_up", 16, 256);
  packed.matrix("blk.0.ffn_down", 256, 16);
  packed.vector("blk.0.ffn_sub_norm", 16);
  const auto text = [](const char *value) {
    return [=](GgufWriter &w, const std::string &key) { w.text(key, value); };
  };
  qwen3.keys["qwen3.rope.scaling.type"] = text("yarn");
  qwen3.real("qwen3.rope.scaling.factor", 4);
  qwen3.set("qwen3.rope.scaling.original_context_length", 16);
  qwen3.set("qwen3.pooling_type", 3);
  const std::pair<const char *, int> inputs[] = {{"attn_q", 32},      {"attn_k", 32},   {"attn_v", 32},
                                                 {"attn_output", 32}, {"ffn_gate", 32}, {"ffn_up", 32},
                                                 {"ffn_down", 48}};
  for (auto [name, cols] : inputs)
    qwen3.vector("blk.0." + std::string(name) + "_norm_in", cols);
  gemma3.real("gemma3.rope.freq_base_swa", 1000);
  gemma3.real("gemma3.rope.scaling.factor", 8);
  gemma3.set("gemma3.attention.sliding_window_pattern", 2);
  GgufWriter vocabulary;
  vocabulary.text("general.architecture", "bitnet")
      .text("tokenizer.ggml.model", "gpt2")
      .strings("tokenizer.ggml.tokens", {"a", "b", "ab"});
  vocabulary.strings("tokenizer.ggml.merges", {"a b"}).u32("tokenizer.ggml.eos_token_id", 2);
  std::vector<std::string> seeds = {plain.finish(),      plain.finish(), llama.finish(), packed.finish(),
                                    vocabulary.finish(), qwen3.finish(), gemma3.finish()};
  // With a tokenizer, so that mutations of it get past the header.
  plain.keys["tokenizer.ggml.model"] = [](GgufWriter &w, const std::string &key) { w.text(key, "gpt2"); };
  plain.keys["tokenizer.ggml.tokens"] = [](GgufWriter &w, const std::string &key) {
    w.strings(key, {"a", "b", "ab", "c", "<|end_of_text|>"});
  };
  plain.keys["tokenizer.ggml.pre"] = [](GgufWriter &w, const std::string &key) { w.text(key, "llama-bpe"); };
  plain.keys["tokenizer.ggml.merges"] = [](GgufWriter &w, const std::string &key) {
    w.strings(key, {"a b"});
  };
  seeds[1] = plain.finish();
  for (uint32_t id : {36, 38, 39, 40, 41, 42, 134, 135, 142, 143, 335})
    for (const GgufTypeInfo &type : ggufMeanings(id)) { // a model of 256 columns, of that type alone
      TinyModel one = packed;
      for (auto &[name, tensor] : one.tensors)
        if (tensor.dims == std::vector<uint64_t>{256, 256} ||
            tensor.dims == std::vector<uint64_t>{256, 128}) {
          tensor.type = id;
          tensor.bytes.assign(size_t(ggufBytes(type, tensor.dims).bytes), '\x15');
        }
      seeds.push_back(one.finish());
    }
  const std::vector<std::string> models = seeds;
  for (int copies = 0; copies < 9; ++copies) // as likely as the many small files below
    seeds.insert(seeds.end(), models.begin(), models.end());
  const char *shared = std::getenv("BITNET_SHARED_DATA");
  std::error_code error;
  for (const auto &entry :
       std::filesystem::directory_iterator(std::string(shared ? shared : "") + "/gguf_malformed", error))
    if (entry.path().extension() == ".gguf") {
      std::ifstream in(entry.path(), std::ios::binary);
      seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
  return seeds;
}
