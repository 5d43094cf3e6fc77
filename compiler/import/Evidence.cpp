// See Evidence.h.
#include "compiler/import/Evidence.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/MatrixFacts.h"
#include <algorithm>
#include <cmath>

using namespace llvm;

namespace bitnet::import {
namespace {

Expected<std::vector<uint8_t>> bytesOf(const StoredTensor &tensor) {
  std::vector<uint8_t> bytes(size_t(tensor.bytes));
  if (Error error = tensor.file->read(tensor.offset, bytes.data(), bytes.size()))
    return error;
  return bytes;
}

/// Says how the first float matrix is read. The others decide for themselves in the same way.
Error reportFloatWeights(CheckpointParts &parts) {
  const StoredTensor &first = parts.tensors.at(layerTensor(0, kLinearNames[0]));
  std::optional<FloatType> type = floatType(first);
  if (!type || first.scale)
    return Error::success();
  bool latent = parts.decoding.ternarize == Ternarize::always;
  if (parts.decoding.ternarize == Ternarize::fallback) {
    Expected<std::vector<uint8_t>> bytes = bytesOf(first);
    if (!bytes)
      return bytes.takeError();
    TernaryMatrix matrix;
    latent = !decodeAlreadyTernary(*type, bytes->data(), int32_t(first.rows), int32_t(first.cols), matrix);
  }
  parts.source += latent ? " latent" : " ternary";
  if (!latent)
    return Error::success();
  parts.decisions.push_back(
      {"ternarize", "absmean", "float weights that are not ternary as they stand", "--set ternarize=never"});
  const bool stored = parts.decoding.absMean == AbsMean::stored;
  if (*type != FloatType::f32) // else both are one
    parts.decisions.push_back({"absmean", stored ? "stored" : "f32",
                               stored
                                   ? "the mean is taken in the stored type, as microsoft's converter does"
                                   : "the mean is taken in f32, as transformers does; some programs take it "
                                     "in the stored type, where one weight in a thousand becomes another",
                               stored ? "--set absmean=f32" : "--set absmean=stored"});
  return Error::success();
}

struct Order {
  I2SLayout layout;
  const char *name;
};
constexpr Order kOrders[] = {
    {I2SLayout::blocks128, "128"}, {I2SLayout::blocks64, "64"}, {I2SLayout::rows4, "row4"}};

/// neuronAgreement of a layer's gate and down if they are read in this order; 0 if they cannot be.
double agreementIn(I2SLayout layout, const StoredTensor &gate, ArrayRef<uint8_t> gateBytes,
                   const StoredTensor &down, ArrayRef<uint8_t> downBytes) {
  CodecSettings settings;
  settings.i2sLayout = layout;
  const auto decode = [&](const StoredTensor &tensor, ArrayRef<uint8_t> bytes, TernaryMatrix &out) {
    return !decodeTernary(*tensor.codec, {bytes.data(), bytes.size()}, settings, int32_t(tensor.rows),
                          int32_t(tensor.cols), out);
  };
  TernaryMatrix gateRead, downRead;
  if (!decode(gate, gateBytes, gateRead) || !decode(down, downBytes, downRead))
    return 0;
  const double agreement = neuronAgreement(gateRead, downRead);
  return std::isnan(agreement) ? 0 : agreement;
}

/// Three programs wrote i2_s in three orders under one type number. Neurons tell them apart: in the wrong
/// order the columns of down are others, or the rows of the gate. (Checked on a trained model; random weights
/// say nothing.)
Error decideI2SOrder(const ModelSettings &settings, CheckpointParts &parts) {
  const StoredTensor &gate = parts.tensors.at(layerTensor(0, "ffn_gate")),
                     &down = parts.tensors.at(layerTensor(0, "ffn_down"));
  if (settings.i2sLayout || gate.codec != codecNamed("i2_s") || down.codec != gate.codec)
    return Error::success();
  Expected<std::vector<uint8_t>> gateBytes = bytesOf(gate), downBytes = bytesOf(down);
  if (!gateBytes || !downBytes)
    return joinErrors(gateBytes.takeError(), downBytes.takeError());
  std::vector<std::pair<double, const char *>> found; // the best first
  double assumed = 0;
  for (const Order &order : kOrders) {
    const double agreement = agreementIn(order.layout, gate, *gateBytes, down, *downBytes);
    found.emplace_back(agreement, order.name);
    if (order.layout == parts.decoding.i2sLayout)
      assumed = agreement;
  }
  std::sort(found.begin(), found.end(), [](auto &a, auto &b) { return a.first > b.first; });
  const auto hundredths = [](double value) {
    char text[16];
    std::snprintf(text, sizeof text, "%.2f", value);
    return std::string(text);
  };
  // Six times what random weights scatter by, and twice the next.
  const bool clear = found[0].first >= 0.2 && found[0].first * std::sqrt(double(gate.rows)) > 6 &&
                     found[0].first > 2 * found[1].first;
  if (clear && found[0].first != assumed)
    return failure(
        parts.where + ": byte order of i2_s: expected the canonical one, 128, got weights that fit " +
        found[0].second + " (neurons of gate and down agree by " + hundredths(found[0].first) +
        ", in the canonical order by " + hundredths(assumed) + "); --set i2s_layout=" + found[0].second +
        ", or i2s_layout=128 to read it so all the same");
  parts.decisions.push_back(
      {"i2s_layout", "128",
       clear ? "the file does not say; neurons of gate and down agree by " + hundredths(found[0].first) +
                   " in this order, by " + hundredths(found[1].first) + " in the next"
             : "the file does not say; all published files have it, and the weights say nothing",
       "--set i2s_layout=64, row4"});
  return Error::success();
}

} // namespace

Error decideByWeights(const ModelSettings &settings, CheckpointParts &parts) {
  if (Error error = reportFloatWeights(parts))
    return error;
  return decideI2SOrder(settings, parts);
}

Error tieEqualHead(CheckpointParts &parts) {
  auto head = parts.tensors.find("output.weight"), embedding = parts.tensors.find("token_embd.weight");
  if (head == parts.tensors.end() || embedding == parts.tensors.end())
    return Error::success();
  const StoredTensor &a = head->second, &b = embedding->second;
  if (a.codec != b.codec || a.bytes != b.bytes || a.rows != b.rows || a.scale || b.scale ||
      a.times != b.times)
    return Error::success();
  constexpr uint64_t kPiece = uint64_t(1) << 20;
  std::vector<uint8_t> left, right;
  for (uint64_t at = 0; at < a.bytes; at += kPiece) {
    left.resize(size_t(std::min(kPiece, a.bytes - at)));
    right.resize(left.size());
    if (Error error = a.file->read(a.offset + at, left.data(), left.size()))
      return error;
    if (Error error = b.file->read(b.offset + at, right.data(), right.size()))
      return error;
    if (left != right)
      return Error::success();
  }
  parts.decisions.push_back(
      {"head", "tied", "its bytes are those of the embedding, which is stored once", ""});
  parts.config.tiedHead = true;
  parts.tensors.erase(head);
  return Error::success();
}

} // namespace bitnet::import
