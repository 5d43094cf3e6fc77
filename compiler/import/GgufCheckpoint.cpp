// A GGUF file as a model: which decoder graph, its sizes, its tensors under canonical names (GGUF's own), its
// tokenizer.
#include "compiler/import/ImportError.h"
#include "compiler/import/OpenContainers.h"
#include <cmath>
#include <limits>

using namespace llvm;

namespace bitnet::import {
namespace {

/// Why a known architecture is not this graph.
const char *refusal(StringRef arch) {
  static const std::pair<const char *, const char *> reasons[] = {
      {"qwen3", "it has a norm on each head of q and k"},
      {"qwen35", "its layers are of two kinds, most of them without attention"},
      {"qwen2", "its q, k and v have biases"},
      {"gemma3", "it scales embeddings and has norms after each part"},
      {"dspark", "it is a speculation head, not a model"},
      {"falcon", "its attention and feed-forward network run side by side"},
      {"phi3", "its projections are stored merged"}};
  for (auto [name, reason] : reasons)
    if (arch == name)
      return reason;
  return "it is not a decoder graph that this compiler knows";
}

/// Endings of the names of scales.
constexpr const char *kScaleLeaves[] = {".scale", ".weight_scale"};

class GgufModel {
public:
  GgufModel(const GgufFile &file, const ModelSettings &settings, const ImportOptions &options)
      : file_(file), settings_(settings), options_(options) {
    parts_.where = file.name();
  }

  Expected<CheckpointParts> run() {
    if (Error error = readArchitecture())
      return error;
    if (Error error = readSizes())
      return error;
    if (Error error = readRope())
      return error;
    if (Error error = readActivation())
      return error;
    if (Error error = mapTensors())
      return error;
    if (options_.tokenizer.empty())
      if (Error error = readTokenizer())
        return error;
    if (Error error = readTemplate())
      return error;
    return std::move(parts_);
  }

private:
  ModelConfig &config() { return parts_.config; }
  Error fail(const Twine &text) const { return failure(file_.name() + ": " + text); }
  std::string key(const char *name) const { return arch_ + "." + name; }

  Error readArchitecture() {
    Expected<std::optional<std::string>> arch = file_.text("general.architecture");
    if (!arch)
      return arch.takeError();
    if (!*arch)
      return fail("key 'general.architecture': expected a string, got none");
    arch_ = **arch;
    if (arch_ != "bitnet-b1.58" && arch_ != "bitnet-25" && arch_ != "bitnet" && arch_ != "llama")
      return fail("architecture " + quoted(arch_) + ": expected bitnet-b1.58, bitnet-25, bitnet or llama; " +
                  refusal(arch_));
    Expected<std::optional<std::string>> name = file_.text("general.name");
    if (!name)
      return name.takeError();
    std::string path = file_.name();
    config().name = *name ? **name : path.substr(path.rfind('/') + 1);
    config().family = arch_;
    parts_.decisions = file_.decisions();
    // A plain Llama would otherwise be made ternary without a word, and speak nonsense.
    parts_.decoding.ternarize = arch_ == "llama" ? Ternarize::refuse : Ternarize::fallback;
    return Error::success();
  }

  /// A size under the architecture's prefix; `fallback` < 0: must be there.
  Error size(const char *name, int32_t &out, int64_t fallback = -1) {
    Expected<std::optional<int64_t>> value = file_.integer(key(name));
    if (!value)
      return value.takeError();
    if (!*value && fallback < 0)
      return fail("key " + quoted(key(name)) + ": expected an integer, got none");
    int64_t number = value->value_or(fallback);
    if (number < 1 || number > std::numeric_limits<int32_t>::max())
      return fail("key " + quoted(key(name)) + ": expected 1 to 2147483647, got " + Twine(number));
    out = int32_t(number);
    return Error::success();
  }

  Error real(const char *name, float &out, std::optional<double> fallback) {
    Expected<std::optional<double>> value = file_.number(key(name));
    if (!value)
      return value.takeError();
    if (!*value && !fallback)
      return fail("key " + quoted(key(name)) + ": expected a number, got none");
    out = float(*value ? **value : *fallback);
    return Error::success();
  }

