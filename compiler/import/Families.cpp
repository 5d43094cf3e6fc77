// See Families.h.
#include "compiler/import/Families.h"

using namespace llvm;

namespace bitnet::import {
namespace {

using format::Act;
const Family families[] = {{"bitnet-b1.58", "bitnet", Act::relu2, 1e-5f, 500000, true, false, false, true},
                           {"bitnet-25", nullptr, Act::relu2, 1e-5f, 500000, true, false, false, true},
                           {"bitnet", nullptr, Act::silu, 1e-5f, 500000, true, false, false, true},
                           {"llama", "llama", Act::silu, 1e-6f, 10000, false, false, false, true},
                           {"qwen3", "qwen3", Act::silu, 1e-6f, 10000, false, true, false, false},
                           {"gemma3", "gemma3_text", Act::gelu, 1e-6f, 1e6f, false, true, true, false}};

} // namespace

const Family *familyOfArch(StringRef arch) {
  for (const Family &family : families)
    if (arch == family.arch)
      return &family;
  return nullptr;
}

const Family *familyOfModelType(StringRef modelType) {
  for (const Family &family : families)
    if (family.modelType && modelType == family.modelType)
      return &family;
  return nullptr;
}

const char *refusedFamily(StringRef name) {
  if (name.contains("hadamard"))
    return "its weights are rotated, and its layers are of two kinds (a hybrid of Gated DeltaNet and "
           "attention)";
  if (name.starts_with("qwen35") || name.starts_with("qwen3_5") || name.starts_with("qwen3_next") ||
      name.starts_with("qwen3next"))
    return "its layers are of two kinds, most of them Gated DeltaNet, without attention";
  if (name.ends_with("moe") || name == "mixtral" || name.starts_with("deepseek"))
    return "it is a mixture of experts";
  static const std::pair<const char *, const char *> reasons[] = {
      {"qwen2", "its q, k and v have biases"},
      {"gemma", "it scales embeddings and has 1 + w norms, without norms of q and k"},
      {"gemma2", "it caps the logits of attention and head"},
      {"gemma3", "its config.json wraps a vision model; the language model alone is gemma3_text"},
      {"dspark", "it is a speculation head, not a model"},
      {"falcon", "its attention and feed-forward network run side by side"},
      {"phi3", "its projections are stored merged"},
      {"phi", "its attention and feed-forward network run side by side"},
      {"mistral", "its attention sees a window only"}};
  for (auto [other, reason] : reasons)
    if (name == other)
      return reason;
  return "it is not a decoder graph that this compiler knows";
}

} // namespace bitnet::import
