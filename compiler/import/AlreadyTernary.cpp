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
    if (scale == 0) { // the first weight that is not zero; NaN counts as one
      for (size_t c = 0; c < cols && scale == 0; ++c)
        scale = std::fabs(row[c]);
      if (!std::isfinite(scale))
        return false;
    }
    // No branches: the signs are random, and one mispredicted per weight would cost ten times the work
    // itself.
    int others = 0;
    int8_t *trits = out.trits.data() + r * cols;
    for (size_t c = 0; c < cols; ++c) {
      float magnitude = std::fabs(row[c]);
      others |= int(magnitude != 0) & int(magnitude != scale); // both true for NaN
      trits[c] = int8_t(int(row[c] > 0) - int(row[c] < 0));
    }
    if (others)
      return false;
  }
  out.scales.assign(1, scale);
  return true;
}

} // namespace bitnet::import
