// Entry of the importer: which container, then the steps that all containers share.
#include "compiler/import/Evidence.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/OpenContainers.h"
#include "compiler/import/codecs/TlTiles.h"
#include "runtime/format/tokenizer_generated.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <algorithm>
#include <set>
#include <sys/stat.h>

using namespace llvm;

namespace bitnet::import {
namespace {

/// What a codec has to say to whoever uses it, once.
void warnOfCodecs(const CheckpointParts &parts, const std::function<void(const std::string &)> &warn) {
  std::set<const Codec *> seen;
  for (const auto &[name, tensor] : parts.tensors)
    if (tensor.codec && tensor.codec->caution && seen.insert(tensor.codec).second && warn)
      warn(tensor.file->name() + ": tensor " + quoted(tensor.storedName) + ": " + tensor.codec->name + ": " +
           tensor.codec->caution);
}

/// What the last token is matters to a model that pools over it, and converters forget to say so.
void reportEndOfText(const ModelSettings &settings, CheckpointParts &parts) {
  const auto isSet = [](const auto &setting) { return setting.first == "add_eos"; };
  if (!parts.config.embeds || parts.tokenizer.empty() || any_of(settings.tokenizer, isSet) ||
      format::fb::GetTokenizer(parts.tokenizer.data())->add_eos())
    return;
  parts.decisions.push_back({"EOS after a text", "no",
                             "the tokenizer puts none there; some models that embed were trained with one",
                             "--set add_eos=true"});
}

/// tl1 and tl2 want a kernel for each shape of matrix: one error that names all shapes without one.
Error checkTlKernels(const CheckpointParts &parts) {
  std::set<std::pair<int32_t, int32_t>> shapes;
  for (const auto &[name, tensor] : parts.tensors)
    if (const std::pair<int32_t, int32_t> shape(int32_t(tensor.rows), int32_t(tensor.cols));
        (tensor.codec == codecNamed("tl1") || tensor.codec == codecNamed("tl2")) &&
        !tlKernelFor(shape.first, shape.second, parts.decoding))
      shapes.insert(shape);
  if (shapes.empty())
    return Error::success();
  return failure(parts.where + ": " +
                 noTlKernels(std::vector<std::pair<int32_t, int32_t>>(shapes.begin(), shapes.end())));
}

} // namespace

Expected<std::unique_ptr<Checkpoint>> finishCheckpoint(CheckpointParts parts, const ModelSettings &settings,
                                                       const ImportOptions &options) {
  applySettings(settings, parts);
  decidePooling(settings.pooling, parts);
  keepHeadUnscaled(parts);
  inferGraph(parts);
  if (Error error = tieEqualHead(parts))
    return error;
  if (Error error = checkConfig(parts.config, parts.where))
    return error;
  if (Error error = checkTensors(parts, options.warn, options.everyProblem))
    return error;
  warnOfCodecs(parts, options.warn);
  if (Error error = checkTlKernels(parts))
    return error;
  if (Error error = decideByWeights(settings, parts))
    return error;
  if (!parts.trainedWithInt8 && !parts.config.linearNorms)
    parts.decisions.push_back({"activations", "int8 per token",
                               "the model was trained with unquantised ones; its logits differ a little",
                               ""});
  if (!options.tokenizer.empty())
    if (Error error = adoptTokenizer(importTokenizerFile(options.tokenizer, settings.tokenizer),
                                     options.tokenizer, parts))
      return error;
  reportEndOfText(settings, parts);
  return std::make_unique<StoredCheckpoint>(std::move(parts));
}

namespace {

/// What a path turned out to be, and the path of it: of a folder, the file in it that is read first.
enum class Container { gguf, huggingFace, torch };
struct Found {
  Container container;
  std::string path;
};

bool exists(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

/// Whether a file is a part of a split file of which an earlier part lies beside it.
bool isLaterPart(const std::string &path) {
  for (const std::string &part : ggufSplitNames(sys::path::filename(path))) {
    if (part == sys::path::filename(path))
      return false;
    if (exists((sys::path::parent_path(path) + "/" + part).str()))
      return true;
  }
  return false;
}

/// A folder holds, in this order: a .pt checkpoint in its smallest form, a Hugging Face checkpoint, one .gguf
/// file or the parts of one.
Expected<Found> findInFolder(const std::string &folder) {
  for (const char *name : {"model_state_int2.pt", "model_state_fp16.pt", "model_state.pt"})
    if (exists(folder + "/" + name))
      return Found{Container::torch, folder + "/" + name};
  for (const char *name : {"model.safetensors", "model.safetensors.index.json"})
    if (exists(folder + "/" + name))
      return Found{Container::huggingFace, folder};
  std::vector<std::string> ggufs;
  std::error_code error;
  for (sys::fs::directory_iterator at(folder, error), end; at != end && !error; at.increment(error))
    if (StringRef(at->path()).ends_with(".gguf"))
      ggufs.push_back(at->path());
  if (error)
    return failure(folder + ": cannot list: " + error.message());
  if (ggufs.empty())
    return Found{Container::huggingFace, folder}; // which says what is missing
  std::sort(ggufs.begin(), ggufs.end());
  ggufs.erase(std::remove_if(ggufs.begin(), ggufs.end(), isLaterPart), ggufs.end());
  if (ggufs.size() == 1)
    return Found{Container::gguf, ggufs[0]};
  std::string names;
  for (size_t i = 0; i < std::min<size_t>(ggufs.size(), 5); ++i)
    names += (i ? ", " : "") + quoted(sys::path::filename(ggufs[i]));
  return failure(folder + ": expected one .gguf file, got " + Twine(ggufs.size()) + " (" + names +
                 (ggufs.size() > 5 ? ", ..." : "") + "); name the file itself");
}

Expected<Found> findContainer(const std::string &path) {
  StringRef name(path);
  if (sys::fs::is_directory(path))
    return findInFolder(StringRef(path).size() > 1 ? name.rtrim('/').str() : path);
  if (name.ends_with(".safetensors"))
    return Found{Container::huggingFace, path};
  if (name.ends_with(".pt"))
    return Found{Container::torch, path};
  if (name.ends_with(".bin") || name.ends_with(".pth"))
    return failure(
        path + ": expected a .gguf file, a .safetensors file or a Hugging Face folder, got a pickle file, "
               "which can run code when it is read; convert it to safetensors");
  return Found{Container::gguf, path};
}

Expected<ImportedTokenizer> tokenizerOfGguf(const std::string &path, const ModelSettings &settings,
                                            const ImportOptions &options) {
  Expected<GgufFile> file = openGguf(path, options.warn, settings.ggufTypes);
  if (!file)
    return file.takeError();
  Expected<std::optional<GgufVocabulary>> vocabulary = readVocabulary(*file);
  if (!vocabulary)
    return vocabulary.takeError();
  return *vocabulary ? importGgufTokenizer(**vocabulary, path, options.settings) : ImportedTokenizer();
}

Expected<CheckpointParts> partsOf(const Found &found, const ModelSettings &settings,
                                  const ImportOptions &options) {
  const bool isTorch = found.container == Container::torch, isGguf = found.container == Container::gguf;
  if (!isTorch && (settings.heads || settings.kvHeads))
    return failure(Twine("--set ") + (settings.heads ? "heads" : "kv_heads") +
                   ": expected a .pt checkpoint, got " + found.path +
                   ", which says itself how many heads it has");
  if ((isTorch || isGguf) && settings.scaleDivides)
    return failure("--set scale: expected a Hugging Face checkpoint, got " + found.path +
                   ", whose scales always multiply");
  if (!isGguf && !settings.ggufTypes.empty())
    return failure("--set ggml_type: expected a .gguf file, got " + found.path +
                   ", which names its encodings");
  if (isTorch)
    return partsOfTorch(found.path, settings, options);
  if (!isGguf)
    return partsOfHuggingFace(found.path, settings, options);
  Expected<GgufFile> file = openGguf(found.path, options.warn, settings.ggufTypes);
  if (!file)
    return file.takeError();
  return partsOfGguf(*file, settings, options);
}

} // namespace

Expected<std::unique_ptr<Checkpoint>> openCheckpoint(const std::string &path, const ImportOptions &options) {
  Expected<ModelSettings> settings = parseSettings(options.settings);
  if (!settings)
    return settings.takeError();
  Expected<Found> found = findContainer(path);
  if (!found)
    return found.takeError();
  Expected<CheckpointParts> parts = partsOf(*found, *settings, options);
  if (!parts)
    return parts.takeError();
  return finishCheckpoint(std::move(*parts), *settings, options);
}

Expected<ImportedTokenizer> openTokenizer(const std::string &path, const ImportOptions &options) {
  Expected<ModelSettings> settings = parseSettings(options.settings);
  if (!settings)
    return settings.takeError();
  const std::string &from = options.tokenizer.empty() ? path : options.tokenizer;
  StringRef name(from);
  Expected<ImportedTokenizer> tokenizer = [&]() -> Expected<ImportedTokenizer> {
    if (name.ends_with(".gguf"))
      return tokenizerOfGguf(from, *settings, options);
    if (name.ends_with(".safetensors") || name.ends_with(".pt")) // the tokenizer lies beside it
      return importTokenizerFolder(
          sys::path::has_parent_path(from) ? sys::path::parent_path(from).str() : ".", options.settings);
    if (!sys::fs::is_directory(from))
      return importTokenizerFile(from, options.settings);
    Expected<ImportedTokenizer> own = importTokenizerFolder(from, options.settings);
    if (!own || !own->bytes.empty())
      return own;
    Expected<Found> found = findInFolder(from);
    if (!found)
      return found.takeError();
    return found->container == Container::gguf ? tokenizerOfGguf(found->path, *settings, options)
                                               : std::move(own);
  }();
  if (tokenizer && tokenizer->bytes.empty())
    return failure(from +
                   ": expected a tokenizer in it or beside it (tokenizer.json or tokenizer.model), got none");
  return tokenizer;
}

} // namespace bitnet::import
