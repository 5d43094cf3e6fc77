// A dummy model as a Hugging Face folder: config.json, model.safetensors, tokenizer.json,
// tokenizer_config.json. Weights of mlx have a scale and a bias for each 128 columns. Packed weights are
// "offline" with weight_scale = scale (autobitlinear); float weights are ternary as they stand, so their
// config has no quantization_config (an "online" one would take the mean, zeros included, for the scale).
#include "tools/bitnet/arguments.h"
#include "tools/bitnet/progress.h"
#include "tools/make-dummy-model/dummy_model.h"
#include "tools/make-dummy-model/output_file.h"
#include "tools/make-dummy-model/vocabulary.h"
#include <filesystem>
#include <nlohmann/json.hpp>

namespace bitnet::dummy {
namespace {

namespace fs = std::filesystem;
using import::FloatType;
using Json = nlohmann::ordered_json;

constexpr int32_t kMlxGroup = 128;

std::string config(const Options &o) {
  Json config = {{"architectures", {"BitNetForCausalLM"}},
                 {"hidden_act", "relu2"},
                 {"hidden_size", o.dim},
                 {"intermediate_size", o.ffn},
                 {"max_position_embeddings", o.context},
                 {"model_type", "bitnet"},
                 {"num_attention_heads", o.heads},
                 {"num_hidden_layers", o.layers},
                 {"num_key_value_heads", o.kv_heads},
                 {"rms_norm_eps", 1e-5},
                 {"rope_theta", 500000.0},
                 {"tie_word_embeddings", true},
                 {"torch_dtype", "bfloat16"},
                 {"vocab_size", o.vocab}};
  if (o.encoding == "mlx")
    config["quantization"] = {{"group_size", kMlxGroup}, {"bits", 2}};
  if (o.encoding == "packed")
    config["quantization_config"] = {
        {"quant_method", "bitnet"}, {"linear_class", "autobitlinear"}, {"quantization_mode", "offline"}};
  return config.dump(2) + "\n";
}

std::string tokenizer_json(const Vocabulary &v) {
  Json vocab = Json::object(), merges = Json::array(), added = Json::array();
  for (size_t id = 0; id < v.tokens.size(); ++id)
    if (v.tokens[id].size() > 4)
      added.push_back({{"id", id},
                       {"content", v.tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
    else
      vocab[v.tokens[id]] = id;
  for (const auto &[left, right] : v.merges)
    merges.push_back(left + " " + right);
  const char *llama3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", llama3}}}, {"behavior", "Isolated"}, {"invert", false}};
  Json document;
  document["version"] = "1.0";
  document["truncation"] = nullptr;
  document["padding"] = nullptr;
  document["added_tokens"] = added;
  document["normalizer"] = nullptr;
  document["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}};
  document["post_processor"] = nullptr;
  document["decoder"] = byte_level;
  document["model"] = {{"type", "BPE"},         {"dropout", nullptr}, {"unk_token", nullptr},
                       {"ignore_merges", true}, {"vocab", vocab},     {"merges", merges}};
  return document.dump() + "\n";
}

void write_file(const fs::path &path, const std::string &text) {
  OutputFile file(path.string());
  file.write(text);
  file.finish();
}

void write_tokenizer(const Options &o) {
  const fs::path folder = o.output;
  if (o.tokenizer.empty()) {
    Vocabulary v = made_up_vocabulary(o.vocab);
    write_file(folder / "tokenizer.json", tokenizer_json(v));
    Json settings = {{"add_bos_token", true},
                     {"bos_token", "<|begin_of_text|>"},
                     {"eos_token", "<|end_of_text|>"},
                     {"tokenizer_class", "PreTrainedTokenizerFast"}};
    write_file(folder / "tokenizer_config.json", settings.dump(2) + "\n");
    Json generation = {{"bos_token_id", v.bos}, {"eos_token_id", {v.eos, v.eot}}};
    write_file(folder / "generation_config.json", generation.dump(2) + "\n");
    return;
  }
  bool any = false;
  for (const char *name :
       {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "generation_config.json",
        "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}) {
    std::error_code error;
    if (!fs::exists(fs::path(o.tokenizer) / name, error))
      continue;
    any |= std::string(name) == "tokenizer.json" || std::string(name) == "tokenizer.model";
    fs::copy_file(fs::path(o.tokenizer) / name, folder / name, fs::copy_options::overwrite_existing, error);
    if (error)
      throw tools::Failure((folder / name).string() + ": cannot write: " + error.message());
  }
  if (!any)
    throw tools::Failure(o.tokenizer +
                         ": expected a folder with tokenizer.json or tokenizer.model; --format hf copies "
                         "the tokenizer of a folder");
}

} // namespace

void write_hugging_face(const Options &options) {
  const bool packed = options.encoding == "packed", mlx = options.encoding == "mlx";
  if (!packed && !mlx && options.encoding != "bf16" && options.encoding != "f16" && options.encoding != "f32")
    throw tools::UsageError("--encoding: expected packed, mlx, bf16, f16 or f32 for --format hf, got " +
                            options.encoding);
  if (mlx && (options.dim % kMlxGroup != 0 || options.ffn % kMlxGroup != 0))
    throw tools::UsageError("--encoding mlx: expected --dim and --ffn of a multiple of 128, got " +
                            std::to_string(options.dim) + " and " + std::to_string(options.ffn));
  if (packed && options.scale_group > 0)
    throw tools::UsageError("--scale-group: expected an encoding with room for scales of groups, got packed");
  // Of everything that is not packed.
  const import::Codec &floats = *import::codecNamed(packed || mlx ? "bf16" : options.encoding);
  const FloatType type = *floats.floats;
  const char *dtype = type == FloatType::f32 ? "F32" : type == FloatType::f16 ? "F16" : "BF16";
  const std::vector<Tensor> tensors = tensors_of(options);

  Json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  auto add = [&](const std::string &name, const char *dtype, std::vector<int64_t> shape, uint64_t bytes) {
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  };
  for (const Tensor &t : tensors) {
    uint64_t n = uint64_t(t.rows) * uint64_t(t.cols);
    if (t.kind == Kind::ternary && packed) {
      add(t.hf_name + ".weight", "U8", {(t.rows + 3) / 4, t.cols},
          uint64_t((t.rows + 3) / 4) * uint64_t(t.cols));
      add(t.hf_name + ".weight_scale", "BF16", {1}, 2);
    } else if (t.kind == Kind::ternary && mlx) {
      add(t.hf_name + ".weight", "U32", {t.rows, t.cols / 16}, n / 4);
      for (const char *leaf : {".scales", ".biases"})
        add(t.hf_name + leaf, "BF16", {t.rows, t.cols / kMlxGroup}, n / kMlxGroup * 2);
    } else if (t.kind == Kind::norm) {
      add(t.hf_name + ".weight", dtype, {t.cols}, n * import::floatBytes(type));
    } else {
      add(t.hf_name + ".weight", dtype, {t.rows, t.cols}, n * import::floatBytes(type));
    }
  }
  std::error_code error;
  fs::create_directories(options.output, error);
  if (error)
    throw tools::Failure(options.output + ": cannot make the folder: " + error.message());
  write_tokenizer(options);
  OutputFile file((fs::path(options.output) / "model.safetensors").string());
  std::string head = header.dump();
  head.resize((head.size() + 7) / 8 * 8, ' ');
  uint64_t length = head.size();
  file.write(&length, sizeof length);
  file.write(head);

  tools::Progress progress("writing " + options.output, "MB", offset >> 20);
  std::vector<uint8_t> bytes;
  std::vector<float> row;
  auto write_row = [&] {
    bytes.resize(row.size() * import::floatBytes(type));
    import::narrowRow(type, row.data(), row.size(), bytes.data());
    file.write(bytes.data(), bytes.size());
    progress.update(file.size() >> 20);
  };
  for (const Tensor &t : tensors) {
    row.resize(size_t(t.cols));
    if (t.kind == Kind::norm) {
      row = random_norm(options, t);
      write_row();
    } else if (t.kind == Kind::embedding) {
      RandomEmbedding rows(options, t);
      for (int32_t r = 0; r < t.rows; ++r) {
        rows.next_row(row.data());
        write_row();
      }
    } else {
      const import::TernaryMatrix matrix = random_ternary(options, t);
      encode(packed ? "packed u8" : mlx ? "mlx_2bit" : floats.name, {}, matrix, bytes);
      file.write(bytes.data(), bytes.size());
      row.clear();
      if (packed)
        row.push_back(matrix.scales[0]);
      for (const float sign : {1.0f, -1.0f}) // codes 0, 1, 2
        for (int32_t r = 0; mlx && r < t.rows; ++r)
          for (int32_t c = 0; c < t.cols; c += kMlxGroup)
            row.push_back(sign * import::scaleAt(matrix, r, c));
      write_row();
    }
  }
  file.finish();
  write_file(fs::path(options.output) / "config.json",
             config(options)); // last: it makes the folder a model
}

} // namespace bitnet::dummy
