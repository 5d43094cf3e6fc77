// Decoding on demand: one tensor's bytes are read, decoded and let go, so memory is bounded by the largest
// tensor.
#include "compiler/import/StoredCheckpoint.h"
#include "compiler/import/ImportError.h"
#include "llvm/Support/ErrorHandling.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace llvm;

namespace bitnet::import {

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
  tokenizerSize_ = parts_.tokenizerSize;
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

/// Reads the values of a tensor beside `tensor` that belong to its rows [begin, end).
Error readBeside(const ScaleTensor &beside, const StoredTensor &tensor, int64_t begin, int64_t end,
                 std::vector<float> &out) {
  const uint64_t ofRow = uint64_t(beside.count) / uint64_t(tensor.rows); // the shapes are checked
  const uint64_t first = beside.count == 1 ? 0 : uint64_t(begin) * ofRow;
  out.resize(beside.count == 1 ? 1 : size_t(uint64_t(end - begin) * ofRow));
  const uint64_t offset = beside.offset + first * floatBytes(beside.type);
  std::vector<uint8_t> bytes(out.size() * floatBytes(beside.type));
  if (Error error = beside.file->read(offset, bytes.data(), bytes.size()))
    return error;
  widenRow(beside.type, bytes.data(), out.size(), out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    const float stored = out[i];
    if (beside.divide)
      out[i] = 1.0f / stored;
    if (!std::isfinite(out[i]))
      return failure(beside.file->name() + ": scale of tensor " + quoted(tensor.storedName) + ": byte " +
                     Twine(offset + i * floatBytes(beside.type)) + ": expected a finite scale" +
                     (beside.divide ? " other than 0" : "") + ", got " + Twine(std::to_string(stored)));
  }
  return Error::success();
}

/// Rows [begin, end) of a tensor as its codec wants them, with what lies beside it.
struct Bytes {
  std::vector<uint8_t> bytes;
  std::vector<float> scales, biases;
  Encoded encoded() const { return {bytes.data(), bytes.size(), scales, biases}; }
};
Error read(const StoredTensor &tensor, int64_t begin, int64_t end, Bytes &out) {
  const uint64_t ofRow = tensor.bytes / uint64_t(tensor.rows);
  const bool all = end - begin == tensor.rows; // rows need not be whole bytes then
  out.bytes.resize(size_t(all ? tensor.bytes : uint64_t(end - begin) * ofRow));
  if (Error error = tensor.file->read(tensor.offset + (all ? 0 : uint64_t(begin) * ofRow), out.bytes.data(),
                                      out.bytes.size()))
    return error;
  if (!tensor.bias)
    return Error::success();
  if (Error error = readBeside(*tensor.scale, tensor, begin, end, out.scales))
    return error;
  return readBeside(*tensor.bias, tensor, begin, end, out.biases);
}

/// Multiplies the decoded scales of the first rows by the stored ones.
Error applyScale(const StoredTensor &tensor, TernaryMatrix &out) {
  std::vector<float> values;
  if (Error error = readBeside(*tensor.scale, tensor, 0, out.rows, values))
    return error;
  // Weights that share a scale lie side by side in either: of the whole matrix, a row, or a group.
  const size_t n = out.trits.size(), ofOwn = n / out.scales.size(), ofStored = n / values.size();
  const size_t per = std::gcd(ofOwn, ofStored);
  std::vector<float> products(n / per);
  for (size_t i = 0; i < products.size(); ++i) {
    const float stored = values[i * per / ofStored];
    products[i] = stored * out.scales[i * per / ofOwn];
    if (!std::isfinite(products[i]))
      return failure(who(tensor) + ": expected scales whose product is finite, got " +
                     Twine(std::to_string(stored)) + " times " +
                     Twine(std::to_string(out.scales[i * per / ofOwn])));
  }
  out.scales = std::move(products);
  out.groupCols = per < size_t(out.cols) ? int32_t(per) : 0;
  toCoarsest(out);
  return Error::success();
}

/// The first rows of a tensor, in the order of the file.
Expected<TernaryMatrix> decodeRows(const StoredTensor &tensor, const Bytes &bytes, int64_t rows,
                                   CodecSettings settings) {
  // A scale beside float weights means they are trits already, whatever the checkpoint says of the others.
  if (tensor.scale)
    settings.ternarize = Ternarize::refuse;
  TernaryMatrix matrix;
  if (Decoded fault = decodeTernary(*tensor.codec, bytes.encoded(), settings, int32_t(rows),
                                    int32_t(tensor.cols), matrix))
    return failure(who(tensor) + ": byte " + Twine(tensor.offset + fault->at) + ": " + fault->what);
  if (tensor.scale && !tensor.bias)
    if (Error error = applyScale(tensor, matrix))
      return error;
  return matrix;
}

/// Columns that share a scale in the file; 0: only the weights tell.
int32_t storedGroup(const StoredTensor &tensor) {
  const Codec &codec = *tensor.codec;
  const bool beside = tensor.scale && tensor.scale->count > tensor.rows;
  if (codec.scales == Codec::Scales::group)
    return codec.floats || beside ? 0 : codec.blocks.cols;
  return beside ? int32_t(tensor.cols / (tensor.scale->count / tensor.rows)) : 0;
}

/// GGUF's llama converter moves row h*D + s*D/2 + j of q and k to h*D + 2j + s, so that RoPE turns
/// neighbours; back. `ofRow` values belong to a row.
template <typename T> void unpairRows(size_t heads, size_t rows, size_t ofRow, std::vector<T> &values) {
  const size_t dim = rows / heads, half = dim / 2;
  std::vector<T> head(dim * ofRow);
  for (size_t h = 0; h < heads; ++h) {
    T *of = values.data() + h * dim * ofRow;
    for (size_t r = 0; r < dim; ++r)
      std::copy_n(of + (2 * (r % half) + r / half) * ofRow, ofRow, head.data() + r * ofRow);
    std::copy(head.begin(), head.end(), of);
  }
}

} // namespace

