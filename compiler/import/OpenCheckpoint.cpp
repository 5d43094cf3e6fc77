// Entry of the importer: which container, then the steps that all containers share.
#include "compiler/import/ImportError.h"
#include "compiler/import/OpenContainers.h"
#include <sys/stat.h>

using namespace llvm;

namespace bitnet::import {
namespace {

/// Says how the first float matrix is read. The others decide for themselves in the same way.
Error reportFloatWeights(CheckpointParts &parts) {
  const StoredTensor &first = parts.tensors.at(layerTensor(0, kLinearNames[0]));
  std::optional<FloatType> type = floatType(first.encoding);
  if (!type || first.scale)
    return Error::success();
  bool latent = parts.ternarize == Ternarize::always;
  if (parts.ternarize == Ternarize::fallback) {
    std::vector<uint8_t> bytes(size_t(first.bytes));
    if (Error error = first.file->read(first.offset, bytes.data(), bytes.size()))
      return error;
    TernaryMatrix matrix;
    matrix.rows = int32_t(first.rows);
    matrix.cols = int32_t(first.cols);
    latent = !decodeAlreadyTernary(*type, bytes.data(), bytes.size(), matrix);
  }
  parts.source += latent ? " latent" : " ternary";
  if (latent)
    parts.decisions.push_back({"ternarize", "absmean", "float weights that are not ternary as they stand",
                               "--set ternarize=absmean"});
  return Error::success();
}

} // namespace

Expected<std::unique_ptr<Checkpoint>> finishCheckpoint(CheckpointParts parts, const ModelSettings &settings,
                                                       const ImportOptions &options) {
  applySettings(settings, parts);
  inferGraph(parts);
  if (Error error = checkConfig(parts.config, parts.where))
    return error;
  if (Error error = checkTensors(parts, options.warn))
    return error;
  if (Error error = reportFloatWeights(parts))
    return error;
  if (!options.tokenizer.empty())
    if (Error error = adoptTokenizer(importTokenizerFile(options.tokenizer, settings.tokenizer),
                                     options.tokenizer, parts))
      return error;
  return std::make_unique<StoredCheckpoint>(std::move(parts));
}

Expected<std::unique_ptr<Checkpoint>> openCheckpoint(const std::string &path, const ImportOptions &options) {
  Expected<ModelSettings> settings = parseSettings(options.settings);
  if (!settings)
    return settings.takeError();
  struct stat info;
  bool folder = ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  StringRef name(path);
  if (folder || name.ends_with(".safetensors")) {
    Expected<CheckpointParts> parts = partsOfHuggingFace(path, *settings, options);
    if (!parts)
      return parts.takeError();
    return finishCheckpoint(std::move(*parts), *settings, options);
  }
  if (name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth"))
    return failure(
        path + ": expected a .gguf file, a .safetensors file or a Hugging Face folder, got a pickle file, "
               "which can run code when it is read; convert it to safetensors");
  Expected<std::shared_ptr<ByteSource>> source = openFile(path);
  if (!source)
    return source.takeError();
  Expected<GgufFile> file = GgufFile::read(*source, options.warn);
  if (!file)
    return file.takeError();
  Expected<CheckpointParts> parts = partsOfGguf(*file, *settings, options);
  if (!parts)
    return parts.takeError();
  return finishCheckpoint(std::move(*parts), *settings, options);
}

} // namespace bitnet::import
