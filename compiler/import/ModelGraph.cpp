// What the one decoder graph needs of a checkpoint: sizes that the kernels can take, and each tensor by name
// and shape. A tensor in a layer that the graph has no place for (a bias, a norm of another family) would
// change the numbers, so it is an error; one elsewhere is only worth a warning.
#include "compiler/import/ImportError.h"
#include "compiler/import/StoredCheckpoint.h"
#include <cmath>
#include <set>

using namespace llvm;

namespace bitnet::import {

const char *const kLinearNames[7] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                     "ffn_gate", "ffn_up", "ffn_down"};

std::string layerTensor(int32_t layer, StringRef name) {
  return ("blk." + Twine(layer) + "." + name + ".weight").str();
}

Error checkConfig(const ModelConfig &c, const std::string &where) {
  struct Size {
    const char *name;
    int64_t value, multiple, most;
  };
  // As much as the kernels take (runtime/format/kernel_ops.cpp), so that the refusal names the size.
  const Size sizes[] = {{"layers", c.layers, 1, 4096},
                        {"width", c.width, 16, 1 << 20},
                        {"ffn width", c.ffnWidth, 16, 1 << 20},
                        {"attention heads", c.heads, 1, 4096},
                        {"key/value heads", c.kvHeads, 1, 4096},
                        {"vocabulary", c.vocab, 1, 1 << 22},
                        {"context", c.context, 1, 1 << 20},
                        // The norm of a head sums in 16 lanes.
                        {"head size", c.headDim, c.headNorms ? 16 : 4, 1024},
                        {"attention width", int64_t(c.heads) * c.headDim, 16, 1 << 20},
                        {"key/value width", int64_t(c.kvHeads) * c.headDim, 16, 1 << 20}};
  for (const Size &size : sizes)
    if (size.value < 1 || size.value > size.most || size.value % size.multiple != 0)
      return failure(where + ": " + size.name + ": expected a " +
                     (size.multiple > 1 ? "multiple of " + std::to_string(size.multiple) : "number") +
                     " of 1 to " + Twine(size.most) + ", got " + Twine(size.value));
  if (c.heads % c.kvHeads != 0)
    return failure(where + ": expected key/value heads that divide the " + Twine(c.heads) +
                   " attention heads, got " + Twine(c.kvHeads));
  // Far below any real epsilon or base, and far above: NaN fails both comparisons.
  if (!(c.normEps > 0 && c.normEps < 1))
    return failure(where + ": norm epsilon: expected a number above 0 and below 1, got " +
                   Twine(std::to_string(c.normEps)));
  if (!(c.subNormEps >= 0 && c.subNormEps < 1))
    return failure(where +
                   ": epsilon of the sub-norms: expected a number of 0 (the norms' own) or more and below "
                   "1, got " +
                   Twine(std::to_string(c.subNormEps)));
  if (!(c.linearNormEps >= 0 && c.linearNormEps < 1))
    return failure(where +
                   ": epsilon of the norms on inputs: expected a number of 0 (the norms' own) or more and "
                   "below 1, got " +
                   Twine(std::to_string(c.linearNormEps)));
  if (!(c.ropeTheta > 0 && c.ropeTheta <= 1e12f))
    return failure(where + ": rope base: expected a number above 0 and at most 1e12, got " +
                   Twine(std::to_string(c.ropeTheta)));
  if (c.ropeScaling.kind == RopeScaling::Kind::yarn && !(c.ropeTheta > 1)) // its logarithm divides
    return failure(where + ": rope base: expected a number above 1 with yarn, got " +
                   Twine(std::to_string(c.ropeTheta)));
  if (!c.localLayers.empty() && !(c.localRopeTheta > 0 && c.localRopeTheta <= 1e12f))
    return failure(where + ": rope base of local layers: expected a number above 0 and at most 1e12, got " +
                   Twine(std::to_string(c.localRopeTheta)));
  if (std::string error = ropeScalingError(c.ropeScaling, c.headDim); !error.empty())
    return failure(where + ": scaled rotation: " + error);
  if (c.window > 0 && c.context > c.window)
    return failure(where + ": context: expected at most " + Twine(c.window) +
                   ", the positions that some of its layers see, got " + Twine(c.context));
  return Error::success();
}