bool hasDenseRows(const StoredTensor &tensor) {
  const Codec *codec = tensor.codec;
  return codec && !codec->whole && (codec->scales != Codec::Scales::none || tensor.bias);
}

TensorInfo StoredCheckpoint::info(const std::string &name) const {
  const StoredTensor &tensor = parts_.tensors.at(name);
  return {tensor.codec ? tensor.codec->name : tensor.typeName, int32_t(tensor.rows), int32_t(tensor.cols),
          tensor.bytes + uint64_t(tensor.rows) * uint64_t(tensor.cols)};
}

Expected<TernaryMatrix> StoredCheckpoint::ternary(const std::string &name) const {
  Expected<const StoredTensor *> found = find(parts_, name);
  if (!found)
    return found.takeError();
  const StoredTensor &tensor = **found;
  if (!tensor.codec || !tensor.codec->decode)
    return failure(who(tensor) + ": expected a ternary or float encoding, got " + tensor.typeName);
  Bytes bytes;
  if (Error error = read(tensor, 0, tensor.rows, bytes))
    return error;
  Expected<TernaryMatrix> matrix = decodeRows(tensor, bytes, tensor.rows, parts_.decoding);
  if (matrix && tensor.pairedHeads > 0) {
    const size_t heads = size_t(tensor.pairedHeads), rows = size_t(matrix->rows);
    unpairRows(heads, rows, size_t(matrix->cols), matrix->trits);
    if (matrix->scales.size() > 1)
      unpairRows(heads, rows, matrix->scales.size() / rows, matrix->scales);
  }
  return matrix;
}

Expected<int32_t> StoredCheckpoint::scaleGroup(const std::string &name) const {
  Expected<const StoredTensor *> found = find(parts_, name);
  if (!found)
    return found.takeError();
  const StoredTensor &tensor = **found;
  const Codec *codec = tensor.codec;
  const bool beside = tensor.scale && tensor.scale->count > tensor.rows;
  if (!beside && (!codec || codec->scales != Codec::Scales::group))
    return 0;
  const bool floats = codec->floats && !tensor.scale;
  if (floats && parts_.decoding.ternarize == Ternarize::always)
    return 0; // latent weights get one scale
  // The first rows mostly tell: that groups can be no larger than they are stored, or that floats are latent.
  constexpr int64_t kFew = 64;
  for (const int64_t rows : {codec->whole ? tensor.rows : std::min(kFew, tensor.rows), tensor.rows}) {
    Bytes bytes;
    if (Error error = read(tensor, 0, rows, bytes))
      return error;
    const bool all = rows == tensor.rows;
    if (all && !tensor.scale && codec->oneScale && codec->oneScale(bytes.encoded()))
      return 0;
    TernaryMatrix matrix;
    if (floats) {
      if (!decodeAlreadyTernary(*codec->floats, bytes.bytes.data(), int32_t(rows), int32_t(tensor.cols),
                                matrix))
        return 0;
      toCoarsest(matrix);
    } else {
      Expected<TernaryMatrix> decoded = decodeRows(tensor, bytes, rows, parts_.decoding);
      if (!decoded)
        return decoded.takeError();
      matrix = std::move(*decoded);
    }
    if (all || (matrix.groupCols > 0 && matrix.groupCols == storedGroup(tensor)))
      return matrix.groupCols;
  }
  llvm_unreachable("all rows were read");
}

Expected<DenseTensor> StoredCheckpoint::dense(const std::string &name, int32_t begin, int32_t end) const {
  Expected<const StoredTensor *> found = find(parts_, name);
  if (!found)
    return found.takeError();
  const StoredTensor &tensor = **found;
  if (!hasDenseRows(tensor))
    return failure(who(tensor) + ": expected an encoding of rows of values, got " + tensor.typeName);
  if (tensor.scale && !tensor.bias)
    return failure(who(tensor) + ": expected values, got values with a scale beside them");
  const int64_t last = std::min<int64_t>(end, tensor.rows);
  if (begin < 0 || begin > last)
    return failure(who(tensor) + ": expected rows within 0.." + Twine(tensor.rows) + ", got " + Twine(begin) +
                   ".." + Twine(end));
  DenseTensor result;
  result.rows = int32_t(last - begin);
  result.cols = int32_t(tensor.cols);
  if (result.rows == 0)
    return result;
  // Whole stripes around the rows.
  const int64_t stripe = tensor.codec->blocks.rows, from = begin / stripe * stripe;
  const int64_t to = std::min<int64_t>((last + stripe - 1) / stripe * stripe, tensor.rows);
  const size_t cols = size_t(tensor.cols);
  Bytes bytes;
  if (Error error = read(tensor, from, to, bytes))
    return error;
  result.values.resize(size_t(to - from) * cols);
  if (Decoded fault = decodeDense(*tensor.codec, bytes.encoded(), parts_.decoding, int32_t(to - from),
                                  result.cols, result.values.data()))
    return failure(who(tensor) + ": byte " +
                   Twine(tensor.offset + tensor.bytes / uint64_t(tensor.rows) * uint64_t(from) + fault->at) +
                   ": " + fault->what);
  result.values.erase(result.values.begin(), result.values.begin() + (begin - from) * tensor.cols);
  result.values.resize(size_t(result.rows) * cols);
  if (tensor.times != 1 || tensor.plus != 0)
    for (float &value : result.values)
      value = value * tensor.times + tensor.plus;
  return result;
}

} // namespace bitnet::import
