// Reading config.json: fields of both transformers 4 and 5, integers that are written as floats, and the
// quantization_config that says what the weights are.
#include "compiler/import/HfConfig.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace llvm;
using nlohmann::json;

namespace bitnet::import {
namespace {

/// A member that is there and not null.
const json *member(const json &object, const char *name) {
  if (!object.is_object())
    return nullptr;
  auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string shortText(const json &value) {
  return quoted(value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 60));
}

class ConfigReader {
public:
  ConfigReader(const json &root, const std::string &where) : root_(root), where_(where) {}

  Expected<HfConfig> run() {
    if (!root_.is_object())
      return fail("expected an object");
    for (auto step : {&ConfigReader::readFamily, &ConfigReader::readSizes, &ConfigReader::readLocalLayers,
                      &ConfigReader::readRope, &ConfigReader::readActivation, &ConfigReader::readMlx,
                      &ConfigReader::readQuantization})
      if (Error error = (this->*step)())
        return error;
    return std::move(out_);
  }

private:
  Error fail(const Twine &text) const { return failure(where_ + ": " + text); }

  Error text(const json &object, const char *name, std::string &out) const {
    const json *value = member(object, name);
    if (value && !value->is_string())
      return fail(Twine(name) + ": expected a string, got " + shortText(*value));
    if (value)
      out = value->get_ref<const std::string &>();
    return Error::success();
  }

  Error flag(const json &object, const char *name, bool &out) const {
    const json *value = member(object, name);
    if (value && !value->is_boolean())
      return fail(Twine(name) + ": expected true or false, got " + shortText(*value));
    if (value)
      out = value->get<bool>();
    return Error::success();
  }

  Error real(const json &object, const char *name, float &out) const {
    const json *value = member(object, name);
    if (value && !value->is_number())
      return fail(Twine(name) + ": expected a number, got " + shortText(*value));
    if (value)
      out = float(value->get<double>());
    return Error::success();
  }

  /// An integer, also one written as 2560.0. `fallback` 0: must be there.
  Error size(const char *name, int32_t &out, int32_t fallback) const {
    const json *value = member(root_, name);
    if (!value && fallback > 0) {
      out = fallback;
      return Error::success();
    }
    double number = value && value->is_number() ? value->get<double>() : 0;
    if (!(number >= 1 && number <= std::numeric_limits<int32_t>::max()) || number != std::floor(number))
      return fail(Twine(name) + ": expected an integer of 1 to 2147483647, got " +
                  (value ? shortText(*value) : std::string("none")));
    out = int32_t(number);
    return Error::success();
  }

  Error readFamily() {
    std::string type;
    if (Error error = text(root_, "model_type", type))
      return error;
    bool bitnetFlag = false;
    if (Error error = flag(root_, "is_bitnet_config", bitnetFlag))
      return error;
    const json *quantization = member(root_, "quantization_config");
    const json *weightBits = member(root_, "weight_bits");
    if (const json *bits = member(root_, "input_bits"); bits && *bits != 8) // 1bitLLM's
      return fail("input_bits: expected 8, got " + shortText(*bits) +
                  "; other activations are not supported");
    bool oneBit = weightBits && weightBits->is_number() && weightBits->get<double>() == 1;
    if (const json *architectures = member(root_, "architectures");
        architectures && architectures->is_array())
      for (const json &name : *architectures) // Qwen3Model, not Qwen3ForCausalLM
        out_.model.embeds |=
            name.is_string() && StringRef(name.get_ref<const std::string &>()).ends_with("Model");
    for (auto &[key, value] : root_.items())
      if (StringRef(key).contains("hadamard"))
        return fail(Twine("key ") + quoted(key) +
                    ": its weights are rotated (Hadamard), which is not supported");
    out_.family = familyOfModelType(type);
    if (!out_.family)
      return fail("model_type " + quoted(type) + ": expected bitnet, llama, qwen3 or gemma3_text; " +
                  refusedFamily(type));
    ModelConfig &c = out_.model;
    c.family = out_.family->arch;
    c.attnSubNorm = c.ffnSubNorm = out_.family->subNorms;
    c.headNorms = out_.family->headNorms;
    c.postNorms = out_.family->postNorms;
    const bool plain = type != "bitnet" && !bitnetFlag && !oneBit && !quantization;
    // A plain Llama would otherwise be made ternary without a word, and speak nonsense.
    if (plain)
      out_.ternarize = Ternarize::refuse;
    const bool packs =
        quantization && !member(*quantization, "quant_method"); // mlx: says nothing of training
    out_.trainedWithInt8 = !plain && (!packs || bitnetFlag || oneBit || type == "bitnet");
    for (const char *no : {"attention_bias", "mlp_bias", "parallel_attn", "use_parallel_residual",
                           "use_bidirectional_attention"}) {
      bool used = false;
      if (Error error = flag(root_, no, used))
        return error;
      if (used)
        return fail(Twine(no) + ": expected false, got true; " +
                    (StringRef(no).ends_with("bias") ? "biases are" : "that graph is") + " not supported");
    }
    for (const char *cap : {"attn_logit_softcapping", "final_logit_softcapping"})
      if (const json *value = member(root_, cap))
        return fail(Twine(cap) + ": expected null, got " + shortText(*value) + "; caps are not supported");
    bool tied = false;
    if (Error error = flag(root_, "tie_word_embeddings", tied))
      return error;
    if (member(root_, "tie_word_embeddings"))
      out_.tiedHead = tied;
    return Error::success();
  }

