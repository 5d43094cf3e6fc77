// Float tensors that hold ternary weights exactly: every |w| is 0 or one value s, compared in the stored
// type. That is what F16 files of microsoft's converter and dequantised checkpoints hold. A tensor of zeros
// has scale 0.
#include "compiler/import/Codec.h"
#include <cmath>

namespace bitnet::import {

bool decodeAlreadyTernary(FloatType type, const uint8_t *bytes, size_t nBytes, TernaryMatrix &out) {
  size_t n = size_t(out.rows) * size_t(out.cols), cols = size_t(out.cols), width = floatBytes(type);
  if (nBytes != n * width)
    return false;
  std::vector<float> row(cols);
  float scale = 0;
  out.trits.resize(n);
  for (size_t r = 0; r < size_t(out.rows); ++r) {
    widenRow(type, bytes + r * cols * width, cols, row.data());
    for (size_t c = 0; c < cols; ++c) {
      float magnitude = std::fabs(row[c]);
      if (magnitude != 0 && magnitude != scale) { // also taken by NaN
        if (scale != 0 || !std::isfinite(magnitude))
          return false;
        scale = magnitude;
      }
      out.trits[r * cols + c] = int8_t((row[c] > 0) - (row[c] < 0));
    }
  }
  out.scales.assign(1, scale);
  return true;
}

} // namespace bitnet::import
