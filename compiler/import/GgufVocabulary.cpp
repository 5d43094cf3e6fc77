// The tokenizer.ggml.* keys of a GGUF file, each of its kind. What they mean is for the tokenizer importer.
#include "compiler/import/ImportError.h"
#include "compiler/import/OpenContainers.h"

using namespace llvm;

namespace bitnet::import {
namespace {

template <typename T, typename Value> Error take(Expected<Value> value, T &out) {
  if (!value)
    return value.takeError();
  out = std::move(*value);
  return Error::success();
}

} // namespace

Expected<std::optional<GgufVocabulary>> readVocabulary(const GgufFile &file) {
  const std::string prefix = "tokenizer.ggml.";
  std::optional<std::string> model, pre;
  if (Error error = take(file.text(prefix + "model"), model))
    return error;
  if (!model)
    return std::nullopt;
  if (Error error = take(file.text(prefix + "pre"), pre))
    return error;
  GgufVocabulary v;
  v.model = *model;
  v.pre = pre.value_or("");
  if (Error error = take(file.strings(prefix + "tokens"), v.tokens))
    return error;
  if (Error error = take(file.strings(prefix + "merges"), v.merges))
    return error;
  if (Error error = take(file.floats(prefix + "scores"), v.scores))
    return error;
  if (Error error = take(file.integers(prefix + "token_type"), v.types))
    return error;
  struct Id {
    const char *name;
    std::optional<int64_t> &out;
  };
  for (Id id : {Id{"bos", v.bos},
                {"eos", v.eos},
                {"eot", v.eot},
                {"eom", v.eom},
                {"padding", v.pad},
                {"unknown", v.unk}})
    if (Error error = take(file.integer(prefix + id.name + "_token_id"), id.out))
      return error;
  // The others are checked where a setting may replace them.
  if (v.unk && (*v.unk < 0 || uint64_t(*v.unk) >= v.tokens.size()))
    return failure(file.name() + ": key 'tokenizer.ggml.unknown_token_id': expected an id below " +
                   Twine(v.tokens.size()) + ", got " + Twine(*v.unk));
  struct Flag {
    const char *name;
    std::optional<bool> &out;
  };
  for (Flag flag : {Flag{"add_bos_token", v.addBos},
                    {"add_eos_token", v.addEos},
                    {"add_space_prefix", v.addSpacePrefix},
                    {"remove_extra_whitespaces", v.removeExtraWhitespaces}})
    if (Error error = take(file.boolean(prefix + flag.name), flag.out))
      return error;
  if (const GgufValue *map = file.find(prefix + "precompiled_charsmap")) {
    bool bytes =
        map->kind == GgufKind::array && (map->element == GgufKind::u8 || map->element == GgufKind::i8);
    if (!bytes)
      return failure(file.name() + ": key 'tokenizer.ggml.precompiled_charsmap': expected array of u8, got " +
                     Twine(ggufKindName(map->kind)));
    v.charsmap = map->bytes;
  }
  return v;
}

} // namespace bitnet::import