  Error readSizes() {
    ModelConfig &c = out_.model;
    struct Field {
      const char *name;
      int32_t &out;
    };
    for (Field field : {Field{"num_hidden_layers", c.layers},
                        {"hidden_size", c.width},
                        {"intermediate_size", c.ffnWidth},
                        {"num_attention_heads", c.heads},
                        {"vocab_size", c.vocab},
                        {"max_position_embeddings", c.context}})
      if (Error error = size(field.name, field.out, 0))
        return error;
    if (Error error = size("num_key_value_heads", c.kvHeads, c.heads))
      return error;
    if (!member(root_, "head_dim") && c.width % c.heads != 0)
      return fail("num_attention_heads: expected a number that divides hidden_size " + Twine(c.width) +
                  ", got " + Twine(c.heads));
    if (Error error = size("head_dim", c.headDim, std::max(1, c.width / c.heads)))
      return error;
    c.normEps = out_.family->normEps;
    if (Error error = real(root_, "rms_norm_eps", c.normEps))
      return error;
    float scalar = out_.family->postNorms ? 256 : float(c.headDim); // gemma3's default in transformers
    if (Error error = real(root_, "query_pre_attn_scalar", scalar))
      return error;
    if (scalar != float(c.headDim))
      return fail("query_pre_attn_scalar: expected the head size " + Twine(c.headDim) + ", got " +
                  Twine(std::to_string(scalar)) + "; another scale of attention is not supported");
    return Error::success();
  }

  /// Which layers see a window only. With a context no longer than the window that changes nothing, but in
  /// gemma3 those layers also turn by another base.
  Error readLocalLayers() {
    ModelConfig &c = out_.model;
    const bool gemma = out_.family->postNorms;
    bool useWindow = gemma;
    if (Error error = flag(root_, "use_sliding_window", useWindow))
      return error;
    std::vector<bool> local(size_t(std::min(c.layers, 4096)), false);
    if (const json *types = member(root_, "layer_types")) {
      if (!types->is_array() || types->size() != size_t(c.layers))
        return fail("layer_types: expected a list of " + Twine(c.layers) + " names, got " +
                    shortText(*types));
      for (size_t i = 0; i < local.size(); ++i) {
        const json &name = (*types)[i];
        if (name != "full_attention" && name != "sliding_attention")
          return fail("layer_types: expected full_attention or sliding_attention, got " + shortText(name));
        local[i] = name == "sliding_attention";
      }
    } else if (gemma) {
      int32_t every = 6; // transformers' default
      for (const char *key : {"sliding_window_pattern", "_sliding_window_pattern"})
        if (Error error = size(key, every, every))
          return error;
      for (size_t i = 0; i < local.size(); ++i)
        local[i] = (i + 1) % size_t(every) != 0;
    } else if (useWindow) {
      local.assign(local.size(), true);
    }
    if (std::find(local.begin(), local.end(), true) == local.end())
      return Error::success();
    if (Error error = size("sliding_window", c.window, gemma ? 4096 : 0))
      return error;
    if (gemma)
      c.localLayers = std::move(local);
    return Error::success();
  }

