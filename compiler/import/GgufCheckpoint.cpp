// A GGUF file as a model: which decoder graph, its sizes, its tensors under canonical names (GGUF's own), its
// tokenizer.
#include "compiler/import/Families.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/OpenContainers.h"
#include <cmath>
#include <limits>

using namespace llvm;

namespace bitnet::import {
namespace {

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
    if (Error error = readWindow())
      return error;
    if (Error error = readAttention())
      return error;
    if (Error error = readActivation())
      return error;
    if (Error error = readPooling())
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
    family_ = familyOfArch(arch_);
    if (!family_)
      return fail("architecture " + quoted(arch_) +
                  ": expected bitnet-b1.58, bitnet-25, bitnet, llama, qwen3 or gemma3; " +
                  refusedFamily(arch_));
    for (const auto &[name, value] : file_.values())
      if (StringRef(name).starts_with("prism.hadamard."))
        return fail("key " + quoted(name) +
                    ": its weights are rotated (Hadamard), which is not supported; without the rotation of "
                    "the activations they mean nothing");
    Expected<std::optional<int64_t>> experts = file_.integer(key("expert_count"));
    if (!experts)
      return experts.takeError();
    if (experts->value_or(0) > 0)
      return fail("key " + quoted(key("expert_count")) + ": expected 0, got " + Twine(**experts) +
                  "; mixtures of experts are not supported");
    Expected<std::optional<std::string>> name = file_.text("general.name");
    if (!name)
      return name.takeError();
    std::string path = file_.name();
    config().name = *name ? **name : path.substr(path.rfind('/') + 1);
    config().family = arch_;
    parts_.decisions = file_.decisions();
    config().attnSubNorm = config().ffnSubNorm = family_->subNorms;
    config().headNorms = family_->headNorms;
    config().postNorms = family_->postNorms;
    parts_.trainedWithInt8 = family_->trainedWithInt8;
    // A plain Llama would otherwise be made ternary without a word, and speak nonsense. Norms on the inputs
    // of the matrices are those of models trained for ternary weights.
    parts_.decoding.ternarize =
        StringRef(arch_).starts_with("bitnet") || file_.tensor("blk.0.attn_q_norm_in.weight")
            ? Ternarize::fallback
            : Ternarize::refuse;
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
    if (!file_.find(key("rope.freq_base")) && !settings_.ropeTheta)
      parts_.decisions.push_back(
          {"rope_theta", "10000", "the file does not say; ggml's default", "--set rope_theta=500000"});
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
    const std::string type = scaling->value_or("linear"); // what a factor alone means
    std::optional<RopeScaling::Kind> kind = ropeScalingFromName(type);
    if (!kind || *kind == RopeScaling::Kind::llama3) // GGUF has tensor rope_freqs.weight for llama3
      return fail("key " + quoted(key("rope.scaling.type")) + ": expected none, linear or yarn, got " +
                  quoted(type));
    RopeScaling &rope = config().ropeScaling;
    for (const char *name : {"rope.scale_linear", "rope.scaling.factor"}) // the first in old files
      if (Error error = real(name, rope.factor, rope.factor))
        return error;
    if (*kind == RopeScaling::Kind::yarn ||
        (*kind == RopeScaling::Kind::linear && rope.factor != 1 && rope.factor != 0)) // 0: not scaled
      rope.kind = *kind;
    for (auto &[name, value] :
         {std::pair<const char *, float &>{"rope.scaling.original_context_length", rope.originalContext},
          {"rope.scaling.yarn_beta_fast", rope.betaFast},
          {"rope.scaling.yarn_beta_slow", rope.betaSlow}})
      if (Error error = real(name, value, value))
        return error;
    float factor = 1; // ggml multiplies its own magnitude with it
    if (Error error = real("rope.scaling.attn_factor", factor, 1.0))
      return error;
    if (rope.kind == RopeScaling::Kind::yarn && factor != 1)
      rope.magnitude = ropeMagnitude(rope) * factor;
    if (rope.kind == RopeScaling::Kind::yarn && rope.originalContext == 0)
      rope.originalContext = float(config().context);
    if (Error error = readRopeDivisors())
      return error;
    std::string wrong = ropeScalingError(rope, config().headDim);
    return wrong.empty() ? Error::success() : fail("scaled rotation: " + wrong);
  }

