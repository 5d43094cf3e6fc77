// ModelConfig → the bitnet dialect: the one decoder graph that all families share, with its options. Knows
// nothing of files, weights' bytes or kernels.
#pragma once
#include "compiler/import/Checkpoint.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>

namespace bitnet::import {

/// Ternary matrices, by name, that have a scale for each so many columns of a row (Checkpoint::scaleGroup).
/// The others have one for each row.
using ScaleGroups = std::map<std::string, int32_t>;

/// A module with one function, `@step`, that runs the model over a batch of rows:
///   (tokens, positions, sequences, slots, block_table, logit_rows, a cache for each layer)
///     -> (logits of the wanted rows, the caches afterwards)
/// or, without a head, the wanted rows of the last norm. Each layer: h = x + Wo·subnorm(attention(rms(x))),
/// out = h + Wdown·subnorm(act(gate)·up), where gate and up read rms(h). The context must have the bitnet and
/// func dialects available (they are loaded here). Null after a diagnostic if the configuration does not make
/// a legal graph.
mlir::OwningOpRef<mlir::ModuleOp> buildModule(mlir::MLIRContext &context, const ModelConfig &config,
                                              const ScaleGroups &groups = {});

} // namespace bitnet::import