  Error readRope() {
    ModelConfig &c = out_.model;
    c.ropeTheta = out_.family->ropeTheta;
    if (Error error = real(root_, "rope_theta", c.ropeTheta))
      return error;
    if (!c.localLayers.empty()) {
      c.localRopeTheta = 10000; // transformers' default
      if (Error error = real(root_, "rope_local_base_freq", c.localRopeTheta))
        return error;
    }
    if (Error error = wholeHead(root_, "partial_rotary_factor"))
      return error;
    for (const char *name : {"rope_parameters", "rope_scaling"}) { // transformers 5 and 4
      const json *rope = member(root_, name);
      if (!rope)
        continue;
      if (!rope->is_object())
        return fail(Twine(name) + ": expected an object, got " + shortText(*rope));
      const json *full = member(*rope, "full_attention"), *sliding = member(*rope, "sliding_attention");
      if (sliding) { // transformers 5 where layers are of two kinds
        if (!sliding->is_object() || (full && !full->is_object()))
          return fail(Twine(name) + ": expected objects, got " + shortText(*rope));
        RopeScaling unscaled;
        if (Error error = readRotation(*sliding, name, c.localRopeTheta, unscaled))
          return error;
        if (unscaled.kind != RopeScaling::Kind::none)
          return fail(Twine(name) + ".sliding_attention: expected rope_type default, got " +
                      shortText(*sliding));
      }
      if (Error error = readRotation(full ? *full : *rope, name, c.ropeTheta, c.ropeScaling))
        return error;
    }
    return Error::success();
  }

  Error wholeHead(const json &object, const char *name) const {
    float share = 1;
    if (Error error = real(object, name, share))
      return error;
    return share == 1 ? Error::success()
                      : fail(Twine(name) + ": expected 1, got " + Twine(std::to_string(share)) +
                             "; partial rotation is not supported");
  }

  /// An object of rope_type, rope_theta and what the type needs.
  Error readRotation(const json &rope, const char *name, float &theta, RopeScaling &scaling) const {
    std::string type = "default";
    for (const char *key : {"type", "rope_type"})
      if (Error error = text(rope, key, type))
        return error;
    std::optional<RopeScaling::Kind> kind = ropeScalingFromName(type);
    if (!kind)
      return fail(Twine(name) + ": expected rope_type default, linear, llama3 or yarn, got " + quoted(type));
    if (Error error = real(rope, "rope_theta", theta))
      return error;
    if (Error error = wholeHead(rope, "partial_rotary_factor"))
      return error;
    if (*kind == RopeScaling::Kind::none)
      return Error::success();
    scaling.kind = *kind;
    scaling.factor = 0; // must be there
    float mscale = 0, mscaleAll = 0;
    const std::pair<const char *, float &> numbers[] = {
        {"factor", scaling.factor},
        {"original_max_position_embeddings", scaling.originalContext},
        {"low_freq_factor", scaling.lowFrequency},
        {"high_freq_factor", scaling.highFrequency},
        {"beta_fast", scaling.betaFast},
        {"beta_slow", scaling.betaSlow},
        {"attention_factor", scaling.magnitude},
        {"mscale", mscale},
        {"mscale_all_dim", mscaleAll}};
    if (Error error = real(root_, "original_max_position_embeddings", scaling.originalContext))
      return error;
    for (auto &[key, value] : numbers)
      if (Error error = real(rope, key, value))
        return error;
    if (Error error = flag(rope, "truncate", scaling.wholeDimensions))
      return error;
    if (scaling.kind == RopeScaling::Kind::yarn && scaling.originalContext == 0)
      scaling.originalContext = float(out_.model.context);
    if (scaling.kind == RopeScaling::Kind::yarn && scaling.magnitude == 0 && mscale > 0 && mscaleAll > 0) {
      const float stretch = 0.1f * std::log(scaling.factor);
      scaling.magnitude = (stretch * mscale + 1) / (stretch * mscaleAll + 1);
    }
    std::string wrong = ropeScalingError(scaling, out_.model.headDim);
    return wrong.empty() ? Error::success() : fail(Twine(name) + "." + wrong);
  }

  Error readActivation() {
    std::string name;
    for (const char *key :
         {"activation", "hidden_act", "hidden_activation"}) // Falcon3's, most others', gemma3's
      if (Error error = text(root_, key, name))
        return error;
    bool stated = !name.empty();
    if (!stated)
      name = format::act_name(out_.family->act);
    std::optional<format::Act> act = activationFromName(name);
    if (!act)
      return fail("hidden_act: expected relu2, silu or gelu, got " + quoted(name));
    out_.model.act = *act;
    if (stated && StringRef(name).equals_insensitive("gelu"))
      out_.decisions.push_back({"activation", "gelu by tanh",
                                "config.json means the exact gelu; values differ by up to 0.0005", ""});
    if (!stated)
      out_.decisions.push_back({"activation", name,
                                "config.json has no hidden_act; implied by its model_type",
                                name == "silu" ? "--set activation=relu2" : "--set activation=silu"});
    return Error::success();
  }

