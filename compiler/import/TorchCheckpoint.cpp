// model_state*.pt of microsoft/BitNet's gpu folder as a model. Three forms of the same names: int2 codes with
// a tensor weight_scale [4] beside each matrix, bf16 values that are +-scale ("fp16"), and bf16 latents. q, k
// and v are one matrix wqkv, gate and up one matrix w13; rows of q and k turn in neighbouring pairs. What the
// file does not say is taken from the original's code, from params.json or config.json beside it, or from the
// user.
#include "compiler/import/ImportError.h"
#include "compiler/import/OpenContainers.h"
#include <set>

using namespace llvm;

namespace bitnet::import {
namespace {

/// nullptr for integers.
const Codec *codecOf(TorchType type) {
  return codecNamed(type == TorchType::f32    ? "f32"
                    : type == TorchType::f16  ? "f16"
                    : type == TorchType::bf16 ? "bf16"
                                              : "");
}

/// "/a/b/model.pt" to "/a/b"; "model.pt" to ".".
std::string folderOf(const std::string &path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

/// Part of a layer's matrix: the canonical name, its first row, its rows, its slot in weight_scale.
struct Slice {
  const char *name;
  int64_t begin, rows;
  int slot;
};

class TorchModel {
public:
  TorchModel(const ModelSettings &settings, const ImportOptions &options)
      : settings_(settings), options_(options) {}

  Expected<CheckpointParts> run(const TorchFile &file, const TorchConfig &config, const std::string &path) {
    parts_.where = path;
    parts_.decoding.absMean = AbsMean::stored;
    folder_ = folderOf(path);
    file_ = &file;
    if (Error error = readSizes(config))
      return error;
    if (Error error = mapTensors())
      return error;
    describe();
    if (options_.tokenizer.empty())
      if (Error error = adoptTokenizer(importTokenizerFolder(folder_, settings_.tokenizer), folder_, parts_))
        return error;
    return std::move(parts_);
  }

private:
  std::string where(const std::string &name) const {
    return file_->source()->name() + ": tensor " + quoted(name) + ": ";
  }

  /// A tensor of one or two dimensions that the graph cannot do without.
  Expected<const TorchTensor *> need(const std::string &name, size_t dims) const {
    auto found = file_->tensors().find(name);
    if (found == file_->tensors().end())
      return failure(where(name) +
                     "expected a tensor of that name, as microsoft/BitNet's gpu folder writes it, got "
                     "none");
    const TorchTensor &tensor = found->second;
    if (tensor.shape.size() != dims || tensor.elements() == 0)
      return failure(where(name) + "expected " + (dims == 1 ? "a vector" : "a matrix") + ", got " +
                     shapeText(tensor.shape));
    return &tensor;
  }

  /// Sizes are those of the tensors; a configuration that says others is of another model.
  Error readSizes(const TorchConfig &config) {
    auto size = [&](const std::string &name, size_t dims, size_t dim) -> Expected<int64_t> {
      Expected<const TorchTensor *> tensor = need(name, dims);
      return tensor ? Expected<int64_t>(int64_t((*tensor)->shape[dim])) : tensor.takeError();
    };
    struct Size {
      std::string name;
      size_t dims, dim;
      int64_t &out;
    };
    int64_t vocab = 0, width = 0, ffn = 0, q = 0, qkv = 0;
    const std::string layer = "layers.0.";
    for (const Size &s : {Size{"tok_embeddings.weight", 2, 0, vocab},
                          {"tok_embeddings.weight", 2, 1, width},
                          {layer + "attention.attn_sub_norm.weight", 1, 0, q},
                          {layer + "attention.wqkv.weight", 2, 0, qkv},
                          {layer + "feed_forward.ffn_sub_norm.weight", 1, 0, ffn}}) {
      Expected<int64_t> value = size(s.name, s.dims, s.dim);
      if (!value)
        return value.takeError();
      s.out = *value;
    }
    ModelConfig &c = parts_.config;
    constexpr int64_t most = 1 << 22; // checkConfig is stricter
    if (vocab > most || width > most || ffn > most || q > most || qkv > 3 * most)
      return failure(file_->source()->name() + ": expected sizes of at most " + Twine(most) +
                     ", got larger ones");
    if (qkv <= q || (qkv - q) % 2 != 0)
      return failure(where(layer + "attention.wqkv.weight") + "expected the rows of q, k and v, " + Twine(q) +
                     " of them q's, got " + Twine(qkv));
    c.vocab = int32_t(vocab);
    c.width = int32_t(width);
    c.ffnWidth = int32_t(ffn);
    c.layers = countLayers();
    q_ = q;
    kv_ = (qkv - q) / 2;
    c.name = folder_.substr(folder_.rfind('/') + 1);
    c.family = "bitnet-b1.58";
    c.attnSubNorm = c.ffnSubNorm = true;
    const std::tuple<const char *, std::optional<int32_t>, int32_t> stated[] = {
        {"width", config.width, c.width},
        {"layers", config.layers, c.layers},
        {"vocabulary", config.vocab, c.vocab},
        {"ffn width", config.ffnWidth, c.ffnWidth}};
    for (const auto &[what, value, ours] : stated)
      if (value && *value != ours)
        return failure(config.path + ": " + what + ": expected " + Twine(ours) + ", as the tensors of " +
                       file_->source()->name() + " have, got " + Twine(*value));
    readConstants(config);
    return readHeads(config);
  }

  /// One more than the highest number; holes are found when the tensors are mapped.
  int32_t countLayers() const {
    int32_t count = 0;
    for (const auto &[name, tensor] : file_->tensors()) {
      StringRef rest(name);
      int32_t layer = 0;
      if (rest.consume_front("layers.") && !rest.split('.').first.getAsInteger(10, layer) &&
          layer < (1 << 20))
        count = std::max(count, layer + 1);
    }
    return count;
  }

  /// The original's code has these as constants.
  void readConstants(const TorchConfig &config) {
    ModelConfig &c = parts_.config;
    auto decide = [&](const char *what, const char *value, bool given, const char *reason) {
      if (!given)
        parts_.decisions.push_back({what, value, reason, std::string("--set ") + what + "=" + value});
    };
    c.act = config.act.value_or(format::Act::relu2);
    c.normEps = config.normEps.value_or(1e-5f);
    c.ropeTheta = config.ropeTheta.value_or(500000.0f);
    c.context = config.context.value_or(4096);
    // The original hands its epsilon to the sub-norms in the place of another argument, so they have the
    // default.
    c.subNormEps = 1e-6f;
    const char *reason = "a .pt checkpoint does not say; the value of the original's code";
    decide("activation", "relu2", config.act || settings_.activation, reason);
    decide("norm_eps", "1e-5", config.normEps || settings_.normEps, reason);
    decide("sub_norm_eps", "1e-6", settings_.subNormEps.has_value(), reason);
    decide("rope_theta", "500000", config.ropeTheta || settings_.ropeTheta, reason);
    decide("context", "4096", config.context || settings_.context, reason);
  }

  Error readHeads(const TorchConfig &config) {
    ModelConfig &c = parts_.config;
    std::optional<int32_t> heads = settings_.heads ? settings_.heads : config.heads,
                           kvHeads = settings_.kvHeads ? settings_.kvHeads : config.kvHeads;
    int64_t dim = 0;
    std::string reason = config.path;
    if (settings_.heads || settings_.kvHeads)
      reason = "set by the user";
    if (heads) {
      dim = q_ % *heads == 0 ? q_ / *heads : 0;
    } else if (kvHeads) {
      dim = kv_ % *kvHeads == 0 ? kv_ / *kvHeads : 0;
    } else if (config.headDim) {
      dim = *config.headDim;
    } else if (c.width == 2560 && q_ == 2560 && kv_ == 640 && c.ffnWidth == 6912) {
      dim = 128;
      reason = "a .pt checkpoint does not say; the sizes are those of BitNet b1.58 2B-4T, whose heads are "
               "128 wide";
    } else {
      return failure(file_->source()->name() +
                     ": attention heads: expected their number, got none, for a .pt "
                     "checkpoint does not say it; --set heads=N (and kv_heads=M), or "
                     "n_heads in a params.json beside it");
    }
    const std::string widths = "query width " + std::to_string(q_) + " and key width " + std::to_string(kv_);
    if (dim <= 0 || q_ % dim != 0 || kv_ % dim != 0 || (kvHeads && kv_ / dim != *kvHeads))
      return failure(file_->source()->name() +
                     ": attention heads: expected numbers of heads of one size for " + widths + ", got " +
                     (heads ? std::to_string(*heads) : std::string("none")) + " and " +
                     (kvHeads ? std::to_string(*kvHeads) : std::string("none")) + " (" + reason + ")");
    c.headDim = int32_t(dim);
    c.heads = int32_t(q_ / dim);
    c.kvHeads = int32_t(kv_ / dim);
    if (c.headDim % 2 != 0)
      return failure(file_->source()->name() + ": attention heads: expected heads of an even size, got " +
                     Twine(c.headDim));
    const std::string both =
        "heads=" + std::to_string(c.heads) + " --set kv_heads=" + std::to_string(c.kvHeads);
    parts_.decisions.push_back(
        {"heads", std::to_string(c.heads) + "/" + std::to_string(c.kvHeads), reason, "--set " + both});
    return Error::success();
  }

  Error mapTensors() {
    const ModelConfig &c = parts_.config;
    for (int32_t i = 0; i < c.layers; ++i) {
      const std::string layer = "layers." + std::to_string(i) + ".", ours = "blk." + std::to_string(i) + ".";
      const std::pair<const char *, const char *> norms[] = {{"attention_norm", "attn_norm"},
                                                             {"ffn_norm", "ffn_norm"},
                                                             {"attention.attn_sub_norm", "attn_sub_norm"},
                                                             {"feed_forward.ffn_sub_norm", "ffn_sub_norm"}};
      for (auto [theirs, name] : norms)
        if (Error error = mapDense(layer + theirs + ".weight", ours + name + ".weight", 1))
          return error;
      if (Error error =
              mapMatrix(layer + "attention.wqkv", i,
                        {{"attn_q", 0, q_, 0}, {"attn_k", q_, kv_, 1}, {"attn_v", q_ + kv_, kv_, 2}}))
        return error;
      if (Error error = mapMatrix(layer + "attention.wo", i, {{"attn_output", 0, c.width, 0}}))
        return error;
      if (Error error = mapMatrix(layer + "feed_forward.w13", i,
                                  {{"ffn_gate", 0, c.ffnWidth, 0}, {"ffn_up", c.ffnWidth, c.ffnWidth, 1}}))
        return error;
      if (Error error = mapMatrix(layer + "feed_forward.w2", i, {{"ffn_down", 0, c.width, 0}}))
        return error;
    }
    if (Error error = mapDense("tok_embeddings.weight", "token_embd.weight", 2))
      return error;
    if (Error error = mapDense("norm.weight", "output_norm.weight", 1))
      return error;
    if (file_->tensors().count("output.weight"))
      if (Error error = mapDense("output.weight", "output.weight", 2))
        return error;
    return mapRest();
  }

  /// What is left over keeps its name, for checkTensors to judge.
  Error mapRest() {
    for (const auto &[name, tensor] : file_->tensors()) {
      if (used_.count(name))
        continue;
      StringRef rest(name);
      StoredTensor stored = whole(name, tensor);
      std::string canonical = rest.consume_front("layers.") ? ("blk." + rest).str() : name;
      if (!parts_.tensors.emplace(canonical, std::move(stored)).second)
        return failure(where(name) + "expected one tensor for " + quoted(canonical) + ", got a second");
    }
    if (!file_->others().empty() && options_.warn)
      options_.warn((parts_.where + ": " + Twine(file_->others().size()) +
                     " values are no tensors and not used, " + quoted(file_->others()[0]) + " among them")
                        .str());
    return Error::success();
  }

  StoredTensor whole(const std::string &name, const TorchTensor &tensor) const {
    const TorchStorage &storage = file_->storages()[tensor.storage];
    StoredTensor stored;
    stored.file = file_->source();
    stored.storedName = name;
    stored.typeName = torchTypeName(storage.type);
    stored.codec = codecOf(storage.type);
    stored.offset = storage.offset + tensor.offset * torchBytes(storage.type);
    stored.bytes = tensor.elements() * torchBytes(storage.type);
    setShape(stored, tensor.shape);
    return stored;
  }

  Expected<StoredTensor> contiguous(const std::string &name, size_t dims) {
    Expected<const TorchTensor *> tensor = need(name, dims);
    if (!tensor)
      return tensor.takeError();
    if (!(*tensor)->contiguous())
      return failure(where(name) +
                     "expected rows one after the other, got a view with gaps or in another order; "
                     "save tensor.contiguous()");
    used_.insert(name);
    return whole(name, **tensor);
  }

  Error mapDense(const std::string &name, const std::string &canonical, size_t dims) {
    Expected<StoredTensor> stored = contiguous(name, dims);
    if (!stored)
      return stored.takeError();
    parts_.tensors.emplace(canonical, std::move(*stored));
    return Error::success();
  }

  /// One matrix of the file as the matrices of the graph that lie in it, each with its own scale. The
  /// original's CUDA kernel takes the scales of wqkv by thirds of the rows instead, against what its
  /// converter meant.
  Error mapMatrix(const std::string &prefix, int32_t layer, std::initializer_list<Slice> slices) {
    const std::string name = prefix + ".weight";
    Expected<StoredTensor> whole = contiguous(name, 2);
    if (!whole)
      return whole.takeError();
    int64_t rows = 0;
    for (const Slice &slice : slices)
      rows += slice.rows;
    const bool int2 = whole->typeName == torchTypeName(TorchType::i8);
    const uint64_t rowBytes = whole->bytes / uint64_t(whole->rows);
    if (whole->rows != rows)
      return failure(where(name) + "expected " + Twine(rows) + " rows, got " + Twine(whole->rows));
    std::optional<StoredTensor> scale;
    if (int2) {
      // Each row of four codes a byte; their order is the tiles', not the rows'.
      if (Error error = readScale(prefix + ".weight_scale", slices.size(), scale))
        return error;
      whole->cols *= 4;
      whole->codec = codecNamed("int2");
      whole->typeName = "int2";
      for (const Slice &slice : slices)
        if (slice.rows % 16 != 0 || whole->cols % 32 != 0)
          return failure(where(name) + "expected tiles of 16 rows and 32 columns, got " + Twine(slice.rows) +
                         " rows of " + layerTensor(layer, slice.name) + " and " + Twine(whole->cols) +
                         " columns");
    }
    for (const Slice &slice : slices) {
      StoredTensor part = *whole;
      part.rows = slice.rows;
      part.offset += uint64_t(slice.begin) * rowBytes;
      part.bytes = uint64_t(slice.rows) * rowBytes;
      if (scale)
        part.scale =
            ScaleTensor{scale->file, scale->offset + uint64_t(slice.slot) * floatBytes(*floatType(*scale)),
                        *floatType(*scale), 1, false};
      const StringRef kind(slice.name);
      part.pairedHeads = kind == "attn_q"   ? parts_.config.heads
                         : kind == "attn_k" ? parts_.config.kvHeads
                                            : 0;
      parts_.tensors.emplace(layerTensor(layer, slice.name), std::move(part));
    }
    return Error::success();
  }

  Error readScale(const std::string &name, size_t slots, std::optional<StoredTensor> &out) {
    Expected<StoredTensor> scale = contiguous(name, 1);
    if (!scale)
      return scale.takeError();
    if (!floatType(*scale) || scale->cols < int64_t(slots))
      return failure(where(name) + "expected " + Twine(slots) + " values of bf16, f16 or f32 or more, got " +
                     scale->typeName + " [" + Twine(scale->cols) + "]");
    out = std::move(*scale);
    return Error::success();
  }

  void describe() {
    const StoredTensor &first = parts_.tensors.at(layerTensor(0, kLinearNames[0]));
    parts_.source = std::string("torch ") + file_->container() + ", " +
                    std::to_string(file_->tensors().size()) + " tensors, " +
                    (first.codec ? first.codec->name : first.typeName.c_str());
  }

  const ModelSettings &settings_;
  const ImportOptions &options_;
  CheckpointParts parts_;
  std::string folder_;
  const TorchFile *file_ = nullptr;
  std::set<std::string> used_;
  int64_t q_ = 0, kv_ = 0; ///< rows of q, and of k and of v
};

} // namespace

Expected<CheckpointParts> partsOfTorch(const TorchFile &file, const TorchConfig &config,
                                       const std::string &path, const ModelSettings &settings,
                                       const ImportOptions &options) {
  return TorchModel(settings, options).run(file, config, path);
}

Expected<CheckpointParts> partsOfTorch(const std::string &path, const ModelSettings &settings,
                                       const ImportOptions &options) {
  Expected<std::shared_ptr<ByteSource>> source = openFile(path);
  if (!source)
    return source.takeError();
  Expected<TorchFile> file = TorchFile::read(*source);
  if (!file)
    return file.takeError();
  Expected<TorchConfig> config = readTorchConfig(folderOf(path), options.warn);
  if (!config)
    return config.takeError();
  return partsOfTorch(*file, *config, path, settings, options);
}

} // namespace bitnet::import
