// The table of --set keys and their parsers.
#include "compiler/import/Settings.h"
#include "compiler/import/ImportError.h"
#include "llvm/ADT/StringRef.h"
#include <cstdlib>

using namespace llvm;

namespace bitnet::import {
namespace {

template <typename T>
bool choose(StringRef value, std::initializer_list<std::pair<const char *, T>> choices,
            std::optional<T> &out) {
  for (const auto &[name, meaning] : choices)
    if (value == name) {
      out = meaning;
      return true;
    }
  return false;
}

bool positive(const std::string &value, std::optional<float> &out) {
  char *end = nullptr;
  float number = std::strtof(value.c_str(), &end);
  out = number;
  return !value.empty() && *end == 0 && number > 0 && number <= 1e12f;
}

bool integer(const std::string &value, std::optional<int32_t> &out) {
  int32_t number = 0;
  bool ok = !StringRef(value).getAsInteger(10, number) && number > 0;
  out = number;
  return ok;
}

/// "42:pq2_0,39:tl2"
bool typeChoice(StringRef value, GgufTypeChoice &out) {
  while (!value.empty()) {
    auto [one, rest] = value.split(',');
    auto [number, name] = one.split(':');
    uint32_t id = 0;
    const GgufTypeInfo *type =
        number.getAsInteger(10, id) || !ggufAmbiguous(id) ? nullptr : ggufMeaning(id, name);
    if (!type)
      return false;
    out[id] = type;
    value = rest;
  }
  return !out.empty();
}

/// "3200x8640:160/64/32,3200x3200:320/128/64"
bool tlKernels(StringRef list, std::vector<TlKernel> &out) {
  out.clear();
  SmallVector<StringRef> texts;
  list.split(texts, ',');
  for (StringRef text : texts) {
    TlKernel kernel;
    for (auto [value, end] :
         {std::pair(&kernel.rows, 'x'), std::pair(&kernel.cols, ':'), std::pair(&kernel.tileRows, '/'),
          std::pair(&kernel.tileCols, '/'), std::pair(&kernel.stripe, ' ')}) {
      auto [number, rest] = text.split(end);
      if (number.getAsInteger(10, *value) || *value < 1)
        return false;
      text = rest;
    }
    if (!text.empty())
      return false;
    out.push_back(kernel);
  }
  return true;
}

std::string tlKernelsText(const std::vector<TlKernel> &kernels) {
  std::string text;
  for (const TlKernel &k : kernels)
    text += (text.empty() ? "" : ",") + std::to_string(k.rows) + "x" + std::to_string(k.cols) + ":" +
            std::to_string(k.tileRows) + "/" + std::to_string(k.tileCols) + "/" + std::to_string(k.stripe);
  return text;
}

struct Key {
  const char *name, *help;
  bool (*parse)(const std::string &value, ModelSettings &out);
};

bool forTokenizer(const std::string &, ModelSettings &) { return true; } // checked by the tokenizer importer

const Key keys[] = {
    {"activation", "relu2, silu or gelu: the gate of the feed-forward network, which GGUF does not name",
     [](const std::string &v, ModelSettings &s) { return bool(s.activation = activationFromName(v)); }},
    {"context", "positions that the model is compiled for; at most what it was trained for makes sense",
     [](const std::string &v, ModelSettings &s) { return integer(v, s.context); }},
    {"rope_theta", "base of the rotary embedding",
     [](const std::string &v, ModelSettings &s) { return positive(v, s.ropeTheta); }},
    {"norm_eps", "epsilon of the norms",
     [](const std::string &v, ModelSettings &s) { return positive(v, s.normEps); }},
    {"sub_norm_eps", "epsilon of the norms before the output and down projections, if it is another",
     [](const std::string &v, ModelSettings &s) { return positive(v, s.subNormEps); }},
    {"heads", "attention heads of a .pt checkpoint, which does not say",
     [](const std::string &v, ModelSettings &s) { return integer(v, s.heads); }},
    {"kv_heads", "key/value heads of a .pt checkpoint, which does not say",
     [](const std::string &v, ModelSettings &s) { return integer(v, s.kvHeads); }},
    {"i2s_layout", "128, 64 or row4: byte order of i2_s tensors (64: written by ARM builds)",
     [](const std::string &v, ModelSettings &s) {
       return choose<I2SLayout>(
           v, {{"128", I2SLayout::blocks128}, {"64", I2SLayout::blocks64}, {"row4", I2SLayout::rows4}},
           s.i2sLayout);
     }},
    {"ggml_type",
     "NUMBER:ENCODING, as 42:q2_0, 42:pq2_0 or 39:tl2: what an ambiguous type number of a GGUF file means",
     [](const std::string &v, ModelSettings &s) { return typeChoice(v, s.ggufTypes); }},
    {"tl_kernels",
     "MxK:BM/BK/bm,... of kernel_config.ini (m, k, bm, bk, bmm) for each shape of matrix: the kernels that "
     "tl1 and tl2 tensors were written for",
     [](const std::string &v, ModelSettings &s) { return tlKernels(v, s.tlKernels); }},
    {"ternarize", "auto, absmean or never: float weights that are not ternary as they stand",
     [](const std::string &v, ModelSettings &s) {
       s.ternarize.reset(); // of two the last one counts
       if (v == "auto")
         return true;
       return choose<Ternarize>(v, {{"absmean", Ternarize::always}, {"never", Ternarize::refuse}},
                                s.ternarize);
     }},
    {"absmean",
     "f32 or stored: arithmetic of the mean that makes latent weights ternary, transformers' or that of "
     "programs that work in the stored type (microsoft/BitNet's gpu folder, onebitllms, 1bitLLM)",
     [](const std::string &v, ModelSettings &s) {
       return choose<AbsMean>(v, {{"f32", AbsMean::wide}, {"stored", AbsMean::stored}}, s.absMean);
     }},
    {"scale", "multiply or divide: direction of weight_scale, against linear_class of config.json",
     [](const std::string &v, ModelSettings &s) {
       return choose<bool>(v, {{"multiply", false}, {"divide", true}}, s.scaleDivides);
     }},
    {"pooling", "last or none: whether a model gives embeddings, the last token's, or logits",
     [](const std::string &v, ModelSettings &s) {
       return choose<bool>(v, {{"none", false}, {"last", true}}, s.pooling);
     }},
    {"pre", "name of the pre-tokenizer, as in tokenizer.ggml.pre", forTokenizer},
    {"bos", "id of the token that begins a text", forTokenizer},
    {"eos", "id of the token that ends a text", forTokenizer},
    {"add_bos", "true or false: begin every prompt with the bos token", forTokenizer},
    {"add_eos", "true or false: end every text with the eos token, as models that embed want it", forTokenizer},
};

} // namespace

std::vector<SettingInfo> importSettings() {
  std::vector<SettingInfo> infos;
  for (const Key &key : keys)
    infos.push_back({key.name, key.help});
  return infos;
}

std::optional<format::Act> activationFromName(StringRef name) {
  std::optional<format::Act> act;
  choose<format::Act>(name.lower(),
                      {{"relu2", format::Act::relu2},
                       {"relu_squared", format::Act::relu2},
                       {"silu", format::Act::silu},
                       {"swish", format::Act::silu},
                       {"swiglu", format::Act::silu},
                       {"gelu", format::Act::gelu},
                       {"gelu_tanh", format::Act::gelu},
                       {"gelu_pytorch_tanh", format::Act::gelu}},
                      act);
  return act;
}

Expected<ModelSettings> parseSettings(const std::vector<std::pair<std::string, std::string>> &settings) {
  ModelSettings result;
  result.tokenizer = settings;
  for (const auto &[name, value] : settings) {
    const Key *found = nullptr;
    std::string known;
    for (const Key &key : keys) {
      known += (known.empty() ? "" : ", ") + std::string(key.name);
      if (name == key.name)
        found = &key;
    }
    if (!found)
      return failure("--set " + name + ": expected one of " + known);
    if (!found->parse(value, result))
      return failure("--set " + name + ": expected " + found->help + "; got " + quoted(value));
  }
  return result;
}

void applySettings(const ModelSettings &settings, CheckpointParts &parts) {
  auto note = [&](const char *what, const std::string &value) {
    parts.decisions.push_back({what, value, "set by the user", std::string("--set ") + what + "=" + value});
  };
  ModelConfig &config = parts.config;
  if (settings.activation) {
    config.act = *settings.activation;
    note("activation", format::act_name(config.act));
  }
  if (settings.context) {
    config.context = *settings.context;
    note("context", std::to_string(config.context));
  }
  if (settings.ropeTheta) {
    config.ropeTheta = *settings.ropeTheta;
    note("rope_theta", std::to_string(config.ropeTheta));
  }
  if (settings.normEps) {
    config.normEps = *settings.normEps;
    note("norm_eps", std::to_string(config.normEps));
  }
  if (settings.subNormEps) {
    config.subNormEps = *settings.subNormEps;
    note("sub_norm_eps", std::to_string(config.subNormEps));
  }
  if (settings.i2sLayout) {
    parts.decoding.i2sLayout = *settings.i2sLayout;
    static const char *const names[] = {"128", "64", "row4"};
    note("i2s_layout", names[int(parts.decoding.i2sLayout)]);
  }
  if (!settings.tlKernels.empty()) {
    parts.decoding.tlKernels = settings.tlKernels;
    note("tl_kernels", tlKernelsText(settings.tlKernels));
  }
  if (settings.ternarize) {
    parts.decoding.ternarize = *settings.ternarize;
    note("ternarize", parts.decoding.ternarize == Ternarize::always ? "absmean" : "never");
  }
  if (settings.absMean)
    parts.decoding.absMean = *settings.absMean;
}

Error adoptTokenizer(Expected<ImportedTokenizer> found, const std::string &where, CheckpointParts &parts) {
  if (!found)
    return found.takeError();
  if (found->size > parts.config.vocab)
    return failure(where + ": expected a tokenizer of at most " + Twine(parts.config.vocab) +
                   " tokens, as many as the embedding has rows, got " + Twine(found->size));
  parts.tokenizer = std::move(found->bytes);
  parts.tokenizerSize = found->size;
  parts.decisions.insert(parts.decisions.end(), found->decisions.begin(), found->decisions.end());
  if (!found->chatTemplate.empty())
    parts.chatTemplate = found->chatTemplate;
  return Error::success();
}

} // namespace bitnet::import