  Error mlxBits(const json &object, const Twine &where) const {
    const json *bits = member(object, "bits");
    if (bits && *bits == 2)
      return Error::success();
    return fail(where + "bits: expected 2, got " + (bits ? shortText(*bits) : std::string("none")) +
                "; packs of mlx with other widths are not ternary");
  }

  /// What mlx-lm says of its packs: newer versions do so under both keys.
  Error readMlx() {
    const json *mlx = member(root_, "quantization"), *copy = member(root_, "quantization_config");
    if (!mlx && copy && !member(*copy, "quant_method") && member(*copy, "bits"))
      mlx = copy;
    if (!mlx)
      return Error::success();
    if (!mlx->is_object())
      return fail("quantization: expected an object, got " + shortText(*mlx));
    if (Error error = mlxBits(*mlx, "quantization."))
      return error;
    const json *group = member(*mlx, "group_size");
    if (!group || (*group != 32 && *group != 64 && *group != 128))
      return fail("quantization.group_size: expected 32, 64 or 128, got " +
                  (group ? shortText(*group) : std::string("none")));
    std::string mode = "affine";
    if (Error error = text(*mlx, "mode", mode))
      return error;
    if (mode != "affine")
      return fail("quantization.mode: expected affine, got " + quoted(mode));
    for (const auto &[module, own] : mlx->items()) // false: left as it was
      if (own.is_object()) {
        if (Error error = mlxBits(own, "quantization of " + quoted(module) + ": "))
          return error;
        if (const json *other = member(own, "group_size"); other && *other != *group)
          return fail("quantization of " + quoted(module) + ": group_size: expected " + shortText(*group) +
                      " as in all packs, got " + shortText(*other));
      }
    out_.mlxGroup = group->get<int32_t>();
    out_.ternarize = Ternarize::refuse; // what is not packed was not meant to be ternary
    return Error::success();
  }

  Error readQuantization() {
    const json *quantization = member(root_, "quantization_config");
    if (!quantization || out_.mlxGroup > 0)
      return Error::success();
    std::string method, linearClass = "bitlinear", mode = "offline";
    if (Error error = text(*quantization, "quant_method", method))
      return error;
    if (Error error = text(*quantization, "linear_class", linearClass))
      return error;
    if (Error error = text(*quantization, "quantization_mode", mode))
      return error;
    if (method != "bitnet")
      return fail("quantization_config.quant_method: expected bitnet, got " + quoted(method));
    if (linearClass != "bitlinear" && linearClass != "autobitlinear")
      return fail("quantization_config.linear_class: expected bitlinear or autobitlinear, got " +
                  quoted(linearClass));
    if (mode != "offline" && mode != "online")
      return fail("quantization_config.quantization_mode: expected offline or online, got " + quoted(mode));
    if (Error error = flag(*quantization, "use_rms_norm", out_.model.linearNorms))
      return error;
    if (out_.model.linearNorms) {
      out_.model.linearNormEps = 1e-6f; // transformers' default
      if (Error error = real(*quantization, "rms_norm_eps", out_.model.linearNormEps))
        return error;
      if (!(out_.model.linearNormEps > 0))
        return fail("quantization_config.rms_norm_eps: expected a number above 0, got " +
                    Twine(std::to_string(out_.model.linearNormEps)));
    }
    if (const json *kept = member(*quantization, "modules_to_not_convert")) {
      if (!kept->is_array())
        return fail("quantization_config.modules_to_not_convert: expected a list, got " + shortText(*kept));
      for (const json &module : *kept)
        if (!module.is_string() || isInLayer(module.get_ref<const std::string &>()))
          return fail("quantization_config.modules_to_not_convert: expected no projection of a layer, got " +
                      shortText(module));
    }
    out_.scaleDivides = linearClass == "bitlinear";
    if (mode == "online")
      out_.ternarize = Ternarize::always;
    return Error::success();
  }

  /// Whether transformers would keep a projection of a layer: it looks for the entry in the module's path.
  static bool isInLayer(StringRef module) {
    for (const char *part : {"_proj", "layers", "self_attn", "mlp"})
      if (module.contains(part))
        return true;
    return module == "model" || module.empty();
  }

  const json &root_;
  const std::string &where_;
  HfConfig out_;
};

} // namespace

Expected<HfConfig> parseHfConfig(const std::string &text, const std::string &where,
                                 const std::function<void(const std::string &)> &warn) {
  Expected<json> root = parseJson(text, where, warn);
  if (!root)
    return root.takeError();
  return ConfigReader(*root, where).run();
}

} // namespace bitnet::import
