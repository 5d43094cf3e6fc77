// What params.json or config.json beside a .pt checkpoint says of the model: the file itself holds tensors
// only.
#pragma once
#include "compiler/import/Settings.h"

namespace bitnet::import {

/// Each field is there if the file names it.
struct TorchConfig {
  std::string path; ///< of the file that was read; empty when there is none
  std::optional<int32_t> width, layers, heads, kvHeads, headDim, vocab, ffnWidth, context;
  std::optional<float> normEps, ropeTheta;
  std::optional<format::Act> act;
};

/// Reads params.json, or else config.json, of `folder`. Fields have the names of the original's ModelArgs
/// (dim, n_heads, ...) or of Hugging Face (hidden_size, num_attention_heads, ...), at the top or in an object
/// "model".
llvm::Expected<TorchConfig> readTorchConfig(const std::string &folder,
                                            const std::function<void(const std::string &)> &warn);

/// The same of a text; `path` starts every error.
llvm::Expected<TorchConfig> parseTorchConfig(const std::string &text, const std::string &path,
                                             const std::function<void(const std::string &)> &warn);

} // namespace bitnet::import
