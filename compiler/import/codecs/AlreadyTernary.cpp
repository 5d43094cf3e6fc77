// Float tensors that hold ternary weights exactly: within a scale's reach every |w| is 0 or one value s,
// compared in the stored type. One s for the tensor is what F16 files of microsoft's converter and
// dequantised checkpoints hold; one a row or a group of columns is what models hold that were trained in
// shards, or come from an encoding with group scales.
#include "compiler/import/Codec.h"
#include "compiler/import/codecs/GroupSearch.h"
#include <cmath>
#include <cstring>

namespace bitnet::import {
namespace {

constexpr size_t kPiece = 32; ///< a fixed size, which the compiler turns into vector instructions

/// The first magnitude of n weights that is not 0, else 0. NaN counts as one.
float firstMagnitude(const float *weights, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (weights[i] != 0)
      return std::fabs(weights[i]);
  return 0;
}

/// Whether a weight is neither 0 nor +-scale; NaN is. No branches: the signs are random, and one mispredicted
/// per weight would cost ten times the work itself.
int toTrit(float weight, float scale, int8_t &trit) {
  const float magnitude = std::fabs(weight);
  trit = int8_t(int(weight > 0) - int(weight < 0));
  return int(magnitude != 0) & int(magnitude != scale);
}

/// A row of more than one magnitude: what it leaves of the groups. False: nothing, or it is not finite.
bool narrow(const std::vector<float> &row, GroupSearch &search) {
  int32_t last = -1;
  for (int32_t c = 0; c < int32_t(row.size()); ++c) {
    const float magnitude = std::fabs(row[size_t(c)]);
    if (magnitude == 0)
      continue;
    if (!std::isfinite(magnitude))
      return false;
    if (last >= 0 && magnitude != std::fabs(row[size_t(last)])) {
      search.differ(last, c);
      if (!search.largest())
        return false;
    }
    last = c;
  }
  return true;
}

} // namespace

bool decodeAlreadyTernary(FloatType type, const uint8_t *bytes, int32_t nRows, int32_t nCols,
                          TernaryMatrix &out) {
  const size_t rows = size_t(nRows), cols = size_t(nCols), rowBytes = cols * floatBytes(type);
  std::vector<float> row(cols);
  GroupSearch search(nCols, 32);
  bool groups = false;
  out.rows = nRows;
  out.cols = nCols;
  out.groupCols = 0;
  out.trits.resize(rows * cols);
  out.scales.resize(rows);
  for (size_t r = 0; r < rows; ++r) {
    widenRow(type, bytes + r * rowBytes, cols, row.data());
    const float scale = out.scales[r] = firstMagnitude(row.data(), cols);
    if (!std::isfinite(scale))
      return false;
    int others = 0;
    int8_t *trits = out.trits.data() + r * cols;
    size_t c = 0;
    for (int8_t piece[kPiece]; c + kPiece <= cols; c += kPiece) {
      for (size_t i = 0; i < kPiece; ++i)
        others |= toTrit(row[c + i], scale, piece[i]);
      std::memcpy(trits + c, piece, kPiece);
    }
    for (; c < cols; ++c)
      others |= toTrit(row[c], scale, trits[c]);
    if (others && !narrow(row, search))
      return false;
    groups |= others != 0;
  }
  if (!groups)
    return true;
  out.groupCols = search.largest();
  const size_t width = size_t(out.groupCols);
  out.scales.clear();
  for (size_t r = 0; r < rows; ++r) {
    widenRow(type, bytes + r * rowBytes, cols, row.data());
    for (size_t c = 0; c < cols; c += width)
      out.scales.push_back(firstMagnitude(&row[c], width));
  }
  return true;
}

} // namespace bitnet::import
