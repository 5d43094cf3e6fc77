// Reading config.json: fields of both transformers 4 and 5, integers that are written as floats, and the
// quantization_config that says what the weights are.
#include "compiler/import/HfConfig.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
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
    for (auto step : {&ConfigReader::readFamily, &ConfigReader::readSizes, &ConfigReader::readRope,
                      &ConfigReader::readActivation, &ConfigReader::readMlx, &ConfigReader::readQuantization})
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
    bool oneBit = weightBits && weightBits->is_number() && weightBits->get<double>() == 1;
    if (type != "bitnet" && type != "llama")
      return fail("model_type " + quoted(type) +
                  ": expected bitnet or llama; other decoder graphs are not supported");
    out_.model.family = type == "bitnet" ? "bitnet-b1.58" : "llama";
    // A plain Llama would otherwise be made ternary without a word, and speak nonsense.
    if (type == "llama" && !bitnetFlag && !oneBit && !quantization)
      out_.ternarize = Ternarize::refuse;
    for (const char *bias : {"attention_bias", "mlp_bias"}) {
      bool used = false;
      if (Error error = flag(root_, bias, used))
        return error;
      if (used)
        return fail(Twine(bias) + ": expected false, got true; biases are not supported");
    }
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
    c.normEps = out_.model.family == "llama" ? 1e-6f : 1e-5f; // transformers' defaults
    return real(root_, "rms_norm_eps", c.normEps);
  }

  Error readRope() {
    out_.model.ropeTheta = out_.model.family == "llama" ? 10000.0f : 500000.0f; // transformers' defaults
    if (Error error = real(root_, "rope_theta", out_.model.ropeTheta))
      return error;
    for (const char *name : {"rope_parameters", "rope_scaling"}) { // transformers 5 and 4
      const json *rope = member(root_, name);
      if (!rope)
        continue;
      if (!rope->is_object())
        return fail(Twine(name) + ": expected an object, got " + shortText(*rope));
      std::string type = "default";
      if (Error error = text(*rope, "type", type))
        return error;
      if (Error error = text(*rope, "rope_type", type))
        return error;
      if (type != "default")
        return fail(Twine(name) + ": expected rope_type default, got " + quoted(type) +
                    "; scaled rotation is not supported");
      if (Error error = real(*rope, "rope_theta", out_.model.ropeTheta))
        return error;
      float share = 1;
      if (Error error = real(*rope, "partial_rotary_factor", share))
        return error;
      if (share != 1)
        return fail(Twine(name) + ": expected partial_rotary_factor 1, got " + Twine(std::to_string(share)));
    }
    return Error::success();
  }

  Error readActivation() {
    std::string name;
    if (Error error = text(root_, "hidden_act", name))
      return error;
    bool stated = !name.empty();
    if (!stated)
      name = out_.model.family == "llama" ? "silu" : "relu2";
    std::optional<format::Act> act = activationFromName(name);
    if (!act)
      return fail("hidden_act: expected relu2, silu or gelu, got " + quoted(name));
    out_.model.act = *act;
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
    bool rmsNorm = false;
    if (Error error = flag(*quantization, "use_rms_norm", rmsNorm))
      return error;
    if (rmsNorm)
      return fail("quantization_config.use_rms_norm: expected false, got true; a norm for each projection is "
                  "not supported");
    if (const json *kept = member(*quantization, "modules_to_not_convert")) {
      if (!kept->is_array())
        return fail("quantization_config.modules_to_not_convert: expected a list, got " + shortText(*kept));
      for (const json &module : *kept)
        if (!module.is_string() || StringRef(module.get_ref<const std::string &>()).contains("_proj"))
          return fail("quantization_config.modules_to_not_convert: expected no projection of a layer, got " +
                      shortText(module));
    }
    out_.scaleDivides = linearClass == "bitlinear";
    if (mode == "online")
      out_.ternarize = Ternarize::always;
    return Error::success();
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
