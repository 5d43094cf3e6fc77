// The table of codecs, and what is the same for all of them: sizes, and the form of scales.
#include "compiler/import/Codec.h"
#include "compiler/import/codecs/GroupSearch.h"
#include <algorithm>
#include <cmath>

namespace bitnet::import {

// codecs/
extern const Codec kF32, kF16, kBF16, kQ8, kQ6K, kQ4, kTQ1, kTQ2, kQ1, kQ2, kPQ2, kPTQ1, kI2S, kIQ1BN, kIQ2BN,
    kIQ2BNR4, kTL1, kTL2, kHfPacked, kGpuInt2, kMlx2;

llvm::ArrayRef<const Codec *> codecs() {
  static const Codec *const table[] = {&kF32,   &kF16,     &kBF16, &kQ8,  &kQ6K,      &kQ4,      &kTQ1,
                                       &kTQ2,   &kQ1,      &kQ2,   &kPQ2, &kPTQ1,     &kI2S,     &kIQ1BN,
                                       &kIQ2BN, &kIQ2BNR4, &kTL1,  &kTL2, &kHfPacked, &kGpuInt2, &kMlx2};
  return table;
}

const Codec *codecNamed(llvm::StringRef name) {
  for (const Codec *codec : codecs())
    if (name == codec->name)
      return codec;
  return nullptr;
}

std::optional<uint64_t> encodedBytes(const Codec &codec, int64_t rows, int64_t cols) {
  const Blocks &b = codec.blocks;
  // So many that no codec's number of bytes overflows: tl2 counts 512 bits for a row of 4 columns.
  if (rows < 1 || cols < 1 || rows > (int64_t(1) << 50) / cols || rows % b.rows != 0 || cols % b.cols != 0)
    return std::nullopt;
  if (codec.size)
    return codec.size(rows, cols);
  return uint64_t(rows / b.rows) * (b.head + uint64_t(cols / b.cols) * b.bytes) + b.tail;
}

std::string blockRule(const Codec &codec) {
  const Blocks &b = codec.blocks;
  std::string rule;
  if (b.rows > 1)
    rule += "a multiple of " + std::to_string(b.rows) + " rows";
  if (b.cols > 1)
    rule += (rule.empty() ? "" : " and ") + ("a multiple of " + std::to_string(b.cols) + " columns");
  return rule;
}

namespace {

Decoded checkSize(const Codec &codec, int32_t rows, int32_t cols, size_t nBytes) {
  std::optional<uint64_t> expected = encodedBytes(codec, rows, cols);
  if (!expected)
    return Fault{0, std::string("expected ") + codec.name + " of " + blockRule(codec) + ", got [" +
                        std::to_string(rows) + ", " + std::to_string(cols) + "]"};
  if (nBytes != *expected)
    return Fault{0, "expected " + std::to_string(*expected) + " bytes of " + codec.name + ", got " +
                        std::to_string(nBytes)};
  return std::nullopt;
}

/// Weights that share a scale lie side by side, whatever the form.
size_t weightsOfAScale(const TernaryMatrix &m) {
  return m.groupCols > 0 ? size_t(m.groupCols) : m.scales.size() == 1 ? m.trits.size() : size_t(m.cols);
}

/// One scale for `scales`, if those that scale anything agree.
bool oneScale(const float *scales, size_t n, float &out) {
  out = 0;
  for (size_t i = 0; i < n; ++i) {
    if (scales[i] != 0 && out != 0 && scales[i] != out)
      return false;
    if (out == 0)
      out = scales[i];
  }
  return true;
}

} // namespace

Decoded decodeTernary(const Codec &codec, const Encoded &in, const CodecSettings &settings, int32_t rows,
                      int32_t cols, TernaryMatrix &out) {
  if (Decoded fault = checkSize(codec, rows, cols, in.nBytes))
    return fault;
  out.rows = rows;
  out.cols = cols;
  out.groupCols = 0;
  if (Decoded fault = codec.decode(in, settings, out))
    return fault;
  toCoarsest(out);
  return std::nullopt;
}

Decoded decodeDense(const Codec &codec, const Encoded &in, const CodecSettings &settings, int32_t rows,
                    int32_t cols, float *out) {
  if (Decoded fault = checkSize(codec, rows, cols, in.nBytes))
    return fault;
  if (codec.dequantize)
    return codec.dequantize(in, size_t(rows) * size_t(cols), out);
  TernaryMatrix matrix;
  matrix.rows = rows;
  matrix.cols = cols;
  if (Decoded fault = codec.decode(in, settings, matrix))
    return fault;
  const size_t per = weightsOfAScale(matrix);
  for (size_t i = 0; i < matrix.trits.size(); ++i)
    out[i] = float(matrix.trits[i]) * matrix.scales[i / per];
  return std::nullopt;
}

Decoded encodeTernary(const Codec &codec, const TernaryMatrix &matrix, const CodecSettings &settings,
                      std::vector<uint8_t> &out) {
  if (!codec.encode)
    return Fault{0, std::string("expected an encoding of ternary weights, got ") + codec.name};
  std::optional<uint64_t> bytes = encodedBytes(codec, matrix.rows, matrix.cols);
  if (!bytes)
    return checkSize(codec, matrix.rows, matrix.cols, 0);
  using Scales = Codec::Scales;
  const Scales finest = matrix.groupCols > 0       ? Scales::group
                        : matrix.scales.size() > 1 ? Scales::row
                                                   : Scales::matrix;
  if (codec.scales != Scales::none && finest > codec.scales)
    return Fault{0, std::string("expected scales that ") + codec.name + " can hold, got finer ones"};
  out.assign(size_t(*bytes), 0);
  return codec.encode(matrix, settings, out);
}

float scaleAt(const TernaryMatrix &m, int64_t row, int64_t col) {
  return m.scales[size_t(row * m.cols + col) / weightsOfAScale(m)];
}

void toCoarsest(TernaryMatrix &m) {
  const size_t per = weightsOfAScale(m);
  int8_t *trits = m.trits.data();
  for (float &scale : m.scales) {
    const int8_t factor = int8_t((scale > 0) - (scale < 0));
    if (factor != 1)
      for (size_t i = 0; i < per; ++i)
        trits[i] = int8_t(trits[i] * factor);
    scale = std::any_of(trits, trits + per, [](int8_t t) { return t != 0; }) ? std::fabs(scale) : 0;
    trits += per;
  }
  float one = 0;
  if (oneScale(m.scales.data(), m.scales.size(), one)) {
    m.scales.assign(1, one);
    m.groupCols = 0;
    return;
  }
  if (m.groupCols == 0)
    return;
  const int32_t units = m.cols / m.groupCols;
  std::vector<float> ofRows(size_t(m.rows));
  bool byRow = true;
  for (size_t r = 0; r < ofRows.size() && byRow; ++r)
    byRow = oneScale(&m.scales[r * size_t(units)], size_t(units), ofRows[r]);
  if (byRow) {
    m.scales = std::move(ofRows);
    m.groupCols = 0;
    return;
  }
  GroupSearch search(units, 2);
  for (int32_t r = 0; r < m.rows && search.largest(); ++r) {
    const float *row = &m.scales[size_t(r) * size_t(units)];
    for (int32_t j = 0, i = -1; j < units; ++j) {
      if (row[j] == 0)
        continue;
      if (i >= 0 && row[i] != row[j])
        search.differ(i, j);
      i = j;
    }
  }
  if (const int32_t merged = search.largest()) {
    std::vector<float> scales(m.scales.size() / size_t(merged));
    for (size_t g = 0; g < scales.size(); ++g)
      oneScale(&m.scales[g * size_t(merged)], size_t(merged), scales[g]);
    m.scales = std::move(scales);
    m.groupCols *= merged;
  }
}

} // namespace bitnet::import
