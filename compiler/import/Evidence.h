// What the weights themselves say of how they are to be read, where the files say nothing: in which order the
// bytes were written, whether floats are ternary as they stand, whether the head is the embedding once more.
#pragma once
#include "compiler/import/Settings.h"

namespace bitnet::import {

/// Decides and notes each as a Decision; an error where the weights contradict what would be assumed. The
/// tensors of the graph are there (checkTensors).
llvm::Error decideByWeights(const ModelSettings &settings, CheckpointParts &parts);

/// A head with the same bytes as the embedding, read in the same way, becomes the tied head that it is.
/// Before checkTensors.
llvm::Error tieEqualHead(CheckpointParts &parts);

} // namespace bitnet::import
