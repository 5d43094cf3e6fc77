// The readers of the containers, each filling CheckpointParts; openCheckpoint picks one by what the path is.
#pragma once
#include "compiler/import/Gguf.h"
#include "compiler/import/Settings.h"
#include "compiler/import/TorchConfig.h"
#include "compiler/import/TorchFile.h"

namespace bitnet::import {

/// Model configuration, tensors and tokenizer of a GGUF file that was read.
llvm::Expected<CheckpointParts> partsOfGguf(const GgufFile &file, const ModelSettings &settings,
                                            const ImportOptions &options);

/// Its tokenizer.ggml.* keys; nothing when it has no tokenizer.
llvm::Expected<std::optional<GgufVocabulary>> readVocabulary(const GgufFile &file);

/// `path`: a folder with config.json and *.safetensors, or one .safetensors file with config.json beside it.
llvm::Expected<CheckpointParts> partsOfHuggingFace(const std::string &path, const ModelSettings &settings,
                                                   const ImportOptions &options);

/// `path`: a model_state*.pt file of microsoft/BitNet's gpu folder; params.json, config.json and a tokenizer
/// may lie beside it.
llvm::Expected<CheckpointParts> partsOfTorch(const std::string &path, const ModelSettings &settings,
                                             const ImportOptions &options);

/// A file that was read and what is said beside it as a model; `path` is that of the file. The tokenizer is
/// that of its folder.
llvm::Expected<CheckpointParts> partsOfTorch(const TorchFile &file, const TorchConfig &config,
                                             const std::string &path, const ModelSettings &settings,
                                             const ImportOptions &options);

/// Everything after the container: settings, checks of sizes and tensors, what float weights turned out to
/// be.
llvm::Expected<std::unique_ptr<Checkpoint>>
finishCheckpoint(CheckpointParts parts, const ModelSettings &settings, const ImportOptions &options);

} // namespace bitnet::import
