// What holds of whatever the importer makes of an input: errors are one line, weights are trits of the shape
// that they claim.
#pragma once
#include "compiler/import/OpenContainers.h"
#include <cstdlib>

namespace bitnet::fuzz {

inline void check(bool holds) {
  if (!holds)
    std::abort();
}

/// False, with a look at the message, for an error.
template <typename T> bool ok(llvm::Expected<T> &value) {
  if (value)
    return true;
  std::string text = llvm::toString(value.takeError());
  check(!text.empty() && text.find('\n') == std::string::npos);
  return false;
}
template <typename T> bool ok(llvm::Expected<T> &&value) { return ok(value); }

/// Decodes every matrix of the graph and some rows of the embedding.
inline void decodeAll(const import::Checkpoint &checkpoint) {
  for (int32_t layer = 0; layer < checkpoint.config().layers; ++layer)
    for (const char *name : import::kLinearNames) {
      llvm::Expected<import::TernaryMatrix> matrix = checkpoint.ternary(import::layerTensor(layer, name));
      if (!ok(matrix))
        continue;
      check(matrix->trits.size() == size_t(matrix->rows) * size_t(matrix->cols));
      for (int8_t trit : matrix->trits)
        check(trit >= -1 && trit <= 1);
    }
  ok(checkpoint.dense("token_embd.weight", 0, 16));
}

/// The steps after the container, and all weights.
inline void decodeModel(llvm::Expected<import::CheckpointParts> parts,
                        const import::ModelSettings &settings) {
  if (!ok(parts))
    return;
  llvm::Expected<std::unique_ptr<import::Checkpoint>> checkpoint =
      import::finishCheckpoint(std::move(*parts), settings, import::ImportOptions());
  if (ok(checkpoint))
    decodeAll(**checkpoint);
}

} // namespace bitnet::fuzz