namespace {

std::string shape(int64_t rows, int64_t cols) {
  return rows == 1 ? "[" + std::to_string(cols) + "]"
                   : "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

/// Notes what is wrong with the tensors: the first problem only, or each one.
class TensorCheck {
public:
  TensorCheck(const CheckpointParts &parts, bool everyProblem) : parts_(parts), every_(everyProblem) {}
  const std::set<std::string> &seen() const { return seen_; }
  bool done() const { return problems_ > 0 && !every_; }
  Error result() {
    if (every_ && problems_ > kMost)
      note(parts_.where + ": " + Twine(problems_ - kMost) + " more tensors are missing or wrong");
    return std::move(errors_);
  }

  void need(const std::string &name, int64_t rows, int64_t cols, bool ternary) {
    if (done())
      return;
    auto found = parts_.tensors.find(name);
    if (found == parts_.tensors.end())
      return wrong(parts_.where + ": tensor " + quoted(parts_.nameInFile ? parts_.nameInFile(name) : name) +
                   ": expected " + shape(rows, cols) + ", got no such tensor");
    seen_.insert(name);
    const StoredTensor &tensor = found->second;
    bool known = ternary ? tensor.codec && tensor.codec->decode : hasDenseRows(tensor);
    if (tensor.rows != rows || tensor.cols != cols || !known)
      return wrong(tensor.file->name() + ": tensor " + quoted(tensor.storedName) + ": expected " +
                   (ternary ? "ternary or float " : "float or block-scaled ") + shape(rows, cols) + ", got " +
                   tensor.typeName + " " + shape(tensor.rows, tensor.cols));
    if (ternary && tensor.codec->scales == Codec::Scales::none && !tensor.scale)
      return wrong(tensor.file->name() + ": tensor " + quoted(tensor.storedName) +
                   ": expected a tensor of scales beside its " + tensor.codec->name + " codes, got none");
    for (const std::optional<ScaleTensor> *beside : {&tensor.scale, &tensor.bias})
      if (*beside)
        fits(tensor, (*beside)->count);
  }

  void needLayer(int32_t layer) {
    const ModelConfig &c = parts_.config;
    int64_t q = int64_t(c.heads) * c.headDim, kv = int64_t(c.kvHeads) * c.headDim;
    const int64_t shapes[7][2] = {{q, c.width},         {kv, c.width},         {kv, c.width},
                                  {c.width, q},         {c.ffnWidth, c.width}, {c.ffnWidth, c.width},
                                  {c.width, c.ffnWidth}};
    for (int i = 0; i < 7; ++i)
      need(layerTensor(layer, kLinearNames[i]), shapes[i][0], shapes[i][1], true);
    for (int i = 0; c.linearNorms && i < 7; ++i)
      need(layerTensor(layer, std::string(kLinearNames[i]) + "_norm_in"), 1, shapes[i][1], false);
    for (const char *norm : {"attn_norm", "ffn_norm"})
      need(layerTensor(layer, norm), 1, c.width, false);
    if (c.postNorms)
      for (const char *norm : {"post_attention_norm", "post_ffw_norm"})
        need(layerTensor(layer, norm), 1, c.width, false);
    if (c.headNorms)
      for (const char *norm : {"attn_q_norm", "attn_k_norm"})
        need(layerTensor(layer, norm), 1, c.headDim, false);
    if (c.attnSubNorm)
      need(layerTensor(layer, "attn_sub_norm"), 1, q, false);
    if (c.ffnSubNorm)
      need(layerTensor(layer, "ffn_sub_norm"), 1, c.ffnWidth, false);
  }

  void wrong(const Twine &text) {
    if (++problems_ <= kMost && !(problems_ > 1 && !every_))
      note(text);
  }

private:
  static constexpr size_t kMost = 20; ///< a wrong number of layers makes thousands

  void note(const Twine &text) { errors_ = joinErrors(std::move(errors_), failure(text)); }

  /// A scale for all, for each row, or for each of equal groups of columns.
  void fits(const StoredTensor &tensor, int64_t scales) {
    const int64_t groups = scales / tensor.rows;
    if (scales == 1 || (scales > 0 && scales % tensor.rows == 0 && tensor.cols % groups == 0))
      return;
    wrong(tensor.file->name() + ": scale of tensor " + quoted(tensor.storedName) + ": expected 1 or " +
          Twine(tensor.rows) + " values, or as many for each of equal groups of the " + Twine(tensor.cols) +
          " columns, got " + Twine(scales));
  }

  const CheckpointParts &parts_;
  const bool every_;
  std::set<std::string> seen_;
  size_t problems_ = 0;
  Error errors_ = Error::success();
};

} // namespace

void limitToWindow(CheckpointParts &parts) {
  ModelConfig &c = parts.config;
  if (c.window < 1 || c.context <= c.window)
    return;
  parts.decisions.push_back({"context", std::to_string(c.window),
                             "some layers see no more positions, and longer texts are not supported; the "
                             "model was made for " +
                                 std::to_string(c.context),
                             ""});
  c.context = c.window;
}

void decidePooling(const std::optional<bool> &wanted, CheckpointParts &parts) {
  const auto there = [&](const std::string &name) { return parts.tensors.count(name) != 0; };
  ModelConfig &c = parts.config;
  std::string reason = "the checkpoint says that it gives embeddings";
  if (wanted) {
    c.embeds = *wanted;
    reason = "set by the user";
  } else if (!c.embeds && there(layerTensor(0, "attn_q_norm_in")) && !there("output.weight") &&
             !c.linearNorms) {
    c.embeds = true;
    reason = "there is a norm on the input of each matrix and no head";
  }
  if (!c.embeds)
    return;
  parts.tensors.erase("output.weight");
  parts.decisions.push_back({"pooling", "last token, L2 norm", reason, "--set pooling=none"});
}

void keepHeadUnscaled(CheckpointParts &parts) {
  auto table = parts.tensors.find("token_embd.weight");
  if (table == parts.tensors.end() || table->second.times == 1)
    return;
  const float factor = table->second.times;
  const bool rounded = factor != std::sqrt(float(parts.config.width));
  parts.decisions.push_back({"embedding scale", std::to_string(factor),
                             std::string("the square root of the width") +
                                 (rounded ? ", rounded to the type of the embeddings" : ""),
                             ""});
  if (parts.config.embeds || parts.tensors.count("output.weight"))
    return;
  StoredTensor head = table->second;
  head.times = 1;
  parts.tensors.emplace("output.weight", std::move(head));
}

void inferGraph(CheckpointParts &parts) {
  for (const auto &[name, tensor] : parts.tensors) {
    parts.config.attnSubNorm |= StringRef(name).ends_with(".attn_sub_norm.weight");
    parts.config.ffnSubNorm |= StringRef(name).ends_with(".ffn_sub_norm.weight");
  }
  if (parts.tensors.count(layerTensor(0, "attn_q_norm_in")))
    parts.config.linearNorms = true;
  parts.config.tiedHead = parts.tensors.count("output.weight") == 0;
}

Error checkTensors(const CheckpointParts &parts, const std::function<void(const std::string &)> &warn,
                   bool everyProblem) {
  const ModelConfig &c = parts.config;
  TensorCheck check(parts, everyProblem);
  check.need("token_embd.weight", c.vocab, c.width, false);
  check.need("output_norm.weight", 1, c.width, false);
  if (!c.tiedHead && !c.embeds)
    check.need("output.weight", c.vocab, c.width, false);
  for (int32_t layer = 0; layer < c.layers && !check.done(); ++layer)
    check.needLayer(layer);
  if (check.done())
    return check.result();
  size_t extra = 0;
  std::string example;
  for (auto &[name, tensor] : parts.tensors) {
    if (check.seen().count(name))
      continue;
    if (StringRef(name).starts_with("blk.") || name == "rope_freqs.weight" ||
        StringRef(name).ends_with(".bias")) {
      check.wrong(tensor.file->name() + ": tensor " + quoted(tensor.storedName) +
                  ": expected only tensors of the " + Twine(c.layers) +
                  "-layer decoder graph, got one that it has no place for");
      continue;
    }
    example = tensor.storedName;
    ++extra;
  }
  if (extra > 0 && warn)
    warn((parts.where + ": " + Twine(extra) + " tensors are not used, " + quoted(example) + " among them")
             .str());
  return check.result();
}

} // namespace bitnet::import
