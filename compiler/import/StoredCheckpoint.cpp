// Decoding on demand: one tensor's bytes are read, decoded and let go, so memory is bounded by the largest
// tensor.
#include "compiler/import/StoredCheckpoint.h"
#include "compiler/import/ImportError.h"
#include <algorithm>
#include <cmath>

using namespace llvm;

namespace bitnet::import {

const char *encodingName(Encoding encoding) {
  static const char *names[] = {"f32", "f16", "bf16", "i2_s", "tq1_0", "tq2_0", "packed u8", "int2", "other"};
  return names[int(encoding)];
}

std::optional<FloatType> floatType(Encoding encoding) {
  switch (encoding) {
  case Encoding::f32:
    return FloatType::f32;
  case Encoding::f16:
    return FloatType::f16;
  case Encoding::bf16:
    return FloatType::bf16;
  default:
    return std::nullopt;
  }
}

void setShape(StoredTensor &tensor, ArrayRef<uint64_t> shape) {
  tensor.cols = shape.empty() ? 1 : int64_t(shape.back());
  tensor.rows = shape.size() > 2 ? -1 : shape.size() == 2 ? int64_t(shape[0]) : 1;
}

std::string shapeText(ArrayRef<uint64_t> shape) {
  std::string text = "[";
  for (uint64_t dim : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

StoredCheckpoint::StoredCheckpoint(CheckpointParts parts) : parts_(std::move(parts)) {
  config_ = parts_.config;
  decisions_ = parts_.decisions;
  tokenizer_ = parts_.tokenizer;
  chatTemplate_ = parts_.chatTemplate;
  source_ = parts_.source;
}

namespace {

std::string who(const StoredTensor &tensor) {
  return tensor.file->name() + ": tensor " + quoted(tensor.storedName);
}

Expected<const StoredTensor *> find(const CheckpointParts &parts, const std::string &name) {
  auto found = parts.tensors.find(name);
  if (found == parts.tensors.end())
    return failure(parts.where + ": expected tensor " + quoted(name) + ", got none of that name");
  return &found->second;
}

/// Two magnitudes of a float tensor that is not ternary, for the message.
std::string notTernary(FloatType type, const std::vector<uint8_t> &bytes) {
  float first = 0;
  for (size_t at = 0; at + floatBytes(type) <= bytes.size(); at += floatBytes(type)) {
    float magnitude = std::fabs(widen(type, &bytes[at]));
    if (magnitude != 0 && first == 0)
      first = magnitude;
    else if (magnitude != 0 && magnitude != first)
      return "expected every |weight| to be 0 or one value, got " + std::to_string(first) + " and " +
             std::to_string(magnitude) + "; not a ternary model, or latent weights (--set ternarize=absmean)";
  }
  return "expected finite weights";
}

Decoded decodeFloats(FloatType type, Ternarize ternarize, AbsMean arithmetic,
                     const std::vector<uint8_t> &bytes, TernaryMatrix &out) {
  if (ternarize != Ternarize::always && decodeAlreadyTernary(type, bytes.data(), bytes.size(), out))
    return std::nullopt;
  if (ternarize == Ternarize::refuse)
    return Fault{0, notTernary(type, bytes)};
  return decodeAbsMean(type, arithmetic, bytes.data(), bytes.size(), out);
}

Decoded decode(const CheckpointParts &parts, const StoredTensor &tensor, const std::vector<uint8_t> &bytes,
               TernaryMatrix &out) {
  switch (tensor.encoding) {
  case Encoding::i2s:
    return decodeI2S(bytes.data(), bytes.size(), parts.i2sLayout, out);
  case Encoding::tq1:
    return decodeTQ1(bytes.data(), bytes.size(), out);
  case Encoding::tq2:
    return decodeTQ2(bytes.data(), bytes.size(), out);
  case Encoding::hfPacked:
    out.scales.assign(1, 1.0f);
    return decodeHfPacked(bytes.data(), bytes.size(), out);
  case Encoding::gpuInt2:
    out.scales.assign(1, 1.0f);
    return decodeGpuInt2(bytes.data(), bytes.size(), out);
  case Encoding::other:
    return Fault{0, "expected a ternary or float encoding, got " + tensor.typeName};
  default:
    // A scale beside float weights means they are trits already, whatever the checkpoint says of the others.
    return decodeFloats(*floatType(tensor.encoding), tensor.scale ? Ternarize::refuse : parts.ternarize,
                        parts.absMean, bytes, out);
  }
}

/// Multiplies (or divides) the decoded scale by the stored ones.
Error applyScale(const StoredTensor &tensor, TernaryMatrix &out) {
  const ScaleTensor &scale = *tensor.scale;
  std::vector<uint8_t> bytes(size_t(scale.count) * floatBytes(scale.type));
  if (Error error = scale.file->read(scale.offset, bytes.data(), bytes.size()))
    return error;
  std::vector<float> values(size_t(scale.count));
  widenRow(scale.type, bytes.data(), values.size(), values.data());
  float own = out.scales[0];
  for (size_t i = 0; i < values.size(); ++i) {
    float value = scale.divide ? 1.0f / values[i] : values[i];
    if (!std::isfinite(value) || !std::isfinite(value * own))
      return failure(scale.file->name() + ": scale of tensor " + quoted(tensor.storedName) + ": byte " +
                     Twine(scale.offset + i * floatBytes(scale.type)) + ": expected a finite scale" +
                     (scale.divide ? " other than 0" : "") + ", got " + Twine(std::to_string(values[i])));
    values[i] = value * own;
  }
  if (values.size() == 1) {
    out.scales = values;
    foldSign(out);
    return Error::success();
  }
  for (size_t r = 0; r < values.size(); ++r) {
    int8_t factor = int8_t((values[r] > 0) - (values[r] < 0));
    if (factor != 1)
      for (int32_t c = 0; c < out.cols; ++c)
        out.trits[r * size_t(out.cols) + size_t(c)] *= factor;
    values[r] = std::fabs(values[r]);
  }
  out.scales = std::move(values);
  return Error::success();
}

/// GGUF's llama converter moves row h*D + s*D/2 + j of q and k to h*D + 2j + s, so that RoPE turns
/// neighbours; back.
void unpairRows(int32_t heads, TernaryMatrix &matrix) {
  size_t cols = size_t(matrix.cols), dim = size_t(matrix.rows / heads), half = dim / 2;
  std::vector<int8_t> head(dim * cols);
  for (size_t h = 0; h < size_t(heads); ++h) {
    int8_t *rows = matrix.trits.data() + h * dim * cols;
    for (size_t r = 0; r < dim; ++r)
      std::copy_n(rows + (2 * (r % half) + r / half) * cols, cols, head.data() + r * cols);
    std::copy(head.begin(), head.end(), rows);
  }
}

} // namespace

Expected<TernaryMatrix> StoredCheckpoint::ternary(const std::string &name) const {
  Expected<const StoredTensor *> found = find(parts_, name);
  if (!found)
    return found.takeError();
  const StoredTensor &tensor = **found;
  std::vector<uint8_t> bytes(size_t(tensor.bytes));
  if (Error error = tensor.file->read(tensor.offset, bytes.data(), bytes.size()))
    return error;
  TernaryMatrix matrix;
  matrix.rows = int32_t(tensor.rows);
  matrix.cols = int32_t(tensor.cols);
  if (Decoded fault = decode(parts_, tensor, bytes, matrix))
    return failure(who(tensor) + ": byte " + Twine(tensor.offset + fault->at) + ": " + fault->what);
  if (tensor.scale)
    if (Error error = applyScale(tensor, matrix))
      return error;
  if (tensor.pairedHeads > 0)
    unpairRows(tensor.pairedHeads, matrix);
  return matrix;
}

Expected<int32_t> StoredCheckpoint::scaleGroup(const std::string &name) const {
  Expected<TernaryMatrix> matrix = ternary(name);
  if (!matrix)
    return matrix.takeError();
  return matrix->groupCols;
}

Expected<DenseTensor> StoredCheckpoint::dense(const std::string &name, int32_t begin, int32_t end) const {
  Expected<const StoredTensor *> found = find(parts_, name);
  if (!found)
    return found.takeError();
  const StoredTensor &tensor = **found;
  std::optional<FloatType> type = floatType(tensor.encoding);
  if (!type)
    return failure(who(tensor) + ": expected f32, f16 or bf16, got " + tensor.typeName);
  int64_t last = std::min<int64_t>(end, tensor.rows);
  if (begin < 0 || begin > last)
    return failure(who(tensor) + ": expected rows within 0.." + Twine(tensor.rows) + ", got " + Twine(begin) +
                   ".." + Twine(end));
  DenseTensor result;
  result.rows = int32_t(last - begin);
  result.cols = int32_t(tensor.cols);
  size_t n = size_t(result.rows) * size_t(result.cols), rowBytes = size_t(tensor.cols) * floatBytes(*type);
  std::vector<uint8_t> bytes(n * floatBytes(*type));
  if (Error error = tensor.file->read(tensor.offset + size_t(begin) * rowBytes, bytes.data(), bytes.size()))
    return error;
  result.values.resize(n);
  widenRow(*type, bytes.data(), n, result.values.data());
  for (size_t i = 0; i < n; ++i)
    if (!std::isfinite(result.values[i]))
      return failure(who(tensor) + ": byte " +
                     Twine(tensor.offset + size_t(begin) * rowBytes + i * floatBytes(*type)) +
                     ": expected a finite value, got " + Twine(std::to_string(result.values[i])));
  return result;
}

} // namespace bitnet::import
