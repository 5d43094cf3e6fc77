// config.json of a Hugging Face checkpoint: the decoder graph it stands for, or why it is not one of ours.
#pragma once
#include "compiler/import/Families.h"
#include "compiler/import/Settings.h"

namespace bitnet::import {

struct HfConfig {
  ModelConfig model;            ///< without name and tiedHead; the tensors may add sub-norms
  std::optional<bool> tiedHead; ///< tie_word_embeddings
  const Family *family = nullptr;
  bool trainedWithInt8 = true;
  bool scaleDivides = true; ///< weight_scale holds 1/scale (linear_class bitlinear, the default)
  int32_t mlxGroup = 0; ///< columns that share a scale in packs of mlx, which are of 2 bits; 0: none is one
  Ternarize ternarize = Ternarize::fallback;
  std::vector<Decision> decisions;
};

/// `text` is config.json, `where` its path.
llvm::Expected<HfConfig> parseHfConfig(const std::string &text, const std::string &where,
                                       const std::function<void(const std::string &)> &warn);

} // namespace bitnet::import