  Error readSizes() {
    ModelConfig &c = config();
    for (auto [name, out] : {std::pair<const char *, int32_t *>{"block_count", &c.layers},
                             {"embedding_length", &c.width},
                             {"feed_forward_length", &c.ffnWidth},
                             {"attention.head_count", &c.heads},
                             {"context_length", &c.context}})
      if (Error error = size(name, *out))
        return error;
    if (Error error = size("attention.head_count_kv", c.kvHeads, c.heads))
      return error;
    if (!file_.find(key("attention.key_length")) && c.width % c.heads != 0)
      return fail("key " + quoted(key("attention.head_count")) +
                  ": expected a number that divides the width " + Twine(c.width) + ", got " + Twine(c.heads));
    if (Error error = size("attention.key_length", c.headDim, std::max(1, c.width / c.heads)))
      return error;
    int32_t valueLength = 0;
    if (Error error = size("attention.value_length", valueLength, c.headDim))
      return error;
    if (valueLength != c.headDim)
      return fail("key " + quoted(key("attention.value_length")) + ": expected the key length " +
                  Twine(c.headDim) + ", got " + Twine(valueLength));
    const GgufTensor *embedding = file_.tensor("token_embd.weight");
    if (!embedding || embedding->dims.size() != 2)
      return fail("tensor 'token_embd.weight': expected a matrix, got " +
                  Twine(embedding ? "another shape" : "none"));
    int64_t rows = int64_t(std::min<uint64_t>(embedding->dims[1], std::numeric_limits<int32_t>::max()));
    if (Error error = size("vocab_size", c.vocab, rows))
      return error;
    if (c.vocab != rows)
      return fail("key " + quoted(key("vocab_size")) + ": expected " + Twine(rows) +
                  ", the rows of token_embd.weight, got " + Twine(c.vocab));
    return real("attention.layer_norm_rms_epsilon", c.normEps, std::nullopt);
  }

  Error readRope() {
    if (Error error = real("rope.freq_base", config().ropeTheta, 10000.0))
      return error;
    int32_t rotated = 0;
    if (Error error = size("rope.dimension_count", rotated, config().headDim))
      return error;
    if (rotated != config().headDim)
      return fail("key " + quoted(key("rope.dimension_count")) + ": expected the head size " +
                  Twine(config().headDim) + ", got " + Twine(rotated) +
                  "; partial rotation is not supported");
    Expected<std::optional<std::string>> scaling = file_.text(key("rope.scaling.type"));
    if (!scaling)
      return scaling.takeError();
    const std::string type = scaling->value_or("linear");                   // what a factor alone means
    for (const char *name : {"rope.scaling.factor", "rope.scale_linear"}) { // the second in old files
      float factor = 1;
      if (Error error = real(name, factor, 1.0))
        return error;
      if (type == "linear" && factor != 1 && factor != 0) // 0: not scaled
        return fail("key " + quoted(key(name)) + ": expected 1, got " + Twine(std::to_string(factor)) +
                    "; scaled rotation is not supported");
    }
    if (type != "none" && type != "linear")
      return fail("key " + quoted(key("rope.scaling.type")) + ": expected none, got " + quoted(type) +
                  "; scaled rotation is not supported");
    return Error::success();
  }

  Error readActivation() {
    if (settings_.activation) // applySettings sets and reports it
      return Error::success();
    Expected<std::optional<std::string>> named = file_.text(key("hidden_activation"));
    if (!named)
      return named.takeError();
    if (*named) {
      std::optional<format::Act> act = activationFromName(**named);
      if (!act)
        return fail("key " + quoted(key("hidden_activation")) + ": expected relu2, silu or gelu, got " +
                    quoted(**named));
      config().act = *act;
      return Error::success();
    }
    bool relu2 = arch_ == "bitnet-b1.58" || arch_ == "bitnet-25";
    config().act = relu2 ? format::Act::relu2 : format::Act::silu;
    if (arch_ == "llama") // silu belongs to that architecture
      return Error::success();
    parts_.decisions.push_back({"activation", format::act_name(config().act),
                                "GGUF does not store it; implied by architecture " + arch_,
                                relu2 ? "--set activation=silu" : "--set activation=relu2"});
    const ModelConfig &c = config();
    if (!relu2 && (c.vocab == 128256 || c.layers == 30 || c.width == 2560) && options_.warn)
      options_.warn(file_.name() +
                    ": architecture 'bitnet' implies silu, but the sizes are those of 2B-4T, which needs "
                    "relu2; if the text is nonsense, use --set activation=relu2");
    return Error::success();
  }

