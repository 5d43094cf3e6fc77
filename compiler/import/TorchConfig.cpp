// One table of fields with both of their names; the sizes that the tensors show too are compared by the
// caller.
#include "compiler/import/TorchConfig.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
#include <cmath>
#include <limits>
#include <sys/stat.h>

using namespace llvm;
using nlohmann::json;

namespace bitnet::import {
namespace {

std::string shortText(const json &value) {
  return quoted(value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 60));
}

/// Calls take(name, value) for each of the names that is there and not null.
template <typename Fn> Error each(const json &object, std::initializer_list<const char *> names, Fn take) {
  for (const char *name : names)
    if (auto found = object.find(name); found != object.end() && !found->is_null())
      if (Error error = take(name, *found))
        return error;
  return Error::success();
}

} // namespace

Expected<TorchConfig> parseTorchConfig(const std::string &text, const std::string &path,
                                       const std::function<void(const std::string &)> &warn) {
  Expected<json> root = parseJson(text, path, warn);
  if (!root)
    return root.takeError();
  const json *object = &*root;
  if (object->is_object())
    if (auto model = object->find("model"); model != object->end() && model->is_object())
      object = &*model;
  if (!object->is_object())
    return failure(path + ": expected an object, got " + shortText(*object));

  TorchConfig config;
  config.path = path;
  const std::tuple<std::optional<int32_t> *, const char *, const char *, const char *> sizes[] = {
      {&config.width, "dim", "hidden_size", "hidden_size"},
      {&config.layers, "n_layers", "num_hidden_layers", "num_hidden_layers"},
      {&config.heads, "n_heads", "num_attention_heads", "num_attention_heads"},
      {&config.kvHeads, "n_kv_heads", "num_key_value_heads", "num_key_value_heads"},
      {&config.headDim, "head_dim", "head_dim", "head_dim"},
      {&config.vocab, "vocab_size", "vocab_size", "vocab_size"},
      {&config.ffnWidth, "ffn_dim", "intermediate_size", "intermediate_size"},
      {&config.context, "max_seq_len", "max_position_embeddings", "context"}};
  for (const auto &[out, first, second, third] : sizes)
    if (Error error = each(
            *object, {first, second, third}, [&, to = out](const char *name, const json &value) -> Error {
              double number = value.is_number() ? value.get<double>() : 0;
              if (!(number >= 1 && number <= std::numeric_limits<int32_t>::max()) ||
                  number != std::floor(number))
                return failure(path + ": " + name + ": expected an integer of 1 to 2147483647, got " +
                               shortText(value));
              *to = int32_t(number);
              return Error::success();
            }))
      return error;
  const std::tuple<std::optional<float> *, const char *, const char *> reals[] = {
      {&config.normEps, "norm_eps", "rms_norm_eps"}, {&config.ropeTheta, "rope_theta", "rope_theta"}};
  for (const auto &[out, first, second] : reals)
    if (Error error =
            each(*object, {first, second}, [&, to = out](const char *name, const json &value) -> Error {
              if (!value.is_number())
                return failure(path + ": " + name + ": expected a number, got " + shortText(value));
              *to = float(value.get<double>());
              return Error::success();
            }))
      return error;
  if (Error error = each(*object, {"hidden_act"}, [&](const char *name, const json &value) -> Error {
        if (value.is_string())
          config.act = activationFromName(value.get_ref<const std::string &>());
        return config.act
                   ? Error::success()
                   : failure(path + ": " + name + ": expected relu2, silu or gelu, got " + shortText(value));
      }))
    return error;
  return config;
}

Expected<TorchConfig> readTorchConfig(const std::string &folder,
                                      const std::function<void(const std::string &)> &warn) {
  for (const char *name : {"params.json", "config.json"}) {
    const std::string path = folder + "/" + name;
    struct stat info;
    if (::stat(path.c_str(), &info) != 0)
      continue;
    Expected<std::string> text = readWhole(path, kMaxJsonBytes);
    if (!text)
      return text.takeError();
    return parseTorchConfig(*text, path, warn);
  }
  return TorchConfig();
}

} // namespace bitnet::import
