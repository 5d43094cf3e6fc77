// The model families that are the one decoder graph, under their names in files, and why others are not.
#pragma once
#include "compiler/import/Checkpoint.h"
#include "llvm/ADT/StringRef.h"

namespace bitnet::import {

struct Family {
  const char *arch;      ///< general.architecture of GGUF
  const char *modelType; ///< model_type of config.json, or nullptr: that of another entry
  format::Act act;       ///< where no file says it
  /// transformers' defaults for keys that config.json leaves out.
  float normEps, ropeTheta;
  bool subNorms;  ///< norms before the output and down projections; others have them where tensors say so
  bool headNorms; ///< a norm on each head of q and k
  bool postNorms; ///< norms after attention and feed-forward network, 1 + w; scaled embeddings
  bool trainedWithInt8; ///< activations are quantised in training, so that int8 is what the model expects
};

const Family *familyOfArch(llvm::StringRef arch);
const Family *familyOfModelType(llvm::StringRef modelType);
/// Why an architecture or model type that is none of ours is not this graph.
const char *refusedFamily(llvm::StringRef name);

} // namespace bitnet::import
