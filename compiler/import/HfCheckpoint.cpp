// A Hugging Face folder as a model: config.json, one or several SafeTensors files, tensors renamed to
// canonical names. Pickle files are never opened.
#include "compiler/import/HfConfig.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
#include "compiler/import/OpenContainers.h"
#include "compiler/import/SafeTensors.h"
#include <cmath>
#include <limits>
#include <set>
#include <sys/stat.h>

using namespace llvm;

namespace bitnet::import {
namespace {

bool exists(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

using Names = std::pair<const char *, const char *>; // Hugging Face's, ours

constexpr Names kOutside[] = {{"embed_tokens.weight", "token_embd.weight"},
                              {"norm.weight", "output_norm.weight"}};
constexpr Names kInLayer[] = {{"self_attn.q_proj", "attn_q"},
                              {"self_attn.k_proj", "attn_k"},
                              {"self_attn.v_proj", "attn_v"},
                              {"self_attn.o_proj", "attn_output"},
                              {"mlp.gate_proj", "ffn_gate"},
                              {"mlp.up_proj", "ffn_up"},
                              {"mlp.down_proj", "ffn_down"},
                              {"input_layernorm", "attn_norm"},
                              {"post_attention_layernorm", "ffn_norm"},
                              {"self_attn.attn_sub_norm", "attn_sub_norm"},
                              {"self_attn.inner_attn_ln", "attn_sub_norm"},
                              {"mlp.ffn_sub_norm", "ffn_sub_norm"},
                              {"mlp.ffn_layernorm", "ffn_sub_norm"},
                              {"self_attn.q_norm", "attn_q_norm"},
                              {"self_attn.k_norm", "attn_k_norm"}};
/// Norms with other meanings where there are two more of them.
constexpr Names kWithPostNorms[] = {{"post_attention_layernorm", "post_attention_norm"},
                                    {"pre_feedforward_layernorm", "ffn_norm"},
                                    {"post_feedforward_layernorm", "post_ffw_norm"}};

/// "model.layers.3.self_attn.q_proj.weight" to "blk.3.attn_q.weight"; names that mean nothing here stay as
/// they are.
std::string canonicalName(StringRef name, const Family &family) {
  if (name == "lm_head.weight")
    return "output.weight";
  StringRef rest = name;
  rest.consume_front("model."); // a model without a head is saved without it
  for (auto [theirs, ours] : kOutside)
    if (rest == theirs)
      return ours;
  if (!rest.consume_front("layers."))
    return name.str();
  auto [number, part] = rest.split('.');
  unsigned layer = 0;
  // "01" must not be another spelling of 1.
  if (number.getAsInteger(10, layer) || Twine(layer).str() != number)
    return name.str();
  auto [module, leaf] = part.rsplit('.');
  // The norm on a projection's own input.
  const bool onInput = module.consume_back(".norm") || module.consume_back(".rms_norm");
  if (family.postNorms && !onInput)
    for (auto [theirs, ours] : kWithPostNorms)
      if (module == theirs)
        return ("blk." + number + "." + ours + "." + leaf).str();
  for (auto [theirs, ours] : kInLayer)
    if (module == theirs)
      return ("blk." + number + "." + ours + (onInput ? "_norm_in." : ".") + leaf).str();
  return ("blk." + number + "." + part).str();
}

/// The other way, for errors: the first of several names. `prefix` stands before those of the model without
/// its head, `inputNorm` after that of a matrix.
std::string storedName(StringRef canonical, const Family &family, StringRef prefix, StringRef inputNorm) {
  if (canonical == "output.weight")
    return "lm_head.weight";
  for (auto [theirs, ours] : kOutside)
    if (canonical == ours)
      return (prefix + theirs).str();
  auto [number, part] = canonical.drop_front(StringRef("blk.").size()).split('.');
  StringRef module = part.rsplit('.').first;
  const bool onInput = module.consume_back("_norm_in");
  std::string name;
  for (auto [theirs, ours] : kInLayer)
    if (name.empty() && module == ours)
      name = theirs;
  for (auto [theirs, ours] : kWithPostNorms)
    if (family.postNorms && module == ours)
      name = theirs;
  return (prefix + "layers." + number + "." + name + (onInput ? inputNorm : "") + ".weight").str();
}

std::optional<FloatType> floatDtype(StringRef dtype) {
  if (dtype == "F32")
    return FloatType::f32;
  if (dtype == "F16")
    return FloatType::f16;
  if (dtype == "BF16")
    return FloatType::bf16;
  return std::nullopt;
}

/// nullptr for integers.
const Codec *codecOf(StringRef dtype) { return floatDtype(dtype) ? codecNamed(dtype.lower()) : nullptr; }

class HfModel {
public:
  HfModel(const ModelSettings &settings, const ImportOptions &options)
      : settings_(settings), options_(options) {}

  Expected<CheckpointParts> run(const std::string &path) {
    parts_.where = path;
    folder_ = path;
    std::string only;
    if (StringRef(path).ends_with(".safetensors")) {
      size_t slash = path.rfind('/');
      folder_ = slash == std::string::npos ? "." : path.substr(0, slash);
      only = slash == std::string::npos ? path : path.substr(slash + 1);
    }
    while (folder_.size() > 1 && folder_.back() == '/')
      folder_.pop_back();
    if (Error error =
            readShards(only)) // first, so that a damaged file is told of before a missing config.json
      return error;
    if (Error error = readConfig())
      return error;
    for (auto &[name, tensor] : found_)
      if (Error error = mapTensor(name, tensor))
        return error;
    const bool bare = found_.count("embed_tokens.weight") || found_.count("norm.weight");
    const char *prefix = bare ? "" : "model.";
    const char *inputNorm = parts_.config.linearNorms ? ".rms_norm" : ".norm";
    parts_.nameInFile = [family = family_, prefix, inputNorm](const std::string &name) {
      return storedName(name, *family, prefix, inputNorm);
    };
    // Norms on the inputs of matrices are those of models trained for ternary weights.
    const bool inputNorms = parts_.tensors.count(layerTensor(0, "attn_q_norm_in")) != 0;
    if (inputNorms && parts_.decoding.ternarize == Ternarize::refuse)
      parts_.decoding.ternarize = Ternarize::fallback;
    decideHead(parts_.config.embeds || (inputNorms && !parts_.config.linearNorms));
    describe();
    if (options_.tokenizer.empty())
      if (Error error = adoptTokenizer(importTokenizerFolder(folder_, settings_.tokenizer), folder_, parts_))
        return error;
    return std::move(parts_);
  }

private:
  struct Found {
    std::shared_ptr<ByteSource> file;
    SafeTensor tensor;
  };

  Error readConfig() {
    std::string path = folder_ + "/config.json";
    Expected<std::string> text = readWhole(path, kMaxJsonBytes);
    if (!text)
      return text.takeError();
    Expected<HfConfig> config = parseHfConfig(*text, path, options_.warn);
    if (!config)
      return config.takeError();
    parts_.config = config->model;
    parts_.config.name = folder_.substr(folder_.rfind('/') + 1);
    parts_.decoding.ternarize = config->ternarize;
    for (const Decision &decision : config->decisions)
      if (decision.what != "activation" || !settings_.activation)
        parts_.decisions.push_back(decision);
    mlxGroup_ = config->mlxGroup;
    divides_ = settings_.scaleDivides.value_or(config->scaleDivides);
    if (settings_.scaleDivides)
      parts_.decisions.push_back({"scale", divides_ ? "divide" : "multiply", "set by the user",
                                  std::string("--set scale=") + (divides_ ? "divide" : "multiply")});
    tied_ = config->tiedHead;
    family_ = config->family;
    limitToWindow(parts_);
    if (Error error = readPooling())
      return error;
    parts_.trainedWithInt8 = config->trainedWithInt8;
    return Error::success();
  }

  /// What sentence-transformers keeps beside a model that gives embeddings.
  Error readPooling() {
    const std::string path = folder_ + "/1_Pooling/config.json";
    if (settings_.pooling || !exists(path))
      return Error::success();
    Expected<std::string> text = readWhole(path, kMaxJsonBytes);
    if (!text)
      return text.takeError();
    Expected<nlohmann::json> pooling = parseJson(*text, path, options_.warn);
    if (!pooling)
      return pooling.takeError();
    bool last = false, others = false;
    if (pooling->is_object())
      for (const auto &[key, value] : pooling->items())
        if (StringRef(key).starts_with("pooling_mode_") && value == true)
          (key == "pooling_mode_lasttoken" ? last : others) = true;
    if (!last || others)
      return failure(path +
                     ": expected pooling_mode_lasttoken true, got another way of pooling, which is not "
                     "supported; --set pooling=last pools over the last token all the same");
    parts_.config.embeds = true;
    return Error::success();
  }

  Error readShards(const std::string &only) {
    std::string single = only.empty() ? "model.safetensors" : only;
    std::string index = folder_ + "/model.safetensors.index.json";
    if (!only.empty() || exists(folder_ + "/" + single)) {
      if (only.empty() && exists(index) && options_.warn)
        options_.warn(index + ": not read, since there is a model.safetensors beside it");
      return readShard(single, nullptr);
    }
    if (!exists(index))
      return failure(
          folder_ +
          ": expected model.safetensors, model.safetensors.index.json, model_state_int2.pt or one .gguf "
          "file" +
          (exists(folder_ + "/pytorch_model.bin")
               ? ", got pytorch_model.bin, which can run code when it is read; convert it to safetensors"
               : ", got none"));
    Expected<std::string> text = readWhole(index, kMaxJsonBytes);
    if (!text)
      return text.takeError();
    Expected<std::map<std::string, std::string>> map = parseShardIndex(*text, index, options_.warn);
    if (!map)
      return map.takeError();
    std::set<std::string> files;
    for (auto &[tensor, file] : *map)
      files.insert(file);
    if (files.size() > 4096)
      return failure(index + ": expected at most 4096 files, got " + Twine(files.size()));
    for (const std::string &file : files)
      if (Error error = readShard(file, &*map))
        return error;
    for (auto &[tensor, file] : *map)
      if (!found_.count(tensor))
        return failure(folder_ + "/" + file + ": tensor " + quoted(tensor) + ": expected it here, as " +
                       index + " says, got no such tensor");
    return Error::success();
  }

  /// With an index, only the tensors that it places in this file.
  Error readShard(const std::string &name, const std::map<std::string, std::string> *index) {
    Expected<std::string> path = plainFileIn(folder_, name);
    if (!path)
      return path.takeError();
    Expected<std::shared_ptr<ByteSource>> source = openFile(*path);
    if (!source)
      return source.takeError();
    Expected<SafeTensorsFile> file = SafeTensorsFile::read(*source);
    if (!file)
      return file.takeError();
    for (auto &[tensorName, tensor] : file->tensors()) {
      if (index) {
        auto place = index->find(tensorName);
        if (place == index->end() || place->second != name)
          continue;
      }
      found_.emplace(tensorName, Found{*source, tensor});
    }
    return Error::success();
  }

  Error mapTensor(const std::string &name, const Found &found) {
    const SafeTensor &tensor = found.tensor;
    if (StringRef(name).ends_with(".weight_scale") &&
        found_.count(StringRef(name).drop_back(6).str())) // read with its weight
      return Error::success();
    for (StringRef leaf : {".scales", ".biases"}) // of mlx, read with their weight
      if (auto weight = found_.find((StringRef(name).drop_back(leaf.size()) + ".weight").str());
          StringRef(name).ends_with(leaf) && weight != found_.end() && weight->second.tensor.dtype == "U32")
        return Error::success();
    if (StringRef(name).ends_with(".rotary_emb.inv_freq")) // follows from rope_theta; old files carry it
      return Error::success();
    for (const char *leaf : {".qweight", ".qzeros"})
      if (StringRef(name).ends_with(leaf))
        return failure(found.file->name() + ": tensor " + quoted(name) +
                       ": expected weights, got an AutoGPTQ pack, which is not supported; convert the model "
                       "that it was made from");
    StoredTensor stored;
    stored.file = found.file;
    stored.storedName = name;
    stored.typeName = tensor.dtype;
    stored.codec = codecOf(tensor.dtype);
    stored.offset = tensor.offset;
    stored.bytes = tensor.bytes;
    setShape(stored, tensor.shape);
    auto scale = found_.find(name + "_scale");
    if (scale != found_.end()) {
      const SafeTensor &values = scale->second.tensor;
      std::optional<FloatType> type = floatDtype(values.dtype);
      uint64_t count = type ? values.bytes / floatBytes(*type) : 0;
      if (!type || count == 0)
        return failure(scale->second.file->name() + ": tensor " + quoted(values.name) +
                       ": expected F32, BF16 or F16 [1], got " + values.dtype + " " +
                       shapeText(values.shape));
      stored.scale = ScaleTensor{scale->second.file, values.offset, *type, int64_t(count), divides_};
    }
    std::string canonical = canonicalName(name, *family_);
    if (tensor.dtype == "U8" && tensor.shape.size() == 2)
      if (Error error = mapPacked(canonical, stored))
        return error;
    if (tensor.dtype == "U32" && tensor.shape.size() == 2 && StringRef(name).ends_with(".weight"))
      if (Error error = mapMlx(stored))
        return error;
    // gemma3 keeps its own norms as w of 1 + w; the norms on inputs are plain.
    const bool isNorm = StringRef(canonical).ends_with("_norm.weight");
    if (family_->postNorms && isNorm)
      stored.plus = 1;
    if (family_->postNorms && canonical == "token_embd.weight") {
      // transformers keeps it in their type, mlx-lm in bf16.
      const FloatType type =
          mlxGroup_ > 0 ? FloatType::bf16 : floatDtype(tensor.dtype).value_or(FloatType::f32);
      stored.times = roundTo(type, std::sqrt(float(parts_.config.width)));
    }
    if (!parts_.tensors.emplace(canonical, std::move(stored)).second)
      return failure(found.file->name() + ": tensor " + quoted(name) + ": expected one tensor for " +
                     quoted(canonical) + ", got a second");
    return Error::success();
  }

  /// U32 [rows, cols/16] of mlx, with a scale and a bias for each group of columns beside it.
  Error mapMlx(StoredTensor &stored) {
    if (mlxGroup_ == 0)
      return failure(stored.file->name() + ": tensor " + quoted(stored.storedName) +
                     ": expected weights, got words of mlx without a key 'quantization' in config.json that "
                     "says how to read them");
    const std::string base = StringRef(stored.storedName).drop_back(StringRef(".weight").size()).str();
    stored.codec = codecNamed("mlx_2bit");
    if (stored.cols > std::numeric_limits<int32_t>::max() / 16)
      return Error::success(); // checkTensors reports the shape
    stored.cols *= 16;
    const std::vector<uint64_t> shape = {uint64_t(stored.rows), uint64_t(stored.cols / mlxGroup_)};
    for (auto [leaf, out] : {std::make_pair(".scales", &stored.scale), {".biases", &stored.bias}}) {
      auto found = found_.find(base + leaf);
      if (found == found_.end())
        return failure(stored.file->name() + ": tensor " + quoted(stored.storedName) +
                       ": expected a tensor " + quoted(base + leaf) + " beside it, got none");
      const SafeTensor &values = found->second.tensor;
      std::optional<FloatType> type = floatDtype(values.dtype);
      if (!type || values.shape != shape || stored.cols % mlxGroup_ != 0)
        return failure(found->second.file->name() + ": tensor " + quoted(values.name) +
                       ": expected F32, BF16 or F16 " + shapeText(shape) + ", got " + values.dtype + " " +
                       shapeText(values.shape));
      *out = ScaleTensor{found->second.file, values.offset, *type, int64_t(shape[0] * shape[1]), false};
    }
    return Error::success();
  }

  /// U8 [ceil(out/4), in]: the number of rows is what the graph wants, since the file rounds it up.
  Error mapPacked(const std::string &canonical, StoredTensor &stored) {
    const ModelConfig &c = parts_.config;
    StringRef part = StringRef(canonical).rsplit(".weight").first.rsplit('.').second;
    int64_t rows = part == "attn_q"                         ? int64_t(c.heads) * c.headDim
                   : part == "attn_k" || part == "attn_v"   ? int64_t(c.kvHeads) * c.headDim
                   : part == "ffn_gate" || part == "ffn_up" ? c.ffnWidth
                                                            : c.width;
    if (!stored.scale)
      return failure(stored.file->name() + ": tensor " + quoted(stored.storedName) +
                     ": expected a tensor 'weight_scale' beside the packed weight, got none");
    if (stored.rows != (rows + 3) / 4)
      return Error::success(); // checkTensors reports the shape
    stored.rows = rows;
    stored.codec = codecNamed("packed u8");
    return Error::success();
  }

  void decideHead(bool headless) {
    auto head = parts_.tensors.find("output.weight");
    if (tied_ == true && head != parts_.tensors.end()) {
      parts_.tensors.erase(head);
      if (options_.warn)
        options_.warn(parts_.where + ": lm_head.weight is not used, since tie_word_embeddings is true");
    } else if (tied_ == false && head == parts_.tensors.end() && !headless) {
      parts_.decisions.push_back(
          {"head", "tied", "tie_word_embeddings is false, but there is no lm_head.weight", ""});
    }
  }

  void describe() {
    auto first = parts_.tensors.find(layerTensor(0, kLinearNames[0]));
    const Codec *codec = first == parts_.tensors.end() ? nullptr : first->second.codec;
    const char *encoding = codec ? codec->name : "no layers";
    parts_.source = "hugging face, " + std::to_string(found_.size()) + " tensors, " + encoding;
  }

  const ModelSettings &settings_;
  const ImportOptions &options_;
  CheckpointParts parts_;
  std::string folder_;
  std::map<std::string, Found> found_; // by stored name
  std::optional<bool> tied_;
  const Family *family_ = nullptr;
  bool divides_ = true;
  int32_t mlxGroup_ = 0;
};

} // namespace

Expected<CheckpointParts> partsOfHuggingFace(const std::string &path, const ModelSettings &settings,
                                             const ImportOptions &options) {
  return HfModel(settings, options).run(path);
}

} // namespace bitnet::import