  /// The tensor that scales `base`.weight, f32 [1], which multiplies: `base`.scale (old mainline files, trits
  /// as +-1), or `base`.weight_scale (microsoft's converter, beside tl1 and tl2).
  Error scaleOf(const std::string &base, StoredTensor &stored) const {
    for (const char *leaf : kScaleLeaves) {
      const GgufTensor *scale = file_.tensor(base + leaf);
      if (!scale)
        continue;
      if (scale->typeId != kGgmlF32 || scale->bytes != sizeof(float))
        return failure(scale->file->name() + ": tensor " + quoted(scale->name) + ": expected f32 [1], got " +
                       scale->type->name + " of " + Twine(scale->bytes) + " bytes");
      // The converter writes it where the weights have no place for a scale; it would count twice here.
      bool twice = leaf == kScaleLeaves[1] && stored.codec && !stored.codec->floats &&
                   stored.codec->scales != Codec::Scales::none;
      if (stored.scale || twice)
        return failure(scale->file->name() + ": tensor " + quoted(scale->name) +
                       ": expected one scale of the weights, got " +
                       (twice ? "that of " + stored.typeName : quoted(base + kScaleLeaves[0])) + " too");
      stored.scale = ScaleTensor{scale->file, scale->offset, FloatType::f32, 1, false};
    }
    return Error::success();
  }
  bool isScale(StringRef name) const {
    for (StringRef leaf : kScaleLeaves)
      if (name.ends_with(leaf) && file_.tensor((name.drop_back(leaf.size()) + ".weight").str()))
        return true;
    return false;
  }

  Error mapTensors() {
    for (const GgufTensor &tensor : file_.tensors()) {
      StringRef name(tensor.name);
      if (isScale(name))
        continue;
      StoredTensor stored;
      stored.file = tensor.file;
      stored.storedName = tensor.name;
      stored.typeName = tensor.type->name;
      stored.codec = codecNamed(tensor.type->name);
      stored.offset = tensor.offset;
      stored.bytes = tensor.bytes;
      // 0 to 2 dimensions are vectors and matrices; more never match what the graph needs.
      uint64_t rows = 1;
      for (size_t i = 1; i < tensor.dims.size(); ++i)
        rows *= tensor.dims[i]; // the reader checked the product
      stored.cols = int64_t(tensor.dims.empty() ? 1 : tensor.dims[0]);
      stored.rows = tensor.dims.size() > 2 ? -1 : int64_t(rows);
      if (name.consume_back(".weight"))
        if (Error error = scaleOf(name.str(), stored))
          return error;
      if (arch_ == "llama" && name.ends_with(".attn_q"))
        stored.pairedHeads = config().heads;
      if (arch_ == "llama" && name.ends_with(".attn_k"))
        stored.pairedHeads = config().kvHeads;
      parts_.tensors.emplace(tensor.name, std::move(stored));
    }
    const GgufTensor *first = file_.tensor(layerTensor(0, kLinearNames[0]));
    const std::string several = file_.parts() > 1 ? ", " + std::to_string(file_.parts()) + " parts" : "";
    parts_.source = ("gguf v" + Twine(file_.version()) + several + ", " + Twine(file_.tensors().size()) +
                     " tensors, " + (first ? first->type->name : "no layers"))
                        .str();
    return Error::success();
  }

  Error readTokenizer() {
    Expected<std::optional<GgufVocabulary>> vocabulary = readVocabulary(file_);
    if (!vocabulary)
      return vocabulary.takeError();
    if (*vocabulary)
      return adoptTokenizer(importGgufTokenizer(**vocabulary, file_.name(), settings_.tokenizer),
                            file_.name(), parts_);
    if (options_.warn)
      options_.warn(file_.name() + ": no tokenizer in the file; --tokenizer names one");
    return Error::success();
  }

  Error readTemplate() {
    Expected<std::optional<std::string>> source = file_.text("tokenizer.chat_template");
    if (!source)
      return source.takeError();
    if (*source)
      parts_.chatTemplate = correctChatTemplate(**source, parts_.decisions);
    return Error::success();
  }

  const GgufFile &file_;
  const ModelSettings &settings_;
  const ImportOptions &options_;
  CheckpointParts parts_;
  std::string arch_;
};

} // namespace

Expected<CheckpointParts> partsOfGguf(const GgufFile &file, const ModelSettings &settings,
                                      const ImportOptions &options) {
  return GgufModel(file, settings, options).run();
}

} // namespace bitnet::import
