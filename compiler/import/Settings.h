// `--set key=value`: what the user says where the file is silent or wrong. One table of keys; the tokenizer's
// own keys are listed here and read by the tokenizer importer.
#pragma once
#include "compiler/import/GgufTypes.h"
#include "compiler/import/StoredCheckpoint.h"
#include "compiler/import/TokenizerImport.h"

namespace bitnet::import {

struct ModelSettings {
  std::optional<format::Act> activation;
  std::optional<int32_t> context;
  std::optional<int32_t> heads, kvHeads; ///< of a .pt checkpoint, which does not say
  std::optional<float> ropeTheta, normEps, subNormEps;
  std::optional<I2SLayout> i2sLayout;
  std::vector<TlKernel> tlKernels;
  std::optional<Ternarize> ternarize;
  std::optional<AbsMean> absMean;
  GgufTypeChoice ggufTypes;         ///< of a GGUF file, against the sizes of its tensors
  std::optional<bool> pooling;      ///< the model gives embeddings, by pooling over its last token
  std::optional<bool> scaleDivides; ///< weight_scale of a Hugging Face checkpoint holds 1/scale
  TokenizerSettings tokenizer;      ///< as given
};

/// An unknown key or a value that does not parse is an error that lists what is possible. Of a key given
/// twice the last one counts.
llvm::Expected<ModelSettings> parseSettings(const std::vector<std::pair<std::string, std::string>> &settings);

/// "relu2", "silu" or "gelu" and the spellings of config files ("swiglu", "gelu_pytorch_tanh"), or nothing.
std::optional<format::Act> activationFromName(llvm::StringRef name);

/// Overrides what the file said and notes a Decision for each; absmean's is noted where it is used, those of
/// the readers' own keys (heads, scale, pooling, ggml_type) by them.
void applySettings(const ModelSettings &settings, CheckpointParts &parts);

/// Replaces or keeps the checkpoint's tokenizer; `found` is what the checkpoint itself holds. Checks that it
/// fits the vocabulary.
llvm::Error adoptTokenizer(llvm::Expected<ImportedTokenizer> found, const std::string &where,
                           CheckpointParts &parts);

} // namespace bitnet::import