  /// rope_freqs.weight: what llama3's scaling came to, a divisor for each frequency.
  Error readRopeDivisors() {
    const GgufTensor *tensor = file_.tensor("rope_freqs.weight");
    if (!tensor)
      return Error::success();
    RopeScaling &rope = config().ropeScaling;
    if (rope.kind != RopeScaling::Kind::none)
      return fail("tensor 'rope_freqs.weight': expected no other scaling of the rotation, got both");
    const size_t n = size_t(config().headDim / 2);
    if (tensor->type->id != kGgmlF32 || tensor->bytes != n * sizeof(float))
      return fail("tensor 'rope_freqs.weight': expected f32 [" + Twine(n) + "], got " + tensor->type->name +
                  " of " + Twine(tensor->bytes) + " bytes");
    rope.kind = RopeScaling::Kind::divisors;
    rope.divisors.resize(n);
    return tensor->file->read(tensor->offset, rope.divisors.data(), n * sizeof(float));
  }

  /// gemma3's layers that see a window only and turn by another base: all but every sixth. As in ggml, there
  /// are none in a file without a window, which microsoft's converter of embedding models leaves out.
  Error readWindow() {
    ModelConfig &c = config();
    if (!family_->postNorms)
      return Error::success();
    Expected<std::optional<int64_t>> window = file_.integer(key("attention.sliding_window"));
    if (!window)
      return window.takeError();
    if (window->value_or(0) == 0) {
      parts_.decisions.push_back({"local layers", "none",
                                  "the file has no " + key("attention.sliding_window") +
                                      ", so all layers see the whole text and turn by rope.freq_base",
                                  ""});
      return Error::success();
    }
    int32_t every = 6; // ggml's, as is the base
    if (Error error = size("attention.sliding_window", c.window))
      return error;
    if (Error error = size("attention.sliding_window_pattern", every, every))
      return error;
    if (Error error = real("rope.freq_base_swa", c.localRopeTheta, 10000.0))
      return error;
    for (int32_t i = 0; i < std::min(c.layers, 4096); ++i)
      c.localLayers.push_back((i + 1) % every != 0);
    limitToWindow(parts_);
    return Error::success();
  }

  /// Keys that change what attention and head compute.
  Error readAttention() {
    for (const char *cap : {"attn_logit_softcapping", "final_logit_softcapping"}) {
      float value = 0;
      if (Error error = real(cap, value, 0.0))
        return error;
      if (value != 0)
        return fail("key " + quoted(key(cap)) + ": expected none, got " + Twine(std::to_string(value)) +
                    "; caps are not supported");
    }
    const float own = 1 / std::sqrt(float(config().headDim));
    float scale = own;
    if (Error error = real("attention.scale", scale, scale))
      return error;
    if (!(std::abs(scale - own) < 1e-5f * own))
      return fail("key " + quoted(key("attention.scale")) + ": expected " + Twine(std::to_string(own)) +
                  ", 1 / sqrt(head size), got " + Twine(std::to_string(scale)) +
                  "; another scale of attention is not supported");
    // No key says so: ggml knows gemma3's 27B by its layers.
    if (family_->postNorms && config().layers == 62)
      return fail("key " + quoted(key("block_count")) +
                  ": expected another size than 27B, got 62 layers; its scale of attention is not supported");
    Expected<std::optional<bool>> causal = file_.boolean(key("attention.causal"));
    if (!causal)
      return causal.takeError();
    if (!causal->value_or(true))
      return fail("key " + quoted(key("attention.causal")) +
                  ": expected true, got false; attention to later tokens is not supported");
    return Error::success();
  }

  /// pooling_type: 0 none, 1 mean, 2 first token, 3 last token, 4 rank.
  Error readPooling() {
    Expected<std::optional<int64_t>> type = file_.integer(key("pooling_type"));
    if (!type)
      return type.takeError();
    const int64_t pooling = type->value_or(0);
    if (settings_.pooling || pooling == 0)
      return Error::success(); // decidePooling looks at the tensors
    if (pooling != 3)
      return fail("key " + quoted(key("pooling_type")) + ": expected 0 (none) or 3 (last token), got " +
                  Twine(pooling) +
                  "; other ways of pooling are not supported; --set pooling=last pools over the last token "
                  "all the same");
    config().embeds = true;
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
    config().act = family_->act;
    const bool relu2 = family_->act == format::Act::relu2;
    if (!StringRef(arch_).starts_with("bitnet")) // it belongs to the architecture
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
      if (isScale(name) || name == "rope_freqs.weight") // readRopeDivisors
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
      if (family_->postNorms && name == "token_embd")
        stored.times = std::sqrt(float(config().width)); // in f32, as in ggml
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
  const Family *family_ = nullptr;
};

} // namespace

Expected<CheckpointParts> partsOfGguf(const GgufFile &file, const ModelSettings &settings,
                                      const ImportOptions &options) {
  return GgufModel(file, settings, options).run();
}

} // namespace bitnet::import
